"""Bytes that a door holds for the length of one call: arguments name them by digest, since arguments are recorded.

A digest is no secret, so it opens nothing to anybody else: bytes are found only by whoever brought them.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from domain.kernel import OrganizationId, Principal, PrincipalId

_AT_ONCE = 1_000_000
"""Bytes that are hashed on the spot; more would keep other callers waiting."""


@dataclass(slots=True)
class _Held:
    content: bytes
    holders: int = 0


_Key = tuple[OrganizationId, PrincipalId, str]


class Staging:
    """One process's uploads under way, by who brings them and the SHA-256 of their content."""

    def __init__(self) -> None:
        self._held: dict[_Key, _Held] = {}

    @asynccontextmanager
    async def holding(self, principal: Principal, content: bytes) -> AsyncGenerator[str]:
        """The digest by which the principal's own call finds the bytes, for the length of the block.

        The last holder lets go of them.
        """
        digest = await _digest(content)
        key = _key(principal, digest)
        held = self._held.setdefault(key, _Held(content))
        held.holders += 1
        try:
            yield digest
        finally:
            held.holders -= 1
            if held.holders == 0:
                del self._held[key]

    def find(self, principal: Principal, digest: str) -> bytes | None:
        """The bytes of that digest; None: this principal holds no such bytes, or not any more."""
        held = self._held.get(_key(principal, digest))
        return None if held is None else held.content


def _key(principal: Principal, digest: str) -> _Key:
    return principal.organization_id, principal.principal_id, digest


async def _digest(content: bytes) -> str:
    if len(content) <= _AT_ONCE:
        return hashlib.sha256(content).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
