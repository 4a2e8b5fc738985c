"""Sets of readers, made by SQL as a sync makes them."""

import hashlib
from uuid import UUID

from server.database.connection import Connection

_SET = """
INSERT INTO knowledge_reader_sets (organization_id, digest) VALUES ($1, gen_random_bytes(16)) RETURNING reader_set
"""
_READER = "INSERT INTO knowledge_readers (organization_id, reader_set, email_sha256) VALUES ($1, $2, $3)"
_SHOWN_TO = (
    "UPDATE knowledge_documents SET audience = $2 WHERE document_id = $1",
    "UPDATE knowledge_chunks SET audience = $2 WHERE document_id = $1",
    """UPDATE knowledge_postings p SET audience = $2 FROM knowledge_chunks c
       WHERE c.document_id = $1 AND c.chunk_id = p.chunk_id""",
    """UPDATE knowledge_embeddings e SET audience = $2 FROM knowledge_chunks c
       WHERE c.document_id = $1 AND c.chunk_id = e.chunk_id""",
)


async def reader_set(owner: Connection, organization_id: UUID, *addresses: str) -> str:
    """The audience of those with these addresses."""
    made = await owner.fetchval(_SET.replace("gen_random_bytes(16)", "uuid_send(gen_random_uuid())"), organization_id)
    for address in addresses:
        await owner.execute(_READER, organization_id, made, hashlib.sha256(address.encode()).digest())
    return f"readers:{made}"


async def shown_to(owner: Connection, document_id: object, audience: str) -> None:
    """The document and all that finds it are for this audience."""
    for statement in _SHOWN_TO:
        await owner.execute(statement, UUID(str(document_id)), audience)
