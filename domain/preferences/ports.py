"""What preferences need of the database: those of the transaction's own principal, and of nobody else."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from domain.kernel import CallId
from domain.preferences.model import Preference, Statement


class PreferenceRepository(Protocol):
    """The preferences of the transaction's principal in the transaction's organization."""

    async def all(self) -> Sequence[Preference]:
        """In the order in which they were first said."""
        ...

    async def hold(self) -> None:
        """Until the transaction ends, no other call changes how many there are."""
        ...

    async def add(self, preference_id: UUID, statement: Statement) -> Preference: ...

    async def change(self, preference_id: UUID, statement: Statement) -> CallId | None:
        """Other words in place of those that were there; gives the call that those came with. None: no such one."""
        ...

    async def delete(self, preference_id: UUID) -> CallId | None:
        """Gives the call that its words came with; None: there is no such one."""
        ...

    async def erase(self, call_id: CallId) -> None:
        """Take the words out of what the record keeps of that call beside its events."""
        ...
