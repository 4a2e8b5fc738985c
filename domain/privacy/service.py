"""Says whose data a call hands out or erases, and carries an erasure out a batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.approvals.model import Approval
from domain.kernel import CallId, NewId, PrincipalId
from domain.privacy.model import (
    Batch,
    Erasure,
    ErasureId,
    ErasureNotFound,
    Going,
    NotAPerson,
    PartPage,
    Person,
    PersonNotFound,
)
from domain.privacy.ports import PrivacyRepository

ROWS_AT_ONCE = 2000
"""Of a batch: short enough for others not to wait for, long enough for few calls."""
WHY_CANCELLED = "It is of, or about, a member whose data is being erased."


@dataclass(frozen=True, slots=True)
class PrivacyService:
    """Who may is policy's to say, before this is called."""

    privacy: PrivacyRepository

    async def person(self, email: str) -> Person:
        """Raises  PersonNotFound. NotAPerson: a service account."""
        return _a_person(await self.privacy.person(email), email)

    async def oneself(self, principal_id: PrincipalId) -> Person:
        """Raises  PersonNotFound. NotAPerson: a service account."""
        return _a_person(await self.privacy.by_id(principal_id), str(principal_id))

    async def rows(self, call_id: CallId, part: str, behind: str | None) -> PartPage:
        """A page of one part of what that call hands out; nothing where the record has no such call of today."""
        return await self.privacy.rows(call_id, part, behind)

    async def erase(self, email: str, *, by: PrincipalId, call_id: CallId, now: datetime, new_id: NewId) -> Erasure:
        """Have the person erased. Asked again while that is going, it is the same; afterwards all of it is done anew.

        Effect  writes erasures.
        Raises  PersonNotFound, NotAPerson.
        """
        person = await self.person(email)
        return await self.get(await self.privacy.ask(ErasureId(new_id()), person.user_id, by, call_id, now))

    async def list(self) -> Sequence[Erasure]:
        """The organization's, newest first, at most 1000."""
        return await self.privacy.list()

    async def get(self, erasure_id: ErasureId) -> Erasure:
        """Raises  ErasureNotFound."""
        found = await self.privacy.get(erasure_id)
        if found is None:
            raise ErasureNotFound(erasure_id)
        return found

    async def step(self, erasure_id: ErasureId, now: datetime) -> Batch:
        """Do one batch. Of an erasure that is done, what was recorded of the person since.

        Effect  removes rows of many tables (docs/privacy.md).
        Raises  ErasureNotFound.
        """
        await self.get(erasure_id)
        return await self.privacy.step(erasure_id, ROWS_AT_ONCE, now)

    async def going(self, erasure_id: ErasureId) -> Sequence[tuple[Going, UUID]]:
        """What of the person's is under way and has to end before anything is removed; some of it at a time."""
        return await self.privacy.going(erasure_id)

    async def cancel_approvals(self, erasure_id: ErasureId, now: datetime) -> Sequence[Approval]:
        """Cancel open questions of the person or about them, and give them, each to be recorded as cancelled."""
        return await self.privacy.cancel_approvals(erasure_id, WHY_CANCELLED, now)


def _a_person(found: Person | None, named: str) -> Person:
    if found is None:
        raise PersonNotFound(named)
    if found.kind != "person":
        raise NotAPerson(named)
    return found
