"""Which kept files a document still has, as glow_service; and the end of those that none has."""

from collections.abc import Sequence
from dataclasses import dataclass

from knowledge.model import FileKey
from knowledge.ports import Storage
from server.database.pool import Pool

# The same lock as that of whoever takes the file up (knowledge.postgres.documents).
HOLD_FILE = "SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('/', $1::uuid, 'file', left($2::text, 2)), 55))"

_UNREFERRED = """
SELECT n.organization_id, n.digest FROM unnest($1::uuid[], $2::bytea[]) AS n (organization_id, digest)
WHERE NOT EXISTS (SELECT FROM knowledge_documents d
                  WHERE d.organization_id = n.organization_id AND d.content_sha256 = n.digest)
"""


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """A place of files, beside what the database says of it."""

    pool: Pool
    storage: Storage

    async def unreferred(self, keys: Sequence[FileKey]) -> list[FileKey]:
        """Those of them that no document has, not even a deleted one."""
        organizations, digests = [key.organization_id for key in keys], [key.digest for key in keys]
        async with self.pool.acquire() as connection:
            rows = await connection.fetch(_UNREFERRED, organizations, digests)
        return [FileKey(organization_id=row["organization_id"], digest=row["digest"]) for row in rows]

    async def discard(self, key: FileKey) -> bool:
        """Remove a file if no document has it; False: one has.

        Whoever takes the same content up at this moment waits, then finds it gone and keeps it anew; or has taken it up
        before, and is waited for.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(HOLD_FILE, key.organization_id, key.hex)
            if not await connection.fetch(_UNREFERRED, [key.organization_id], [key.digest]):
                return False
            await self.storage.delete(key)
        return True
