"""Links what an issuer calls somebody to a member, and takes links away; a sign-in (server/auth.py) goes by them."""

from dataclasses import dataclass
from datetime import datetime

from domain.identities.model import Holder, Identity, IdentityNotLinked, IdentityTaken, NoSuchMember
from domain.identities.ports import IdentityRepository
from domain.kernel import PrincipalId


@dataclass(frozen=True, slots=True)
class IdentityService:
    """The identities of one organization; what another links is neither seen nor touched."""

    identities: IdentityRepository

    async def link(self, identity: Identity, email: str, *, by: PrincipalId, now: datetime) -> Holder:
        """From now on a token of this identity is that member here; linking it again to the same changes nothing.

        Raises  NoSuchMember. IdentityTaken: it stands for another member.
        """
        member = await self.identities.member(email)
        if member is None:
            raise NoSuchMember(email)
        if not await self.identities.link(identity, member.principal_id, by, now):
            holder = await self.identities.holder(identity)
            if holder is not None and holder != member:
                raise IdentityTaken(holder.email)
        return member

    async def unlink(self, identity: Identity) -> Holder:
        """From now on a token of this identity is nobody here; gives who it was.

        Raises  IdentityNotLinked.
        """
        holder = await self.identities.holder(identity)
        if holder is None:
            raise IdentityNotLinked
        await self.identities.unlink(identity)
        return holder
