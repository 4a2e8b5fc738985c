"""Names who decides in one's stead, takes that back, and says who stands in for whom."""

from dataclasses import dataclass
from datetime import datetime

from domain.delegations.model import (
    LONGEST,
    MOST_AT_ONCE,
    DelegateNotFound,
    Delegation,
    DelegationId,
    DelegationNotFound,
    DelegationOver,
    DelegationQuery,
    InvalidPeriod,
    NewDelegation,
    TooManyDelegations,
)
from domain.delegations.ports import DelegationRepository
from domain.kernel import PrincipalId
from domain.paging import Page, Position, page_of


@dataclass(frozen=True, slots=True)
class DelegationService:
    """Delegations of one organization; what one lets the delegate decide is policy's to say, at each decision."""

    delegations: DelegationRepository

    async def give(self, asked: NewDelegation) -> Delegation:
        """A new delegation; of a time that has begun already, what is left.

        Effect  writes delegations.
        Raises  InvalidPeriod, TooManyDelegations, DelegateNotFound.
        """
        _check(asked)
        if await self.delegations.count(asked.delegator_id, asked.given_at) >= MOST_AT_ONCE:
            raise TooManyDelegations
        if not await self.delegations.add(asked):
            raise DelegateNotFound
        return await self.get(asked.delegation_id)

    async def revoke(self, delegation_id: DelegationId, *, by: PrincipalId, now: datetime) -> Delegation:
        """The delegation, over from now on; what was decided under it stands.

        Effect  writes delegations.
        Raises  DelegationNotFound, DelegationOver.
        """
        revoked = await self.delegations.revoke(delegation_id, by, now)
        delegation = await self.get(delegation_id)
        if not revoked:
            raise DelegationOver
        return delegation

    async def get(self, delegation_id: DelegationId) -> Delegation:
        """One delegation.

        Raises  DelegationNotFound.
        """
        found = await self.delegations.get(delegation_id)
        if found is None:
            raise DelegationNotFound(delegation_id)
        return found

    async def list(self, query: DelegationQuery, now: datetime) -> Page[Delegation]:
        """A page of delegations, newest first."""
        found = await self.delegations.list(query, now)
        return page_of(found, query.page, lambda each: Position(time=each.given_at, id=each.delegation_id))


def _check(asked: NewDelegation) -> None:
    if asked.ends_at <= asked.given_at:
        raise InvalidPeriod("ends_at: this time is over already")
    if asked.ends_at <= asked.starts_at:
        raise InvalidPeriod("ends_at: not after starts_at")
    if asked.ends_at - asked.starts_at > LONGEST or asked.starts_at - asked.given_at > LONGEST:
        raise InvalidPeriod(f"ends_at: a delegation begins and ends within {LONGEST.days} days each")
