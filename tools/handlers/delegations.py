"""Who decides in whose stead: named and revoked by a person's own hand; step 7 of the path of a call."""

from datetime import date, datetime
from uuid import UUID

from domain.delegations.model import DelegationId, InvalidPeriod, NewDelegation
from domain.moments import beginning_of, end_of
from tools.handlers.arguments import Arguments
from tools.handlers.moments import Moment
from tools.outcomes import Json
from tools.views.delegations import delegation_json
from tools.work import CallContext, Handler


class DelegationGive(Arguments):
    delegate: str
    starts_at: Moment | None = None
    ends_at: Moment
    reason: str = ""


class DelegationRevoke(Arguments):
    delegation_id: UUID


async def delegation_give(arguments: DelegationGive, context: CallContext) -> Json:
    """Effect  writes delegations.

    Raises  InvalidPeriod, TooManyDelegations, DelegateNotFound.
    """
    starts_at, ends_at = _period(arguments.starts_at, arguments.ends_at, context.now)
    asked = NewDelegation(
        delegation_id=DelegationId(context.new_id()),
        delegator_id=context.principal.principal_id,
        delegate=arguments.delegate.strip(),
        starts_at=starts_at,
        ends_at=ends_at,
        reason=arguments.reason.strip(),
        given_at=context.now,
    )
    return {"delegation": delegation_json(await context.work.delegations.give(asked), context.now)}


async def delegation_revoke(arguments: DelegationRevoke, context: CallContext) -> Json:
    """Effect  writes delegations.

    Raises  DelegationNotFound, DelegationOver.
    """
    revoked = await context.work.delegations.revoke(
        DelegationId(arguments.delegation_id), by=context.principal.principal_id, now=context.now
    )
    return {"delegation": delegation_json(revoked, context.now)}


def _period(starts_at: date | datetime | None, ends_at: date | datetime, now: datetime) -> tuple[datetime, datetime]:
    """From when to when; what has begun already begins now."""
    try:
        return now if starts_at is None else max(beginning_of(starts_at), now), end_of(ends_at)
    except OverflowError:
        raise InvalidPeriod("starts_at, ends_at: there is no such day") from None


DELEGATION_GIVE = Handler(arguments=DelegationGive, work=delegation_give)
DELEGATION_REVOKE = Handler(arguments=DelegationRevoke, work=delegation_revoke)
