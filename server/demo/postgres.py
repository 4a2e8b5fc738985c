"""What of the demo's documents is there already, asked as the owner, who sees what was deleted too."""

from dataclasses import dataclass
from typing import cast
from uuid import UUID

from knowledge.model import DocumentId, DocumentStatus
from server.database.connection import Connection

# The oldest of each content: whoever uploads the same bytes again adds a document, and takes none away.
STORED = """
SELECT DISTINCT ON (content_sha256) content_sha256, document_id, status, deleted_at IS NOT NULL AS deleted
FROM knowledge_documents
WHERE organization_id = $1
ORDER BY content_sha256, created_at, document_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document, known by its content."""

    document_id: DocumentId
    status: DocumentStatus
    deleted: bool

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do: it can be found, or somebody wanted it gone."""
        return self.deleted or self.status == "ready"


async def stored_documents(owner: Connection, organization_id: UUID) -> dict[bytes, StoredDocument]:
    """Every document of the organization by the SHA-256 of its content."""
    return {
        row["content_sha256"]: StoredDocument(
            document_id=DocumentId(row["document_id"]),
            status=cast(DocumentStatus, row["status"]),
            deleted=row["deleted"],
        )
        for row in await owner.fetch(STORED, organization_id)
    }
