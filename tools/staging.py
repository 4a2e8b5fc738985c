"""Bytes that a door holds for the length of one call: arguments name them by digest, since arguments are recorded."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_AT_ONCE = 1_000_000
"""Bytes that are hashed on the spot; more would keep other callers waiting."""


@dataclass(slots=True)
class _Held:
    content: bytes
    holders: int = 0


class Staging:
    """One process's uploads under way, by the SHA-256 of their content."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    @asynccontextmanager
    async def holding(self, content: bytes) -> AsyncGenerator[str]:
        """The digest by which the bytes are found for the length of the block; the last holder lets go of them."""
        digest = await _digest(content)
        held = self._held.setdefault(digest, _Held(content))
        held.holders += 1
        try:
            yield digest
        finally:
            held.holders -= 1
            if held.holders == 0:
                del self._held[digest]

    def find(self, digest: str) -> bytes | None:
        """The bytes of that digest; None: nobody holds them any more."""
        held = self._held.get(digest)
        return None if held is None else held.content


async def _digest(content: bytes) -> str:
    if len(content) <= _AT_ONCE:
        return hashlib.sha256(content).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
