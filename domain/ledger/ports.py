"""What the ledger needs from outside: a key to sign heads with, and the database to read from."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from domain.kernel import CallId
from domain.ledger.model import Head, Key, Rotation, SealedEvent
from domain.ledger.tree import Node


class Signer(Protocol):
    """A key that signs heads (Ed25519)."""

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key, as hex: whoever knows it from elsewhere need not trust a copy of the key."""
        ...

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


class LedgerRepository(Protocol):
    """The ledger of the transaction's organization, as far as its principal may read it."""

    async def head(self) -> Head | None:
        """The newest."""
        ...

    async def heads(self, above: int, upto: int) -> Sequence[Head]:
        """Those of sizes above the one and up to the other, smallest first."""
        ...

    async def keys(self) -> Sequence[Key]: ...

    async def rotations(self, above: int, upto: int) -> Sequence[Rotation]:
        """Those after heads of sizes above the one and up to the other, in their order."""
        ...

    async def events(self, start: int, end: int, *, payloads: bool) -> Sequence[SealedEvent]:
        """Rows from the first index on, before the second, as many as fit a page."""
        ...

    async def is_erased_beyond(self, size: int) -> bool:
        """Whether the first `size` rows may have lost payloads to a call that is none of them."""
        ...

    async def of_call(self, call_id: CallId) -> Sequence[tuple[UUID, int | None, bytes | None, str]]:
        """A call's events, oldest first: id, index, leaf (None: not sealed yet) and text."""
        ...

    async def hashes(self, nodes: Sequence[Node]) -> Mapping[Node, bytes]:
        """Those of the nodes that there are."""
        ...
