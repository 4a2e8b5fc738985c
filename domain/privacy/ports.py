"""What handing out and erasing a person's data need of the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.approvals.model import Approval
from domain.kernel import CallId, PrincipalId
from domain.privacy.model import Batch, Erasure, ErasureId, Going, PartPage, Person


class PrivacyRepository(Protocol):
    """The people of the transaction's organization."""

    async def person(self, email: str) -> Person | None: ...

    async def by_id(self, user_id: PrincipalId) -> Person | None: ...

    async def rows(self, call_id: CallId, part: str, behind: str | None) -> PartPage:
        """A page of what that call, which is recorded and its principal's own, has been allowed to hand out."""
        ...

    async def ask(
        self, erasure_id: ErasureId, person: PrincipalId, by: PrincipalId, call_id: CallId, now: datetime
    ) -> ErasureId:
        """Begin an erasure; one that is under way goes on, and one that is done is done again: its id is given."""
        ...

    async def list(self) -> Sequence[Erasure]:
        """Newest first."""
        ...

    async def get(self, erasure_id: ErasureId) -> Erasure | None: ...

    async def step(self, erasure_id: ErasureId, most: int, now: datetime) -> Batch:
        """Do one batch, of at most so many rows."""
        ...

    async def going(self, erasure_id: ErasureId) -> Sequence[tuple[Going, UUID]]:
        """What of the person's is under way."""
        ...

    async def cancel_approvals(self, erasure_id: ErasureId, why: str, now: datetime) -> Sequence[Approval]:
        """Cancel questions that the person asked or that name them, and give them; some at a time."""
        ...
