"""What delegations need of the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.delegations.model import Delegation, DelegationId, DelegationQuery, NewDelegation
from domain.kernel import PrincipalId


class DelegationRepository(Protocol):
    """What the transaction's principal gave or was given; all, for who reads the organization's record."""

    async def add(self, delegation: NewDelegation) -> bool:
        """False: there is no such delegate."""
        ...

    async def count(self, delegator: PrincipalId, now: datetime) -> int:
        """How many of that member's are not over. Whoever gives one waits here for others of the same member's."""
        ...

    async def revoke(self, delegation_id: DelegationId, by: PrincipalId, now: datetime) -> bool:
        """False: it is over already, or there is none."""
        ...

    async def get(self, delegation_id: DelegationId) -> Delegation | None: ...

    async def list(self, query: DelegationQuery, now: datetime) -> Sequence[Delegation]:
        """Newest first; one more than the page holds where there are more."""
        ...
