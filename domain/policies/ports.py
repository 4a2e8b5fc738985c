"""What the organization's own policies need of the database."""

from collections.abc import Sequence
from typing import Protocol

from domain.policies.model import NewPolicyChange, OwnPolicies, PolicyChange, PolicyChangeQuery


class PolicyRepository(Protocol):
    """The policies of the organization in whose context the transaction is."""

    async def lock(self) -> None:
        """Let nobody else change a policy of the organization until this transaction ends."""
        ...

    async def in_force(self) -> Sequence[PolicyChange]:
        """For each policy in force the change that put it there, by id; nothing for a CLIENT."""
        ...

    async def at(self, digest: bytes) -> OwnPolicies | None:
        """The set that has this digest and was in force once; None: there was none."""
        ...

    async def history(self, query: PolicyChangeQuery) -> Sequence[PolicyChange]:
        """Newest first; one more than the page holds where there are more; nothing for a CLIENT."""
        ...

    async def add(self, change: NewPolicyChange) -> PolicyChange: ...
