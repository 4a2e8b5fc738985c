"""What identities need of the database, all of it within one organization."""

from datetime import datetime
from typing import Protocol

from domain.identities.model import Holder, Identity
from domain.kernel import PrincipalId


class IdentityRepository(Protocol):
    """The identities of the transaction's organization."""

    async def member(self, email: str) -> Holder | None:
        """The member with that address, whatever its case."""
        ...

    async def holder(self, identity: Identity) -> Holder | None:
        """Whom the identity stands for."""
        ...

    async def link(self, identity: Identity, member: PrincipalId, by: PrincipalId, now: datetime) -> bool:
        """False: somebody linked it meanwhile."""
        ...

    async def unlink(self, identity: Identity) -> None: ...
