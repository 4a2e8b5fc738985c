"""How far documents are trusted, in SQL: on every row that says it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from domain.kernel import PrincipalId, Trust
from domain.storage.postgres import Connection, Row
from knowledge.model import DocumentId
from knowledge.postgres.versions import LINE
from knowledge.trust import HeldDocument

_COLUMNS = """document_id, parent_id, title, media_type, trust, uploaded_by, source_id IS NOT NULL AS of_source,
    replaced_by IS NOT NULL AS is_replaced, deleted_at IS NOT NULL AS is_deleted"""

# In the order of their ids, as whoever indexes or deletes one of them holds the line.
_LINE = f"""
WITH line AS MATERIALIZED ({LINE})
SELECT {_COLUMNS} FROM knowledge_documents
WHERE document_id IN (SELECT document_id FROM line)
ORDER BY document_id FOR UPDATE
"""

_PARTS = f"""
SELECT {_COLUMNS} FROM knowledge_documents WHERE parent_id = ANY ($1)
ORDER BY document_id FOR UPDATE
"""

_DOCUMENTS = """
UPDATE knowledge_documents SET trust = $2, updated_at = $3 WHERE document_id = ANY ($1) AND trust <> $2
"""
_CHUNKS = "UPDATE knowledge_chunks SET trust = $2 WHERE document_id = ANY ($1) AND trust <> $2"
_POSTINGS = """
UPDATE knowledge_postings p SET trust = $2 FROM knowledge_chunks c
WHERE c.document_id = ANY ($1) AND p.organization_id = c.organization_id AND p.chunk_id = c.chunk_id AND p.trust <> $2
"""


class PostgresTrust:
    """TrustRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def line(self, document_id: DocumentId) -> Sequence[HeldDocument]:
        return [_held(row) for row in await self._connection.fetch(_LINE, document_id)]

    async def parts(self, document_ids: Collection[DocumentId]) -> Sequence[HeldDocument]:
        return [_held(row) for row in await self._connection.fetch(_PARTS, list(document_ids))]

    async def change(self, document_ids: Collection[DocumentId], trust: Trust, now: datetime) -> None:
        ids = list(document_ids)
        await self._connection.execute(_DOCUMENTS, ids, trust, now)
        await self._connection.execute(_CHUNKS, ids, trust)
        await self._connection.execute(_POSTINGS, ids, trust)


def _held(row: Row) -> HeldDocument:
    parent_id = row["parent_id"]
    return HeldDocument(
        document_id=DocumentId(row["document_id"]),
        parent_id=None if parent_id is None else DocumentId(parent_id),
        title=row["title"],
        media_type=row["media_type"],
        trust=row["trust"],
        uploaded_by=PrincipalId(row["uploaded_by"]),
        of_source=row["of_source"],
        is_replaced=row["is_replaced"],
        is_deleted=row["is_deleted"],
    )
