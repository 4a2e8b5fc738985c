"""Reads the ledger back: heads, proofs, and the rows of an export."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from domain.activity.service import CallNotFound
from domain.kernel import CallId, DomainError
from domain.ledger.model import CallProof, Head, Key, Page, ProvedEvent, Rotation
from domain.ledger.ports import LedgerRepository
from domain.ledger.tree import Range, consistency_ranges, hashes_of, inclusion_ranges, nodes_of


class LargerThanSealed(DomainError):
    """A tree is asked about that there is not yet."""

    code: ClassVar[str] = "not_sealed"

    def __init__(self, size: int) -> None:
        super().__init__(f"Only {size} events are sealed so far.")
        self.size = size


class NotInThisFormat(DomainError):
    """An export is asked for what its format does not hold."""

    code: ClassVar[str] = "not_in_this_format"


class LedgerDamaged(DomainError):
    """What a proof is made of is not there any more: somebody removed it."""

    code: ClassVar[str] = "ledger_damaged"

    def __init__(self) -> None:
        super().__init__(
            "The ledger has lost what this proof is made of; tell whoever runs this hub, and keep your heads."
        )


@dataclass(frozen=True, slots=True)
class LedgerService:
    """The organization's ledger: heads and proofs for all its members, rows for those who read its record."""

    ledger: LedgerRepository

    async def head(self) -> Head | None:
        """The newest; None: nothing is sealed yet."""
        return await self.ledger.head()

    async def head_to_export(self, *, for_siem: bool, payloads: bool, since: int | None) -> Head | None:
        """The head over what is handed out, from row `since` on; None: nothing is sealed yet.

        Raises  NotInThisFormat: payloads are none of a SIEM's business, and a part of a ledger cannot be verified.
                LargerThanSealed.
        """
        if for_siem and payloads:
            raise NotInThisFormat("payloads: they are not in an export for a SIEM")
        if not for_siem and since is not None:
            raise NotInThisFormat("since: an export to be verified begins at its first row")
        head = await self.ledger.head()
        size = 0 if head is None else head.statement.size
        if since is not None and since > size:
            raise LargerThanSealed(size)
        return head

    async def consistency(self, old: int, new: int) -> Sequence[bytes]:
        """What proves that the first `old` events are still the beginning of the first `new`.

        Raises  LargerThanSealed, LedgerDamaged.
        """
        if old > new:
            raise LargerThanSealed(new)
        return await self._hashes(consistency_ranges(old, new))

    async def proof(self, call_id: CallId) -> CallProof:
        """The call's events that this principal may see, each proved to be under the newest head.

        Raises  CallNotFound, LedgerDamaged.
        """
        found = await self.ledger.of_call(call_id)
        if not found:
            raise CallNotFound(call_id)
        head = await self.ledger.head()
        size = 0 if head is None else head.statement.size
        proved = [
            ProvedEvent(
                index=index, leaf=leaf, text=text, path=tuple(await self._hashes(inclusion_ranges(index, size)))
            )
            for _, index, leaf, text in found
            if index is not None and leaf is not None and index < size
        ]
        key, rotations = await self.signer_of(head)
        return CallProof(
            head=head,
            key=key,
            rotations=tuple(rotations),
            events=tuple(proved),
            unsealed=len(found) - len(proved),
        )

    async def signer_of(self, head: Head | None) -> tuple[Key | None, Sequence[Rotation]]:
        """The key that a head is signed by, and the rotations up to it, by which those before vouch for it."""
        if head is None:
            return None, ()
        said = head.statement
        key = next((key for key in await self.ledger.keys() if key.key_id == said.key_id), None)
        return key, await self.ledger.rotations(0, said.size)

    async def keys(self) -> Sequence[Key]:
        """Those that have signed heads."""
        return await self.ledger.keys()

    async def rows(self, start: int, end: int, *, payloads: bool) -> Page:
        """A page of rows from `start` on, before `end`, with the heads that end within it, and what follows on them."""
        events = await self.ledger.events(start, end, payloads=payloads)
        upto = events[-1].index + 1 if events else end
        heads, rotations = await self.ledger.heads(start, upto), await self.ledger.rotations(start, upto)
        return Page(events=events, heads=heads, rotations=rotations)

    async def is_erased_beyond(self, size: int) -> bool:
        """Whether the first `size` rows may have lost payloads to a call that is none of them, so that nothing in an
        export of these would say that they were erased."""
        return await self.ledger.is_erased_beyond(size)

    async def _hashes(self, ranges: Sequence[Range]) -> Sequence[bytes]:
        try:
            return hashes_of(ranges, await self.ledger.hashes(nodes_of(ranges)))
        except KeyError as lost:
            raise LedgerDamaged from lost
