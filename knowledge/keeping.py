"""Files are put where they are kept before the transaction opens that refers to them: it waits for no bucket."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection

from domain.kernel import OrganizationId
from knowledge.model import FileKey
from knowledge.ports import Storage

Keep = Callable[[OrganizationId, Collection[bytes]], Awaitable[None]]
"""Keeps these contents; of what no document has in the end nothing is left after an hour (server.worker.files)."""

_AT_ONCE = 1_000_000
"""Bytes that are hashed on the spot; more would keep others waiting."""


async def in_the_transaction(organization_id: OrganizationId, contents: Collection[bytes]) -> None:
    """Nothing is kept before: files are in the database, with the rows that refer to them."""
    del organization_id, contents


def keeping_in(storage: Storage | None) -> Keep:
    """Keeps files there; None: in the database.

    Raises  an Unavailable where the place does not answer as it should.
    """
    if storage is None:
        return in_the_transaction

    async def keep(organization_id: OrganizationId, contents: Collection[bytes]) -> None:
        for content in contents:
            key = FileKey(organization_id=organization_id, digest=await digest_of(content))
            if not await storage.has(key):
                await storage.put(key, content)

    return keep


async def digest_of(content: bytes) -> bytes:
    """SHA-256 of a file's content."""
    if len(content) <= _AT_ONCE:
        return hashlib.sha256(content).digest()
    return (await asyncio.to_thread(hashlib.sha256, content)).digest()
