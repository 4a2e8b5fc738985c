"""Bytes that a door holds for the length of one call: arguments name them by digest, since arguments are recorded.

A digest is no secret, so it opens nothing to anybody else: bytes are found only by whoever brought them.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from domain.kernel import OrganizationId, Principal, PrincipalId
from knowledge.keeping import digest_of


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
        digest = (await digest_of(content)).hex()
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
