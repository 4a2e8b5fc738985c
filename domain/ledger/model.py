"""What sealing makes: leaves in a tree's order, nodes above them, and heads that are signed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from domain.activity.model import Payload
from domain.kernel import EventId, OrganizationId
from domain.ledger.tree import Frontier, Node

CHAIN_START = bytes(32)

Json = dict[str, object]


def chained(chain: bytes, leaf: bytes) -> bytes:
    """The chain after one more leaf: it names the first row that differs, where a root says only that one does."""
    return hashlib.sha256(b"\x02" + chain + leaf).digest()


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def moment(time: datetime) -> str:
    """RFC 3339, UTC, microseconds: the text that was signed."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsealedEvent:
    """An event that has no leaf yet, as far as the sealer sees it."""

    organization_id: OrganizationId
    event_id: EventId
    leaf: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """An event's place in its organization's tree."""

    index: int
    event_id: EventId
    hash: bytes
    chain: bytes


@dataclass(slots=True, kw_only=True)
class Edge:
    """Where an organization's ledger ends, and what is added to it there."""

    frontier: Frontier
    chain: bytes = CHAIN_START
    key_id: str | None = None
    """Of the newest head; None: there is none."""

    def append(self, event: UnsealedEvent) -> tuple[Leaf, list[tuple[Node, bytes]]]:
        """The event's leaf, and the nodes that it completes."""
        index = self.frontier.size
        nodes = self.frontier.append(event.leaf)
        self.chain = chained(self.chain, event.leaf)
        return Leaf(index=index, event_id=event.event_id, hash=event.leaf, chain=self.chain), list(nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a head says: the first `size` events of the organization are those under `root`."""

    organization_id: OrganizationId
    size: int
    root: bytes
    chain: bytes
    sealed_at: datetime
    key_id: str

    def members(self) -> Json:
        """As exports, proofs and the routes show it, without the signature."""
        return {
            "chain": self.chain.hex(),
            "key_id": self.key_id,
            "organization_id": str(self.organization_id),
            "root": self.root.hex(),
            "sealed_at": moment(self.sealed_at),
            "size": self.size,
            "type": "head",
            "version": 1,
        }

    def signed_bytes(self) -> bytes:
        """What the signature is over: its members as canonical JSON, under a name that nothing else is signed by."""
        return b"glow ledger head\n" + canonical(self.members())


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A statement with its signature (Ed25519)."""

    statement: Statement
    signature: bytes

    def members(self) -> Json:
        """As exports, proofs and the routes show it."""
        return {**self.statement.members(), "signature": self.signature.hex()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The public half of a key that has signed heads."""

    key_id: str
    public_key: bytes
    from_size: int
    """Of the first head that it signed."""
    introduced_at: datetime

    def members(self) -> Json:
        """As exports and proofs show it."""
        return {
            "from_size": self.from_size,
            "introduced_at": moment(self.introduced_at),
            "key_id": self.key_id,
            "public_key": self.public_key.hex(),
            "type": "key",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """What a rotation says: heads above `after_size` may be signed by the one key, says the other."""

    organization_id: OrganizationId
    after_size: int
    """Of the newest head, which the key before has signed."""
    from_key_id: str
    from_public_key: bytes
    to_key_id: str
    to_public_key: bytes
    rotated_at: datetime

    def members(self) -> Json:
        """As exports and proofs show it, without the signatures."""
        return {
            "after_size": self.after_size,
            "from_key_id": self.from_key_id,
            "from_public_key": self.from_public_key.hex(),
            "organization_id": str(self.organization_id),
            "rotated_at": moment(self.rotated_at),
            "to_key_id": self.to_key_id,
            "to_public_key": self.to_public_key.hex(),
            "type": "rotation",
            "version": 1,
        }

    def signed_bytes(self) -> bytes:
        """What both signatures are over."""
        return b"glow ledger rotation\n" + canonical(self.members())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A succession signed by the key before, and by the one that follows it."""

    succession: Succession
    from_signature: bytes
    to_signature: bytes

    def members(self) -> Json:
        """As exports and proofs show it."""
        signatures = {"from_signature": self.from_signature.hex(), "to_signature": self.to_signature.hex()}
        return {**self.succession.members(), **signatures}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEvent:
    """One row of an export."""

    index: int
    leaf: bytes
    chain: bytes
    text: str | None
    """The event as its leaf has it; None: it is not in the record any more."""
    payload: Payload | None
    """None: it was erased, there was none, or it was not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows of an export, in their order."""

    events: Sequence[SealedEvent]
    heads: Sequence[Head]
    """Whose last row is among them."""
    rotations: Sequence[Rotation]
    """After one of those heads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedEvent:
    """One event of a call, with what proves that the head covers it."""

    index: int
    leaf: bytes
    text: str
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProof:
    """A call's events under one head."""

    head: Head | None
    """None: nothing is sealed yet."""
    key: Key | None
    rotations: tuple[Rotation, ...]
    """By which that key is vouched for by those before it."""
    events: tuple[ProvedEvent, ...]
    unsealed: int
    """Events of the call that are not sealed yet."""
