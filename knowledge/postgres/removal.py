"""Deleted documents in SQL, and all that goes with one when it is purged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from domain.kernel import EngagementId, PrincipalId
from domain.storage.postgres import Connection, Row
from knowledge.model import DocumentId
from knowledge.postgres.indexing import TERMS_LOCK
from knowledge.removal import DeletedDocument, DeletedQuery, Purged

_DELETE = """
UPDATE knowledge_documents
SET deleted_at = $3, updated_at = $3, deleted_with = $2, purge_at = $4, chunk_count = 0, term_count = 0
WHERE document_id = ANY ($1)
"""

_DELETED = """
SELECT d.document_id, d.title, d.media_type, d.audience, d.engagement_id, d.size_bytes, d.uploaded_by,
       coalesce(u.email, d.uploaded_by::text) AS uploader, d.deleted_at, d.purge_at,
       coalesce(d.deleted_with, d.document_id) AS deleted_with,
       EXISTS (SELECT FROM knowledge_documents p
               WHERE p.organization_id = d.organization_id AND p.document_id = d.parent_id
                 AND p.deleted_at IS NOT NULL) AS parent_is_gone
FROM knowledge_documents d LEFT JOIN users u ON u.user_id = d.uploaded_by
WHERE d.deleted_at IS NOT NULL
"""

_FIND = _DELETED + " AND d.document_id = $1 FOR UPDATE OF d"

_LIST = (
    _DELETED
    + """
  AND coalesce(d.deleted_with, d.document_id) = d.document_id
  AND ($1::timestamptz IS NULL OR (d.deleted_at, d.document_id) < ($1, $2::uuid))
  AND ($3::uuid IS NULL OR d.uploaded_by = $3) AND d.purge_at > $4
ORDER BY d.deleted_at DESC, d.document_id DESC
LIMIT $5
"""
)

# A version that was replaced is read by whoever cites it, and found by nobody; what could not be read cannot be now.
_RESTORE = """
UPDATE knowledge_documents
SET deleted_at = NULL, deleted_with = NULL, purge_at = NULL, updated_at = $2,
    status = CASE WHEN replaced_by IS NULL AND status <> 'failed' THEN 'queued' ELSE status END,
    text = CASE WHEN replaced_by IS NULL THEN NULL ELSE text END
WHERE document_id = $1 OR deleted_with = $1
RETURNING document_id, replaced_by IS NULL AND status = 'queued' AS waits
"""

_GOING = """
WITH along AS (
    SELECT document_id FROM knowledge_documents
    WHERE deleted_at IS NOT NULL AND (document_id = $1 OR deleted_with = $1)
)
SELECT document_id FROM along
UNION
SELECT d.document_id FROM knowledge_documents d JOIN along a ON d.parent_id = a.document_id
"""

_CHUNKS = "SELECT chunk_id FROM knowledge_chunks WHERE document_id = ANY ($1)"
# Those that refer to others first; a document and what lies inside of it in one statement.
_PURGE = (
    "DELETE FROM document_figures WHERE document_id = ANY ($1)",
    "DELETE FROM knowledge_staged WHERE document_id = ANY ($1)",
    "DELETE FROM knowledge_kept_vectors WHERE document_id = ANY ($1)",
    f"DELETE FROM knowledge_embeddings WHERE chunk_id IN ({_CHUNKS})",
    f"DELETE FROM knowledge_postings WHERE chunk_id IN ({_CHUNKS})",
    "DELETE FROM knowledge_chunks WHERE document_id = ANY ($1)",
    "DELETE FROM knowledge_files WHERE document_id = ANY ($1)",
    "DELETE FROM knowledge_documents WHERE document_id = ANY ($1)",
)

_DIGESTS = "SELECT DISTINCT content_sha256 FROM knowledge_documents WHERE document_id = ANY ($1)"

_LEFT = """
SELECT n.digest FROM unnest($1::bytea[]) AS n (digest)
WHERE NOT EXISTS (SELECT FROM knowledge_documents d
                  WHERE d.organization_id = glow.organization_id() AND d.content_sha256 = n.digest)
ORDER BY n.digest
"""

# A look at the index for each word, whatever the planner would rather: nearly all of them have a posting.
_FORGET_WORDS = """
WITH gone AS (
    DELETE FROM knowledge_terms t
    WHERE t.organization_id = glow.organization_id() AND (
        SELECT 1 FROM knowledge_postings p
        WHERE p.organization_id = t.organization_id AND p.term_id = t.term_id LIMIT 1) IS NULL
    RETURNING 1
)
SELECT count(*) FROM gone
"""

# An earlier version of somebody else's document goes by itself.
_HURRY = """
UPDATE knowledge_documents d
SET purge_at = $2, deleted_with = CASE WHEN d.parent_id IS NULL THEN d.document_id ELSE d.deleted_with END
WHERE d.uploaded_by = $1 AND d.deleted_at IS NOT NULL AND d.purge_at > $2
RETURNING d.document_id, coalesce(d.deleted_with, d.document_id) = d.document_id AS by_itself
"""


class PostgresRemovals:
    """RemovalRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def delete(
        self, document_ids: Collection[DocumentId], along_with: DocumentId, now: datetime, until: datetime
    ) -> None:
        await self._connection.execute(_DELETE, list(document_ids), along_with, now, until)

    async def find(self, document_id: DocumentId) -> DeletedDocument | None:
        row = await self._connection.fetchrow(_FIND, document_id)
        return None if row is None else _deleted(row)

    async def list(self, query: DeletedQuery, now: datetime) -> Sequence[DeletedDocument]:
        rows = await self._connection.fetch(_LIST, *query.page.behind, query.uploaded_by, now, query.page.limit + 1)
        return [_deleted(row) for row in rows]

    async def restore(self, document_id: DocumentId, now: datetime) -> Sequence[DocumentId]:
        rows = await self._connection.fetch(_RESTORE, document_id, now)
        return [DocumentId(row["document_id"]) for row in rows if row["waits"]]

    async def purge(self, document_id: DocumentId) -> Purged:
        going = [row["document_id"] for row in await self._connection.fetch(_GOING, document_id)]
        digests = [row["content_sha256"] for row in await self._connection.fetch(_DIGESTS, going)]
        for statement in _PURGE:
            await self._connection.execute(statement, going)
        left = await self._connection.fetch(_LEFT, digests)
        return Purged(documents=len(going), digests=tuple(row["digest"] for row in left))

    async def forget_words(self) -> int:
        # Alone: a document that is indexed meanwhile relies on a word that it has found here.
        await self._connection.execute(f"SELECT pg_advisory_xact_lock({TERMS_LOCK})")
        return await self._connection.fetchval(_FORGET_WORDS) or 0

    async def hurry(self, uploaded_by: PrincipalId, now: datetime) -> Sequence[DocumentId]:
        rows = await self._connection.fetch(_HURRY, uploaded_by, now)
        return [DocumentId(row["document_id"]) for row in rows if row["by_itself"]]


def _deleted(row: Row) -> DeletedDocument:
    engagement_id = row["engagement_id"]
    return DeletedDocument(
        document_id=DocumentId(row["document_id"]),
        title=row["title"],
        media_type=row["media_type"],
        audience=row["audience"],
        engagement_id=None if engagement_id is None else EngagementId(engagement_id),
        size_bytes=row["size_bytes"],
        uploaded_by=PrincipalId(row["uploaded_by"]),
        uploader=row["uploader"],
        deleted_at=row["deleted_at"],
        restorable_until=row["purge_at"],
        deleted_with=DocumentId(row["deleted_with"]),
        parent_is_gone=row["parent_is_gone"],
    )
