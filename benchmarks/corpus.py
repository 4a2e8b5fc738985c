"""A corpus for the search benchmark, put straight into tables: words as language has them, vectors as topics have."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from server.database.connection import Connection

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

WORDS_A_CHUNK: Final = 110
"""Besides the commonest, which no analyser keeps."""
CHUNKS_A_DOCUMENT: Final = 20
VOCABULARY: Final = 60_000
TERMS_A_QUERY: Final = 6
MODEL: Final = "text-embedding-3-small"
DIMENSIONS: Final = 1_536
TOPIC_SPREAD: Final = 1.2
"""Length of what is a chunk's own beside its topic's direction: neighbours have a cosine of about 0.4."""
LETTERS: Final = "bcdfghjklmnpqrtvwxz"
SEED: Final = 2_026
BATCH: Final = 200_000
_NAMESPACE = UUID("0d3f1d52-3a47-4c1e-8f9f-5f1b8b1f0c11")
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_END = struct.pack(">h", -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question: words of the vocabulary, and where it lies."""

    terms: tuple[int, ...]
    vector: Floats

    @property
    def words(self) -> list[str]:
        """Its terms as the index keeps them."""
        return [word(term) for term in self.terms]


def word(term: int) -> str:
    """A word of the vocabulary, the commonest first; of letters that no analyser takes for an ending or a stop word."""
    letters: list[str] = []
    for _ in range(4):
        term, letter = divmod(term, len(LETTERS))
        letters.append(LETTERS[letter])
    return "".join(letters)


class Corpus:
    """So many chunks; the same for the same number."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks
        self._random = np.random.default_rng(SEED)
        # Zipf and Mandelbrot: the word of rank r is about r times rarer than the first.
        # The hundred commonest are stop words, which stand in no index.
        weights = 1.0 / np.power(np.arange(VOCABULARY) + 100.0, 1.07)
        self._cumulative = np.cumsum(weights / weights.sum())
        draws = np.searchsorted(self._cumulative, self._random.random((chunks, WORDS_A_CHUNK)))
        self.drawn: Ints = np.minimum(draws, VOCABULARY - 1).astype(np.int64)
        keys = (np.arange(chunks)[:, None] * VOCABULARY + self.drawn).ravel()
        unique, counts = np.unique(keys, return_counts=True)
        self.posting_chunk: Ints = unique // VOCABULARY
        self.posting_term: Ints = unique % VOCABULARY
        self.posting_frequency: Ints = counts.astype(np.int64)
        self._topics = self._directions(max(20, chunks // 200))
        self.vectors: Floats = self._near_topics(chunks)

    @cached_property
    def by_term(self) -> tuple[Ints, Ints]:
        """Postings in the order of their terms, and where each term's begin."""
        order = np.argsort(self.posting_term, kind="stable")
        starts = np.searchsorted(self.posting_term[order], np.arange(VOCABULARY + 1))
        return order.astype(np.int64), starts.astype(np.int64)

    @cached_property
    def ids(self) -> NDArray[np.void]:
        """The chunks' ids, as 16 bytes each."""
        listed = b"".join(uuid5(_NAMESPACE, f"chunk {number}").bytes for number in range(self.chunks))
        return np.frombuffer(listed, dtype=np.dtype("V16"))

    def queries(self, count: int) -> list[Query]:
        """Questions that share words with some chunk, and lie near some topic."""
        vectors = self._near_topics(count)
        return [Query(terms=self._terms(), vector=vectors[number]) for number in range(count)]

    def nearest(self, query: Query, limit: int) -> set[int]:
        """The chunks that are really nearest, by comparing all; those that are as near as the last of them too."""
        return _best(self.vectors @ query.vector, limit, 2e-4)

    def best_by_words(self, query: Query, limit: int) -> set[int]:
        """The chunks that are really best by BM25, by summing all; those that are as good as the last of them too."""
        order, starts = self.by_term
        scores = np.zeros(self.chunks)
        for term in query.terms:
            postings = order[starts[term] : starts[term + 1]]
            idf = np.log(1 + (self.chunks - len(postings) + 0.5) / (len(postings) + 0.5))
            frequency = self.posting_frequency[postings]
            # All chunks are equally long, so that their length is the mean.
            scores[self.posting_chunk[postings]] += idf * frequency * 2.2 / (frequency + 1.2)
        return _best(scores, limit, 1e-9)

    def _terms(self) -> tuple[int, ...]:
        held = np.unique(self.drawn[self._random.integers(self.chunks)])
        chosen = self._random.choice(held, size=min(TERMS_A_QUERY, len(held)), replace=False)
        return tuple(int(term) for term in chosen)

    def _directions(self, count: int) -> Floats:
        drawn = self._random.standard_normal((count, DIMENSIONS), dtype=np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    def _near_topics(self, count: int) -> Floats:
        """Unit vectors around topics, each as half precision keeps it."""
        made = np.empty((count, DIMENSIONS), dtype=np.float32)
        for start in range(0, count, 10_000):
            size = min(10_000, count - start)
            topics = self._topics[self._random.integers(len(self._topics), size=size)]
            own = self._directions(size) * TOPIC_SPREAD
            mixed = topics + own
            made[start : start + size] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
        return made.astype(np.float16).astype(np.float32)


def _best(scores: NDArray[Any], limit: int, as_good: float) -> set[int]:
    least = np.partition(scores, -limit)[-limit] - as_good
    return set(np.flatnonzero(scores >= least).tolist())


_DOCUMENTS = """
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, trust, status,
    size_bytes, content_sha256, text, chunk_count, term_count, uploaded_by, created_at, updated_at, embedding_model)
SELECT $1::uuid, md5('document ' || n)::uuid, 'Paper ' || n, 'paper:' || n, 'text/plain', 'firm', 'internal', 'ready',
    1, '', '', $2::int, $2::int * $3::int, $4::uuid, now(), now(), $5
FROM generate_series(0, $6::int - 1) n
"""
_TERMS = """
INSERT INTO knowledge_terms (organization_id, term_id, term) OVERRIDING SYSTEM VALUE
SELECT $1::uuid, n.place, n.word FROM unnest($2::text[]) WITH ORDINALITY AS n (word, place)
"""
_DOCUMENT_IDS = "SELECT md5('document ' || n)::uuid FROM generate_series(0, $1::int - 1) n ORDER BY n"


async def load(superuser: Connection, corpus: Corpus, organization_id: UUID, uploader: UUID) -> None:
    """Fills the tables past triggers and row security, and makes what was dropped for it again."""
    documents = -(-corpus.chunks // CHUNKS_A_DOCUMENT)
    await superuser.execute("SET session_replication_role = replica; SET statement_timeout = 0")
    await superuser.execute("SET maintenance_work_mem = '1500MB'; SET max_parallel_maintenance_workers = 2")
    await superuser.execute(_DOCUMENTS, organization_id, CHUNKS_A_DOCUMENT, WORDS_A_CHUNK, uploader, MODEL, documents)
    await superuser.execute(_TERMS, organization_id, [word(term) for term in range(VOCABULARY)])
    ids = [row[0].bytes for row in await superuser.fetch(_DOCUMENT_IDS, documents)]
    await _load_chunks(superuser, corpus, organization_id, ids)
    async with _without_indexes(superuser, "knowledge_postings"):
        await _copy(superuser, "knowledge_postings", _POSTINGS, _postings(corpus, organization_id))
    async with _without_indexes(superuser, "knowledge_embeddings"):
        await _copy(superuser, "knowledge_embeddings", _EMBEDDINGS, _embeddings(corpus, organization_id))
    await superuser.execute("VACUUM (ANALYZE)")


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


async def _load_chunks(superuser: Connection, corpus: Corpus, organization_id: UUID, documents: list[bytes]) -> None:
    ids = corpus.ids
    records = (
        (
            organization_id,
            UUID(bytes=bytes(ids[number])),
            UUID(bytes=documents[number // CHUNKS_A_DOCUMENT]),
            number % CHUNKS_A_DOCUMENT,
            number,
            number + 1,
            " ".join(map(word, corpus.drawn[number].tolist())),
            WORDS_A_CHUNK,
            WORDS_A_CHUNK,
            "firm",
            "internal",
        )
        for number in range(corpus.chunks)
    )
    columns = (
        *("organization_id", "chunk_id", "document_id", "ordinal", "start_offset", "end_offset", "text"),
        *("token_count", "length", "audience", "trust"),
    )
    await superuser.copy_records_to_table("knowledge_chunks", records=records, columns=columns)


_POSTINGS = ("organization_id", "term_id", "chunk_id", "frequency", "length", "audience", "trust")
_EMBEDDINGS = ("organization_id", "chunk_id", "model", "embedding", "audience")


async def _copy(superuser: Connection, table: str, columns: tuple[str, ...], batches: Iterator[bytes]) -> None:
    async def source() -> AsyncGenerator[bytes]:
        yield _SIGNATURE
        for batch in batches:
            yield batch
        yield _END

    await superuser.copy_to_table(table, source=source(), columns=list(columns), format="binary")


def _record(*fields: tuple[str, str, int]) -> np.dtype[Any]:
    """A row of COPY's binary format whose fields are all of one size: name, type, bytes."""
    parts: list[tuple[str, str]] = [("count", ">i2")]
    for name, kind, _ in fields:
        parts += [(f"{name} size", ">i4"), (name, kind)]
    return np.dtype(parts)


def _rows(fields: tuple[tuple[str, str, int], ...], values: dict[str, Any], size: int) -> bytes:
    """Rows with these values, each one value for all or one a row."""
    rows = np.zeros(size, dtype=_record(*fields))
    rows["count"] = len(fields)
    for name, _, width in fields:
        rows[f"{name} size"] = width
        rows[name] = values[name]
    return rows.tobytes()


def _postings(corpus: Corpus, organization_id: UUID) -> Iterator[bytes]:
    fields = (
        ("organization", "V16", 16),
        ("term", ">i8", 8),
        ("chunk", "V16", 16),
        ("frequency", ">i4", 4),
        ("length", ">i4", 4),
        ("audience", "S4", 4),
        ("trust", "S8", 8),
    )
    order, _ = corpus.by_term
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        values = {
            "organization": np.void(organization_id.bytes),
            "term": corpus.posting_term[part] + 1,
            "chunk": corpus.ids[corpus.posting_chunk[part]],
            "frequency": corpus.posting_frequency[part],
            "length": WORDS_A_CHUNK,
            "audience": b"firm",
            "trust": b"internal",
        }
        yield _rows(fields, values, len(part))


def _embeddings(corpus: Corpus, organization_id: UUID) -> Iterator[bytes]:
    model = MODEL.encode()
    fields = (
        ("organization", "V16", 16),
        ("chunk", "V16", 16),
        ("model", f"S{len(model)}", len(model)),
        ("embedding", f"V{4 + 2 * DIMENSIONS}", 4 + 2 * DIMENSIONS),
        ("audience", "S4", 4),
    )
    for start in range(0, corpus.chunks, 5_000):
        vectors = corpus.vectors[start : start + 5_000]
        halves = np.zeros(len(vectors), dtype=[("dimensions", ">i2"), ("unused", ">i2"), ("values", ">f2", DIMENSIONS)])
        halves["dimensions"], halves["values"] = DIMENSIONS, vectors
        values = {
            "organization": np.void(organization_id.bytes),
            "chunk": corpus.ids[start : start + len(vectors)],
            "model": model,
            "embedding": halves.view(f"V{4 + 2 * DIMENSIONS}"),
            "audience": b"firm",
        }
        yield _rows(fields, values, len(vectors))
