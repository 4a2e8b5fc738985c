"""What verifying finds: how much was checked, and the first row that is not as it was sealed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

FaultCode = Literal[
    "unreadable",
    "place",
    "missing",
    "leaf",
    "chain",
    "payload",
    "organization",
    "root",
    "key",
    "signature",
    "rotation",
    "truncated",
    "unsealed",
    "kept_head",
    "proof",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first thing that does not hold."""

    code: FaultCode
    words: str
    row: int | None = None
    """The first row that is bad, from 0; None: it is about no row."""
    last_row: int | None = None
    """Where nothing tells which of several rows it is: the last of them."""
    line: int | None = None
    """Of the file, from 1."""


@dataclass(slots=True, kw_only=True)
class KeyChange:
    """Heads are signed by another key than those before."""

    from_key_id: str
    to_key_id: str
    size: int
    """Of the first head that is."""
    endorsed: bool
    """Whether the key before has signed that this one follows it."""
    times: int = 1
    """How often the one has followed the other so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedRow:
    """A row that has lost something, and the row of the erasure's batch that names it."""

    row: int
    by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRows:
    """Rows that have lost what their calls carried or gave, by what took it; each in its order."""

    by_batches: Sequence[ErasedRow] = ()
    own_words: Sequence[int] = ()
    """Of a preference that the same person has replaced or forgotten."""
    unnamed: Sequence[int] = ()
    """Of erasures recorded before their batches named rows: no more than these took."""
    last_unnaming: int | None = None
    """The row of the last batch that names none."""

    def __len__(self) -> int:
        return len(self.by_batches) + len(self.own_words) + len(self.unnamed)


@dataclass(slots=True, kw_only=True)
class Report:
    """How far a file holds."""

    organization_id: str | None = None
    """Whose it is."""
    call_id: str | None = None
    """Of a proof."""
    rows: int = 0
    """That were read and follow one another."""
    heads: int = 0
    payloads: int = 0
    """That are what their digests say."""
    lost: LostRows = LostRows()
    """Rows whose payload is not there any more, or not all of it."""
    left_out: int | None = None
    """Rows that carried or gave something, in an export that says it was made without. None: it says the contrary."""
    unsealed: int = 0
    """Events of a proof's call that are not sealed yet, as whoever made the proof says."""
    after_kept: int = 0
    """Rows of a proof that no kept head covers: that they were recorded, the key alone says."""
    key_ids: set[str] = field(default_factory=set[str])
    """Whose signatures were checked."""
    signatures: int = 0
    """Of heads, that were checked: of very many not each."""
    key_changes: list[KeyChange] = field(default_factory=list[KeyChange])
    """In their order; the same two keys once."""
    fault: Fault | None = None


class Bad(Exception):
    """Ends the verifying at its fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.words)
        self.fault = fault
