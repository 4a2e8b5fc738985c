"""Documents, their files and the lexical index in SQL; the last step of the path for knowledge."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from domain.kernel import EngagementId
from domain.storage.postgres import Connection, Row, plan_anew
from knowledge.model import (
    ChunkId,
    Document,
    DocumentId,
    DocumentQuery,
    NewDocument,
    Passage,
    SearchFilters,
    TextMap,
)
from knowledge.prepare import PreparedDocument
from knowledge.service import KnowledgeService

_ADD = """
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, engagement_id, trust,
    status, size_bytes, content_sha256, uploaded_by, created_at, updated_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, $7, 'queued', $8, $9, $10, $11, $11)
"""

_DOCUMENTS = """
SELECT d.document_id, d.title, d.uri, d.media_type, d.audience, d.engagement_id, d.trust, d.status, d.failure,
       d.size_bytes, d.content_sha256, cardinality(d.page_starts) AS page_count, d.token_count, d.version,
       coalesce(u.email, d.uploaded_by::text) AS uploaded_by, d.created_at, d.updated_at
FROM knowledge_documents d
LEFT JOIN users u ON u.user_id = d.uploaded_by
WHERE d.deleted_at IS NULL
"""

_LIST = (
    _DOCUMENTS
    + """
  AND ($1::timestamptz IS NULL OR (d.created_at, d.document_id) < ($1, $2::uuid))
  AND ($3::uuid IS NULL OR d.engagement_id = $3)
  AND ($4::text IS NULL OR d.status = $4)
ORDER BY d.created_at DESC, d.document_id DESC
LIMIT $5
"""
)

_GET = _DOCUMENTS + "  AND d.document_id = $1"

_TEXT_MAP = """
SELECT title, uri, trust, status, coalesce(char_length(text), 0) AS length, page_starts
FROM knowledge_documents
WHERE document_id = $1 AND deleted_at IS NULL
"""

_TEXT = """
SELECT substring(text FROM $2::integer + 1 FOR $3::integer - $2::integer)
FROM knowledge_documents
WHERE document_id = $1 AND deleted_at IS NULL
"""

_LOCK = "SELECT FROM knowledge_documents WHERE document_id = $1 AND deleted_at IS NULL FOR UPDATE"

# The version says how often it was made ready: a citation of an earlier one can be told from today's.
_FINISH = """
UPDATE knowledge_documents
SET status = 'ready', failure = NULL, text = $2, page_starts = $3, token_count = $4, updated_at = $5,
    chunk_count = $6, term_count = $7, version = version + CASE WHEN text IS NULL THEN 0 ELSE 1 END
WHERE document_id = $1
"""

_FAIL = """
UPDATE knowledge_documents
SET status = 'failed', failure = $2, text = NULL, updated_at = $3, chunk_count = 0, term_count = 0
WHERE document_id = $1
"""

_DELETE = """
UPDATE knowledge_documents SET deleted_at = $2, updated_at = $2, chunk_count = 0, term_count = 0 WHERE document_id = $1
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
            document.audience,
            document.engagement_id,
            document.trust,
            len(document.content),
            hashlib.sha256(document.content).digest(),
            document.uploaded_by,
            document.created_at,
        )

    async def list(self, query: DocumentQuery) -> Sequence[Document]:
        await plan_anew(self._connection)
        after = query.page.after
        rows = await self._connection.fetch(
            _LIST,
            None if after is None else after.time,
            None if after is None else after.id,
            query.engagement_id,
            query.status,
            query.page.limit + 1,
        )
        return [_document(row) for row in rows]

    async def get(self, document_id: DocumentId) -> Document | None:
        row = await self._connection.fetchrow(_GET, document_id)
        return None if row is None else _document(row)

    async def text_map(self, document_id: DocumentId) -> TextMap | None:
        row = await self._connection.fetchrow(_TEXT_MAP, document_id)
        if row is None:
            return None
        return TextMap(
            title=row["title"],
            uri=row["uri"],
            trust=row["trust"],
            status=row["status"],
            length=row["length"],
            page_starts=tuple(row["page_starts"]),
        )

    async def text(self, document_id: DocumentId, start: int, end: int) -> str:
        return await self._connection.fetchval(_TEXT, document_id, start, end) or ""

    async def lock(self, document_id: DocumentId) -> bool:
        return await self._connection.fetchrow(_LOCK, document_id) is not None

    async def finish(self, document_id: DocumentId, prepared: PreparedDocument, now: datetime) -> None:
        await self._connection.execute(
            _FINISH,
            document_id,
            prepared.text,
            prepared.page_starts,
            prepared.token_count,
            now,
            len(prepared.chunks),
            sum(chunk.length for chunk in prepared.chunks),
        )

    async def fail(self, document_id: DocumentId, reason: str, now: datetime) -> None:
        await self._connection.execute(_FAIL, document_id, reason, now)

    async def delete(self, document_id: DocumentId, now: datetime) -> None:
        await self._connection.execute(_DELETE, document_id, now)


_PUT_FILE = """
INSERT INTO knowledge_files (organization_id, document_id, content) VALUES (glow.organization_id(), $1, $2)
"""


class PostgresFiles:
    """FileStore in the database itself: one backup, one transaction, nothing to mount."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(self, document_id: DocumentId, content: bytes) -> None:
        await self._connection.execute(_PUT_FILE, document_id, content)

    async def get(self, document_id: DocumentId) -> bytes | None:
        return await self._connection.fetchval(
            "SELECT content FROM knowledge_files WHERE document_id = $1", document_id
        )

    async def delete(self, document_id: DocumentId) -> None:
        await self._connection.execute("DELETE FROM knowledge_files WHERE document_id = $1", document_id)


# Okapi BM25 (k1 = 1.2, b = 0.75, Lucene's idf, which is never negative), exact: every posting of every term counts.
# Each table is read through row level security, so that the statistics are those of the passages which this principal
# may see: a score tells nothing of hidden ones. They are the organization's whichever filters are set, for a filter
# says where to look and not how rare a word is. Filters that are not set fold away when the statement is planned.
SEARCH = """
WITH corpus AS MATERIALIZED (
    SELECT sum(chunk_count)::float8 AS chunks, sum(term_count)::float8 / nullif(sum(chunk_count), 0) AS mean_length
    FROM knowledge_documents WHERE deleted_at IS NULL
),
-- One index-only scan a term, over (organization_id, term_id).
hits AS MATERIALIZED (
    SELECT p.term_id, p.chunk_id, p.frequency::float8 AS frequency, p.length::float8 AS length
    FROM knowledge_terms t JOIN knowledge_postings p USING (term_id)
    WHERE t.term = ANY ($1::text[])
),
-- In how many passages each term stands.
matching AS (
    SELECT term_id, count(*)::float8 AS passages FROM hits GROUP BY term_id
),
weights AS MATERIALIZED (
    SELECT m.term_id, ln(1 + (c.chunks - m.passages + 0.5) / (m.passages + 0.5)) AS idf, c.mean_length
    FROM matching m CROSS JOIN corpus c
),
-- generate_series gives one row and is taken for a thousand: the planner cannot know how common the terms are, and for
-- the few rows it expects it would sort what is faster summed by hashing.
best AS (
    SELECT h.chunk_id,
           sum(w.idf * h.frequency * 2.2::float8
               / (h.frequency + 0.3::float8 + 0.9::float8 * h.length / w.mean_length)) AS score
    FROM hits h JOIN weights w USING (term_id) CROSS JOIN generate_series(1, (SELECT 1))
    WHERE ($3::uuid IS NULL AND $4::uuid IS NULL AND $5::text IS NULL AND $6::text IS NULL)
       OR h.chunk_id IN (
            SELECT c.chunk_id
            FROM knowledge_documents d JOIN knowledge_chunks c USING (organization_id, document_id)
            WHERE ($3 IS NULL OR d.document_id = $3) AND ($4 IS NULL OR d.engagement_id = $4)
              AND ($5 IS NULL OR d.media_type = $5) AND ($6 IS NULL OR strpos(lower(d.title), lower($6)) > 0))
    GROUP BY h.chunk_id
    ORDER BY score DESC, h.chunk_id
    LIMIT $2
)
SELECT c.document_id, c.chunk_id, d.title, c.text, best.score, c.page, c.section, c.start_offset, c.end_offset, d.uri,
       c.trust, c.audience
FROM best
JOIN knowledge_chunks c USING (chunk_id)
JOIN knowledge_documents d USING (organization_id, document_id)
ORDER BY best.score DESC, c.chunk_id
"""

_REMOVE_POSTINGS = """
DELETE FROM knowledge_postings p USING knowledge_chunks c
WHERE c.document_id = $1 AND p.organization_id = c.organization_id AND p.chunk_id = c.chunk_id
"""

_REMOVE_CHUNKS = "DELETE FROM knowledge_chunks WHERE document_id = $1"

# A passage carries what decides who sees it from its document, in the same transaction.
_ADD_CHUNKS = """
INSERT INTO knowledge_chunks (organization_id, chunk_id, document_id, ordinal, start_offset, end_offset, page, section,
    text, token_count, length, audience, engagement_id, trust)
SELECT d.organization_id, n.chunk_id, d.document_id, n.ordinal, n.start_offset, n.end_offset, n.page, n.section,
    n.text, n.token_count, n.length, d.audience, d.engagement_id, d.trust
FROM knowledge_documents d,
     unnest($2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::integer[], $7::text[], $8::text[],
            $9::integer[], $10::integer[])
         AS n (chunk_id, ordinal, start_offset, end_offset, page, section, text, token_count, length)
WHERE d.document_id = $1
ORDER BY n.ordinal
"""

# In order, so that two documents indexed at once wait for one another's new terms and never lock one another out.
_ADD_TERMS = """
INSERT INTO knowledge_terms (organization_id, term)
SELECT glow.organization_id(), n.term
FROM unnest($1::text[]) AS n (term)
WHERE NOT EXISTS (SELECT FROM knowledge_terms t WHERE t.term = n.term)
ORDER BY n.term
ON CONFLICT (organization_id, term) DO NOTHING
"""

# Once a document and in the order of the index: row by row it costs many times as much.
_ADD_POSTINGS = """
INSERT INTO knowledge_postings (organization_id, term_id, chunk_id, frequency, length, audience, engagement_id, trust)
SELECT c.organization_id, t.term_id, c.chunk_id, n.frequency, c.length, c.audience, c.engagement_id, c.trust
FROM unnest($1::text[], $2::uuid[], $3::integer[]) AS n (term, chunk_id, frequency)
JOIN knowledge_terms t ON t.term = n.term
JOIN knowledge_chunks c ON c.chunk_id = n.chunk_id
ORDER BY t.term_id, c.chunk_id
"""


class PostgresIndex:
    """LexicalIndex over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def search(self, terms: Sequence[str], limit: int, filters: SearchFilters) -> Sequence[Passage]:
        await plan_anew(self._connection)
        rows = await self._connection.fetch(
            SEARCH,
            terms,
            limit,
            filters.document_id,
            filters.engagement_id,
            filters.media_type,
            filters.title,
        )
        return [_passage(row) for row in rows]

    async def write(self, document_id: DocumentId, prepared: PreparedDocument, chunk_ids: Sequence[ChunkId]) -> None:
        await self._write_chunks(document_id, prepared, chunk_ids)
        postings = [
            (term, chunk_id, frequency)
            for chunk_id, chunk in zip(chunk_ids, prepared.chunks, strict=True)
            for term, frequency in chunk.terms.items()
        ]
        await self._connection.execute(_ADD_TERMS, list({term for term, _, _ in postings}))
        await self._connection.execute(
            _ADD_POSTINGS,
            [term for term, _, _ in postings],
            [chunk_id for _, chunk_id, _ in postings],
            [frequency for _, _, frequency in postings],
        )

    async def remove(self, document_id: DocumentId) -> None:
        await self._connection.execute(_REMOVE_POSTINGS, document_id)
        await self._connection.execute(_REMOVE_CHUNKS, document_id)

    async def _write_chunks(
        self, document_id: DocumentId, prepared: PreparedDocument, chunk_ids: Sequence[ChunkId]
    ) -> None:
        chunks = [prepared_chunk.chunk for prepared_chunk in prepared.chunks]
        await self._connection.execute(
            _ADD_CHUNKS,
            document_id,
            chunk_ids,
            [chunk.ordinal for chunk in chunks],
            [chunk.start for chunk in chunks],
            [chunk.end for chunk in chunks],
            [chunk.page for chunk in chunks],
            [chunk.section for chunk in chunks],
            [chunk.text for chunk in chunks],
            [chunk.token_count for chunk in chunks],
            [prepared_chunk.length for prepared_chunk in prepared.chunks],
        )


def knowledge_service(connection: Connection) -> KnowledgeService:
    """The service of one transaction."""
    return KnowledgeService(
        documents=PostgresDocuments(connection), index=PostgresIndex(connection), files=PostgresFiles(connection)
    )


def _document(row: Row) -> Document:
    engagement_id = row["engagement_id"]
    return Document(
        document_id=DocumentId(row["document_id"]),
        title=row["title"],
        uri=row["uri"],
        media_type=row["media_type"],
        audience=row["audience"],
        engagement_id=None if engagement_id is None else EngagementId(engagement_id),
        trust=row["trust"],
        status=row["status"],
        failure=row["failure"],
        size_bytes=row["size_bytes"],
        content_sha256=row["content_sha256"],
        page_count=row["page_count"] or None,
        token_count=row["token_count"],
        version=row["version"],
        uploaded_by=row["uploaded_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _passage(row: Row) -> Passage:
    return Passage(
        document_id=DocumentId(row["document_id"]),
        chunk_id=ChunkId(row["chunk_id"]),
        title=row["title"],
        text=row["text"],
        score=row["score"],
        page=row["page"],
        section=row["section"],
        start=row["start_offset"],
        end=row["end_offset"],
        uri=row["uri"],
        trust=row["trust"],
        audience=row["audience"],
    )
