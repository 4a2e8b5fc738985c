"""Documents and their files in SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from domain.kernel import EngagementId
from domain.storage.postgres import Connection, Row
from knowledge.languages import Language
from knowledge.model import (
    ChunkId,
    Document,
    DocumentId,
    DocumentQuery,
    FileKey,
    FileMissing,
    NewDocument,
    StoredRange,
    TextMap,
    audience_of,
)
from knowledge.ports import Storage
from knowledge.prepare import PreparedDocument
from knowledge.reanalysis import AnalysedDocument, StoredPassage, StoredPassages
from knowledge.terms import ANALYSIS_VERSION

_ADD = """
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, engagement_id, trust,
    status, size_bytes, content_sha256, uploaded_by, created_at, updated_at, language_said, source_id)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, $7, 'queued', $8, $9, $10, $11, $11, $12, $13)
"""

# No call writes `parsing`: while a worker reads a document the row is still queued, and the queue knows of the worker.
_STATUS = (
    "CASE WHEN d.status = 'queued' AND d.document_id IN (SELECT glow.documents_parsing()) THEN 'parsing' "
    "ELSE d.status END"
)

# Counted only while they are waited for; of several models, the one that has come furthest.
_EMBEDDED_COUNT = """CASE WHEN s.embedded_count IS NOT NULL THEN s.embedded_count
            WHEN d.status = 'embedding' THEN coalesce((
           SELECT count(*) FROM knowledge_chunks c JOIN knowledge_embeddings e USING (organization_id, chunk_id)
           WHERE c.document_id = d.document_id GROUP BY e.model ORDER BY count(*) DESC LIMIT 1), 0) ELSE 0 END"""

_DOCUMENTS = f"""
SELECT d.document_id, d.title, d.uri, d.media_type, d.audience, d.engagement_id, d.trust, {_STATUS} AS status,
       d.failure, d.size_bytes, d.content_sha256, cardinality(d.page_starts) AS page_count, d.token_count,
       coalesce(s.chunk_count, d.chunk_count) AS chunk_count, {_EMBEDDED_COUNT} AS embedded_count, d.version,
       d.parent_id, d.note, d.replaced_by,
       coalesce(u.email, d.uploaded_by::text) AS uploaded_by, d.created_at, d.updated_at
FROM knowledge_documents d
LEFT JOIN users u ON u.user_id = d.uploaded_by
LEFT JOIN knowledge_staged s ON s.organization_id = d.organization_id AND s.document_id = d.document_id
WHERE d.deleted_at IS NULL
"""

_LIST = (
    _DOCUMENTS
    + f"""
  AND d.replaced_by IS NULL
  AND ($1::timestamptz IS NULL OR (d.created_at, d.document_id) < ($1, $2::uuid))
  AND ($3::uuid IS NULL OR d.engagement_id = $3)
  AND ($4::text IS NULL OR {_STATUS} = $4)
  AND ($6::uuid IS NULL OR d.parent_id = $6)
ORDER BY d.created_at DESC, d.document_id DESC
LIMIT $5
"""
)

_GET = _DOCUMENTS + "  AND d.document_id = $1"

_TEXT_MAP = f"""
SELECT d.title, d.uri, d.trust, d.audience, d.engagement_id,
       CASE WHEN d.status = 'embedding' AND d.text IS NULL THEN 'parsing' ELSE {_STATUS} END AS status,
       coalesce(char_length(d.text), 0) AS length, d.page_starts
FROM knowledge_documents d
WHERE document_id = $1 AND deleted_at IS NULL
"""

_TEXT = """
SELECT substring(text FROM $2::integer + 1 FOR $3::integer - $2::integer)
FROM knowledge_documents
WHERE document_id = $1 AND deleted_at IS NULL
"""

_TEXTS = """
SELECT substring(d.text FROM n.first + 1 FOR n.behind - n.first) AS text
FROM unnest($1::uuid[], $2::integer[], $3::integer[]) WITH ORDINALITY AS n (document_id, first, behind, place)
JOIN knowledge_documents d ON d.document_id = n.document_id
ORDER BY n.place
"""

_ENGAGEMENTS = """
SELECT engagement_id FROM engagements
WHERE engagement_id::text = lower($1) OR strpos(lower(name), lower($1)) > 0 OR strpos(lower(client_name), lower($1)) > 0
ORDER BY engagement_id LIMIT 100
"""

_RANGES = """
SELECT d.document_id IS NOT NULL AS there,
       CASE WHEN 0 <= w.start AND w.start < w.stop AND w.stop <= char_length(d.text)
            THEN substring(d.text FROM w.start + 1 FOR w.stop - w.start) END AS text,
       c.chunk_id, c.section,
       (SELECT nullif(count(*), 0) FROM unnest(d.page_starts) AS p (start) WHERE p.start <= w.start) AS page
FROM unnest($1::uuid[], $2::integer[], $3::integer[]) WITH ORDINALITY AS w (document_id, start, stop, place)
LEFT JOIN knowledge_documents d ON d.document_id = w.document_id AND d.deleted_at IS NULL AND d.text IS NOT NULL
LEFT JOIN LATERAL (
    SELECT k.chunk_id, k.section FROM knowledge_chunks k
    WHERE k.document_id = d.document_id AND k.end_offset > w.start AND k.start_offset < w.stop
    ORDER BY k.start_offset LIMIT 1
) c ON true
ORDER BY w.place
"""

_LOCK = "SELECT FROM knowledge_documents WHERE document_id = $1 AND deleted_at IS NULL FOR UPDATE"

# The version says how often it was made ready: a citation of an earlier one can be told from today's.
_FINISH = """
UPDATE knowledge_documents
SET status = $8, failure = NULL, text = $2, page_starts = $3, token_count = $4, updated_at = $5,
    chunk_count = $6, term_count = $7, language = $9, analysis_version = $10, prepared_as = $11,
    embedding_model = NULL, embedding_models = '{}',
    version = version + CASE WHEN text IS NULL THEN 0 ELSE 1 END
WHERE document_id = $1
"""

# Its own row where it has no passages.
_PASSAGES = """
SELECT d.title, d.language_said, c.chunk_id, c.section, c.text
FROM knowledge_documents d LEFT JOIN knowledge_chunks c USING (organization_id, document_id)
WHERE d.document_id = $1 AND d.deleted_at IS NULL
ORDER BY c.ordinal
"""

_ANALYSED = """
UPDATE knowledge_documents SET term_count = $2, language = $3, analysis_version = $4 WHERE document_id = $1
"""

_QUEUE = "UPDATE knowledge_documents SET status = 'queued', updated_at = $2 WHERE document_id = $1"
_EMBEDDING = "UPDATE knowledge_documents SET status = 'embedding', updated_at = $2 WHERE document_id = $1"

# What other models have whole stays whole; of a document embedded before there was the list only the last one is known.
_EMBEDDED = """
UPDATE knowledge_documents
SET status = 'ready', embedding_model = $2, failure = $3, updated_at = $4, embedding_models =
    CASE WHEN $2::text IS NULL OR $3::text IS NOT NULL THEN embedding_models
         ELSE ARRAY(SELECT DISTINCT model
                    FROM unnest(embedding_models || $2::text
                                || CASE WHEN failure IS NULL THEN embedding_model END) AS m (model)
                    WHERE model IS NOT NULL ORDER BY model)
    END
WHERE document_id = $1
"""

_FAIL = """
UPDATE knowledge_documents
SET status = 'failed', failure = $2, text = NULL, updated_at = $3, chunk_count = 0, term_count = 0
WHERE document_id = $1
"""


class PostgresDocuments:
    """DocumentRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, document: NewDocument, *, uri: str) -> None:
        await self._connection.execute(
            _ADD,
            document.document_id,
            document.title,
            uri,
            document.media_type,
            document.readers or document.audience,
            document.engagement_id,
            document.trust,
            len(document.content),
            hashlib.sha256(document.content).digest(),
            document.uploaded_by,
            document.created_at,
            document.language,
            document.source_id,
        )

    async def list(self, query: DocumentQuery) -> Sequence[Document]:
        rows = await self._connection.fetch(
            _LIST,
            *query.page.behind,
            query.engagement_id,
            query.status,
            query.page.limit + 1,
            query.parent_id,
        )
        return [_document(row) for row in rows]

    async def get(self, document_id: DocumentId) -> Document | None:
        row = await self._connection.fetchrow(_GET, document_id)
        return None if row is None else _document(row)

    async def language_said(self, document_id: DocumentId) -> Language | None:
        return await self._connection.fetchval(
            "SELECT language_said FROM knowledge_documents WHERE document_id = $1", document_id
        )

    async def text_map(self, document_id: DocumentId) -> TextMap | None:
        row = await self._connection.fetchrow(_TEXT_MAP, document_id)
        if row is None:
            return None
        return TextMap(
            title=row["title"],
            uri=row["uri"],
            trust=row["trust"],
            audience=audience_of(row["audience"]),
            engagement_id=row["engagement_id"],
            status=row["status"],
            length=row["length"],
            page_starts=tuple(row["page_starts"]),
        )

    async def ranges(self, wanted: Sequence[tuple[DocumentId, int, int]]) -> list[StoredRange | None]:
        document_ids = [document_id for document_id, _, _ in wanted]
        starts, stops = [start for _, start, _ in wanted], [stop for _, _, stop in wanted]
        rows = await self._connection.fetch(_RANGES, document_ids, starts, stops)
        return [_range(row) if row["there"] else None for row in rows]

    async def text(self, document_id: DocumentId, start: int, end: int) -> str:
        return await self._connection.fetchval(_TEXT, document_id, start, end) or ""

    async def texts(self, ranges: Sequence[tuple[DocumentId, int, int]]) -> Sequence[str]:
        if not ranges:
            return ()
        return [row["text"] for row in await self._connection.fetch(_TEXTS, *map(list, zip(*ranges, strict=True)))]

    async def engagements(self, name: str) -> Sequence[EngagementId]:
        return [EngagementId(row["engagement_id"]) for row in await self._connection.fetch(_ENGAGEMENTS, name)]

    async def lock(self, document_id: DocumentId) -> bool:
        return await self._connection.fetchrow(_LOCK, document_id) is not None

    async def finish(
        self, document_id: DocumentId, prepared: PreparedDocument, then: Literal["embedding", "ready"], now: datetime
    ) -> None:
        await self._connection.execute(
            _FINISH,
            document_id,
            prepared.text,
            prepared.page_starts,
            prepared.token_count,
            now,
            len(prepared.chunks),
            sum(chunk.length for chunk in prepared.chunks),
            then,
            prepared.language,
            ANALYSIS_VERSION,
            prepared.prepared_as,
        )

    async def passages(self, document_id: DocumentId) -> StoredPassages | None:
        rows = await self._connection.fetch(_PASSAGES, document_id)
        if not rows:
            return None
        return StoredPassages(
            title=rows[0]["title"],
            language=rows[0]["language_said"],
            passages=tuple(
                StoredPassage(chunk_id=ChunkId(row["chunk_id"]), section=row["section"], text=row["text"])
                for row in rows
                if row["chunk_id"] is not None
            ),
        )

    async def analysed(self, document_id: DocumentId, analysed: AnalysedDocument) -> None:
        await self._connection.execute(_ANALYSED, document_id, analysed.term_count, analysed.language, ANALYSIS_VERSION)

    async def queue(self, document_id: DocumentId, now: datetime) -> None:
        await self._connection.execute(_QUEUE, document_id, now)

    async def embedding(self, document_id: DocumentId, now: datetime) -> None:
        await self._connection.execute(_EMBEDDING, document_id, now)

    async def embedded(self, document_id: DocumentId, model_id: str | None, failure: str | None, now: datetime) -> None:
        await self._connection.execute(_EMBEDDED, document_id, model_id, failure, now)

    async def fail(self, document_id: DocumentId, reason: str, now: datetime) -> None:
        await self._connection.execute(_FAIL, document_id, reason, now)


# Until the commit nobody discards these bytes (server.database.files); from then on the row says that they are needed.
# One lock for all contents whose digests begin alike: an archive of a thousand files must not use up the cluster's. In
# one order, so that two archives do not lock one another out.
_HOLD_FILES = """
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('/', glow.organization_id(), 'file', n.beginning), 55))
FROM unnest($1::text[]) AS n (beginning)
"""

_PUT_FILE = """
INSERT INTO knowledge_files (organization_id, document_id, content) VALUES (glow.organization_id(), $1, $2)
"""

_FILE = """
SELECT f.organization_id, f.content, d.content_sha256
FROM knowledge_files f JOIN knowledge_documents d USING (organization_id, document_id)
WHERE f.document_id = $1
"""


class PostgresFiles:
    """FileStore in the database itself (one backup, one transaction, nothing to mount), or in a place outside of it.

    What was kept in the database before there was such a place is read there.
    """

    def __init__(self, connection: Connection, storage: Storage | None = None) -> None:
        self._connection = connection
        self._storage = storage

    async def hold(self, digests: Collection[bytes]) -> None:
        if self._storage is not None:
            await self._connection.execute(_HOLD_FILES, sorted({digest.hex()[:2] for digest in digests}))

    async def put(self, document_id: DocumentId, content: bytes) -> None:
        if self._storage is not None:
            await self._put_outside(self._storage, content)
        await self._connection.execute(_PUT_FILE, document_id, None if self._storage is not None else content)

    async def get(self, document_id: DocumentId) -> bytes | None:
        row = await self._connection.fetchrow(_FILE, document_id)
        if row is None or row["content"] is not None:
            return None if row is None else row["content"]
        key = FileKey(organization_id=row["organization_id"], digest=row["content_sha256"])
        content = None if self._storage is None else await self._storage.get(key)
        if content is None:
            raise FileMissing(document_id)
        return content

    async def _put_outside(self, storage: Storage, content: bytes) -> None:
        """They are there from before the transaction; only what was discarded before the lock is put again."""
        digest = hashlib.sha256(content).digest()
        await self.hold([digest])
        organization_id = await self._connection.fetchval("SELECT glow.organization_id()")
        key = FileKey(organization_id=organization_id, digest=digest)
        if not await storage.has(key):
            await storage.put(key, content)


def _range(row: Row) -> StoredRange:
    chunk_id = None if row["chunk_id"] is None else ChunkId(row["chunk_id"])
    return StoredRange(text=row["text"], chunk_id=chunk_id, page=row["page"], section=row["section"] or None)


def _document(row: Row) -> Document:
    engagement_id = row["engagement_id"]
    return Document(
        document_id=DocumentId(row["document_id"]),
        title=row["title"],
        uri=row["uri"],
        media_type=row["media_type"],
        audience=audience_of(row["audience"]),
        engagement_id=None if engagement_id is None else EngagementId(engagement_id),
        trust=row["trust"],
        status=row["status"],
        failure=row["failure"],
        size_bytes=row["size_bytes"],
        content_sha256=row["content_sha256"],
        parent_id=None if row["parent_id"] is None else DocumentId(row["parent_id"]),
        note=row["note"],
        page_count=row["page_count"] or None,
        token_count=row["token_count"],
        chunk_count=row["chunk_count"],
        embedded_count=row["embedded_count"],
        version=row["version"],
        uploaded_by=row["uploaded_by"],
        replaced_by=None if row["replaced_by"] is None else DocumentId(row["replaced_by"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
