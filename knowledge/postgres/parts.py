"""Documents inside of others in SQL: each row is made from its parent's, so that both are seen by the same people."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from domain.storage.postgres import Connection
from knowledge.model import DocumentId, KnownPart
from knowledge.parse.document import Part

_ADD = """
INSERT INTO knowledge_documents (organization_id, document_id, parent_id, source_id, title, uri, media_type, audience,
    engagement_id, trust, status, size_bytes, content_sha256, uploaded_by, created_at, updated_at)
SELECT p.organization_id, $2, p.document_id, p.source_id, $3, $4, $5, p.audience, p.engagement_id,
       CASE WHEN $9::boolean THEN 'external' ELSE p.trust END, 'queued', $6, $7, p.uploaded_by, $8, $8
FROM knowledge_documents p
WHERE p.document_id = $1 AND p.deleted_at IS NULL AND p.parent_id IS NULL
"""

_KNOWN = """
SELECT document_id, title, content_sha256 FROM knowledge_documents
WHERE parent_id = $1 AND deleted_at IS NULL
ORDER BY document_id
"""

_NOTE = "UPDATE knowledge_documents SET note = $2 WHERE document_id = $1 AND note IS DISTINCT FROM $2"


class PostgresParts:
    """PartRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(
        self, parent_id: DocumentId, document_id: DocumentId, part: Part, *, of_mail: bool, uri: str, now: datetime
    ) -> None:
        await self._connection.execute(
            _ADD,
            parent_id,
            document_id,
            part.path,
            uri,
            part.media_type,
            len(part.content),
            hashlib.sha256(part.content).digest(),
            now,
            of_mail,
        )

    async def known(self, parent_id: DocumentId) -> Sequence[KnownPart]:
        rows = await self._connection.fetch(_KNOWN, parent_id)
        return [
            KnownPart(
                document_id=DocumentId(row["document_id"]), path=row["title"], content_sha256=row["content_sha256"]
            )
            for row in rows
        ]

    async def note(self, document_id: DocumentId, note: str | None) -> None:
        await self._connection.execute(_NOTE, document_id, note)
