"""A delegation: for a time, one member decides questions that another could decide, in that one's stead."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, NewType
from uuid import UUID

from domain.kernel import DomainError, NotFound, PrincipalId
from domain.paging import FIRST_PAGE, PageRequest

DelegationId = NewType("DelegationId", UUID)

LONGEST = timedelta(days=92)
"""Whoever is away for longer hands over the role itself."""
MOST_AT_ONCE = 10
"""Delegations of one member's that are not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """Who has named whom, and for how long; the people by their e-mail addresses."""

    delegation_id: DelegationId
    delegator: str
    delegate: str
    starts_at: datetime
    ends_at: datetime
    reason: str
    given_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None

    def stands_at(self, now: datetime) -> bool:
        """Whether the delegate may decide in the delegator's stead then."""
        return self.revoked_at is None and self.starts_at <= now < self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelegation:
    """A delegation as it is given."""

    delegation_id: DelegationId
    delegator_id: PrincipalId
    delegate: str
    """An e-mail address."""
    starts_at: datetime
    ends_at: datetime
    reason: str
    given_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationQuery:
    """Which delegations; `over`: also those whose time is over, or that were revoked."""

    page: PageRequest = FIRST_PAGE
    over: bool = False


class DelegationNotFound(NotFound):
    """No such delegation that this principal may see."""

    code: ClassVar[str] = "delegation_not_found"

    def __init__(self, delegation_id: DelegationId) -> None:
        super().__init__(f"delegation_id: no delegation {delegation_id}")
        self.delegation_id = delegation_id


class DelegationOver(DomainError):
    """There is nothing left of it to be revoked."""

    code: ClassVar[str] = "delegation_over"

    def __init__(self) -> None:
        super().__init__("delegation_id: this delegation is over already")


class DelegateNotFound(NotFound):
    """No such person in the organization, or oneself."""

    code: ClassVar[str] = "delegate_not_found"

    def __init__(self) -> None:
        super().__init__("delegate: there is no such other member")


class InvalidPeriod(DomainError):
    """A time that is over, that ends before it begins, or that is longer than anybody is away."""

    code: ClassVar[str] = "invalid_period"


class TooManyDelegations(DomainError):
    """As many as can be kept in view."""

    code: ClassVar[str] = "too_many_delegations"

    def __init__(self) -> None:
        super().__init__(f"you have named {MOST_AT_ONCE} already: revoke one that is no longer needed")
