"""A corpus put straight into the tables of search, past triggers and row security."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import numpy as np

from benchmarks.corpus import DIMENSIONS, MODEL, VOCABULARY, WORDS_A_CHUNK, Corpus, word
from benchmarks.firms import Document
from server.database.connection import Connection

BATCH: Final = 200_000
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_END = struct.pack(">h", -1)

_DOCUMENTS = """
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, engagement_id, trust,
    status, size_bytes, content_sha256, text, chunk_count, term_count, uploaded_by, created_at, updated_at,
    embedding_model)
SELECT n.organization_id, n.document_id, 'Paper ' || n.place, 'paper:' || n.place, 'text/plain', n.audience,
    n.engagement_id, 'internal', 'ready', 1, '', '', n.chunks, n.chunks * $1::int, n.uploaded_by, now(), now(), $2
FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::int[], $8::uuid[]) WITH ORDINALITY
    AS n (organization_id, document_id, audience, engagement_id, chunks, uploaded_by, place)
"""


async def load(superuser: Connection, corpus: Corpus) -> None:
    """Fills the tables, and makes again what was dropped for it."""
    await superuser.execute("SET session_replication_role = replica; SET statement_timeout = 0")
    await superuser.execute("SET maintenance_work_mem = '1500MB'; SET max_parallel_maintenance_workers = 2")
    await _load_documents(superuser, corpus.documents)
    await _copy(superuser, "knowledge_terms", ("organization_id", "term_id", "term"), _terms(corpus))
    await _load_chunks(superuser, corpus)
    async with _without_indexes(superuser, "knowledge_postings"):
        await _copy(superuser, "knowledge_postings", _POSTINGS, _postings(corpus))
    async with _without_indexes(superuser, "knowledge_embeddings"):
        await _copy(superuser, "knowledge_embeddings", _EMBEDDINGS, _embeddings(corpus))
    await superuser.execute("VACUUM (ANALYZE)")


async def _load_documents(superuser: Connection, documents: Sequence[Document]) -> None:
    await superuser.execute(
        _DOCUMENTS,
        WORDS_A_CHUNK,
        MODEL,
        [document.organization.organization_id for document in documents],
        [document.document_id for document in documents],
        [document.audience for document in documents],
        [document.engagement_id for document in documents],
        [len(document.chunks) for document in documents],
        [document.organization.partner_id for document in documents],
    )


_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index WHERE indrelid = to_regclass($1) AND NOT indisprimary
"""


class _without_indexes:  # noqa: N801 - read as the context manager it is
    """Drops a table's indexes and makes them again at the end, which costs a fraction of keeping them."""

    def __init__(self, connection: Connection, table: str) -> None:
        self._connection = connection
        self._table = table
        self._definitions: list[str] = []

    async def __aenter__(self) -> None:
        for row in await self._connection.fetch(_INDEXES, self._table):
            self._definitions.append(row["definition"])
            await self._connection.execute(f"DROP INDEX {row['name']}")

    async def __aexit__(self, *raised: object) -> None:
        for definition in self._definitions:
            await self._connection.execute(definition)


async def _load_chunks(superuser: Connection, corpus: Corpus) -> None:
    ids = corpus.ids
    records = (
        (
            document.organization.organization_id,
            UUID(bytes=bytes(ids[number])),
            document.document_id,
            ordinal,
            ordinal,
            ordinal + 1,
            # A page of its own: neighbours on one page would be shown as one passage, and not count as ten.
            ordinal + 1,
            " ".join(map(word, corpus.drawn[number].tolist())),
            WORDS_A_CHUNK,
            WORDS_A_CHUNK,
            document.audience,
            document.engagement_id,
            "internal",
        )
        for document in corpus.documents
        for ordinal, number in enumerate(document.chunks)
    )
    columns = (
        *("organization_id", "chunk_id", "document_id", "ordinal", "start_offset", "end_offset", "page", "text"),
        *("token_count", "length", "audience", "engagement_id", "trust"),
    )
    await superuser.copy_records_to_table("knowledge_chunks", records=records, columns=columns)


_POSTINGS = ("organization_id", "term_id", "chunk_id", "frequency", "length", "audience", "engagement_id", "trust")
_EMBEDDINGS = ("organization_id", "chunk_id", "model", "embedding", "audience", "engagement_id")


async def _copy(superuser: Connection, table: str, columns: tuple[str, ...], batches: Iterator[bytes]) -> None:
    async def source() -> AsyncGenerator[bytes]:
        yield _SIGNATURE
        for batch in batches:
            yield batch
        yield _END

    await superuser.copy_to_table(table, source=source(), columns=list(columns), format="binary")


def _rows(size: int, *columns: tuple[str, Any]) -> bytes:
    """Rows of COPY's binary format: of each column its type, and one value for all or one a row; None is NULL."""
    parts: list[tuple[str, str]] = [("count", ">i2")]
    for place, (kind, value) in enumerate(columns):
        parts.append((f"size {place}", ">i4"))
        if value is not None:
            parts.append((f"value {place}", kind))
    rows = np.zeros(size, dtype=np.dtype(parts))
    rows["count"] = len(columns)
    for place, (kind, value) in enumerate(columns):
        rows[f"size {place}"] = -1 if value is None else np.dtype(kind).itemsize
        if value is not None:
            rows[f"value {place}"] = value
    return rows.tobytes()


def _id(value: UUID | None) -> tuple[str, Any]:
    return "V16", None if value is None else np.void(value.bytes)


def _text(value: str) -> tuple[str, Any]:
    return f"S{len(value)}", value.encode()


def _terms(corpus: Corpus) -> Iterator[bytes]:
    firms, words = np.divmod(corpus.terms, VOCABULARY)
    organizations = np.frombuffer(
        b"".join(firm.organization_id.bytes for firm in corpus.organizations), dtype=np.dtype("V16")
    )
    written = np.array([word(term) for term in range(VOCABULARY)], dtype=f"S{len(word(0))}")
    for start in range(0, len(firms), BATCH):
        part = slice(start, start + BATCH)
        ids = np.arange(1, len(firms) + 1)[part]
        yield _rows(
            len(ids), ("V16", organizations[firms[part]]), (">i8", ids), (written.dtype.str, written[words[part]])
        )


def _postings(corpus: Corpus) -> Iterator[bytes]:
    """As indexing writes them: document by document."""
    for document in corpus.documents:
        first, end = np.searchsorted(corpus.posting_chunk, (document.chunks.start, document.chunks.stop))
        part = slice(first, end)
        yield _rows(
            end - first,
            _id(document.organization.organization_id),
            (">i8", corpus.posting_term[part] + 1),
            ("V16", corpus.ids[corpus.posting_chunk[part]]),
            (">i4", corpus.posting_frequency[part]),
            (">i4", WORDS_A_CHUNK),
            _text(document.audience),
            _id(document.engagement_id),
            _text("internal"),
        )


def _embeddings(corpus: Corpus) -> Iterator[bytes]:
    width = 4 + 2 * DIMENSIONS
    for document in corpus.documents:
        part = slice(document.chunks.start, document.chunks.stop)
        halves = np.zeros(
            len(document.chunks), dtype=[("dimensions", ">i2"), ("unused", ">i2"), ("values", ">f2", DIMENSIONS)]
        )
        halves["dimensions"], halves["values"] = DIMENSIONS, corpus.vectors[part]
        yield _rows(
            len(document.chunks),
            _id(document.organization.organization_id),
            ("V16", corpus.ids[part]),
            _text(MODEL),
            (f"V{width}", halves.view(f"V{width}")),
            _text(document.audience),
            _id(document.engagement_id),
        )
