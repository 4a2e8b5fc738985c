"""The record of calls, as an agent's run reads it that another process has left."""

from collections.abc import Awaitable
from typing import Protocol

import orjson

from domain.activity.model import ActivityItem
from domain.activity.service import CallNotFound
from domain.kernel import ApprovalId, CallId, Clock, Principal
from server.database.unit_of_work import PostgresTransactions, Session
from tools.outcomes import OUTCOME_UNKNOWN, Allow, ApprovalAsked, CallError, CallOutcome, Deny, NeedsApproval, Verdict

UNKNOWN = CallError(
    code=OUTCOME_UNKNOWN,
    message="The server stopped while this call was under way, and whether it took effect is not known. Do not repeat "
    "it; tell the user, who can look.",
)


class Settle(Protocol):
    """Finds out what became of a call that acts outside; None: nothing is left to be found out. The gate's."""

    def __call__(
        self, principal: Principal, call_id: CallId, *, ending: bool = False
    ) -> Awaitable[CallOutcome | None]: ...


class PostgresLedger:
    """Satisfies the agent's Ledger."""

    def __init__(self, transactions: PostgresTransactions, settle: Settle, clock: Clock) -> None:
        self._transactions = transactions
        self._settle = settle
        self._clock = clock

    async def made(self, call_id: CallId, principal: Principal, *, ending: bool = False) -> CallOutcome | None:
        """How the call ended, as the record has it or the outside tells; None: it was never made.

        `ending`: what was not made outside is not made any more.
        """
        found = await self._recorded(call_id, principal)
        if found is None or found.error is not UNKNOWN:
            return found
        # The record has that it was allowed, and not how it ended: whoever it was to act on is asked.
        return await self._settle(principal, call_id, ending=ending) or await self._recorded(call_id, principal)

    async def _recorded(self, call_id: CallId, principal: Principal) -> CallOutcome | None:
        async with self._transactions.session(principal.organization_id, principal.principal_id) as session:
            try:
                item = (await session.work.activity.call(call_id)).item
            except CallNotFound:
                return None
            approval = None if item.approval_id is None else await self._approval(session, item.approval_id)
        return _outcome(item, approval)

    async def _approval(self, session: Session, approval_id: ApprovalId) -> ApprovalAsked:
        asked = (await session.work.approvals.get(approval_id, self._clock())).approval
        return ApprovalAsked(
            approval_id=asked.approval_id,
            needs_role=asked.needs_role,
            four_eyes=asked.four_eyes,
            expires_at=asked.expires_at,
        )


def _outcome(item: ActivityItem, approval: ApprovalAsked | None) -> CallOutcome:
    """A call that left a question is told as waiting, whatever has become of it: its run is put down and goes on."""
    if approval is not None:
        return CallOutcome(
            call_id=item.call_id,
            tool=item.tool,
            outcome="waiting",
            verdict=NeedsApproval(reasons=item.reasons, needs_role=approval.needs_role, four_eyes=approval.four_eyes),
            approval=approval,
        )
    error = None if item.error_code is None else CallError(code=item.error_code, message=_words(item.error_code))
    return CallOutcome(
        call_id=item.call_id,
        tool=item.tool,
        outcome=item.outcome or "failed",
        verdict=_verdict(item),
        result=None if item.result is None else orjson.loads(item.result),
        error=UNKNOWN if item.outcome is None else error,
        duration_ms=item.duration_ms or 0.0,
    )


def _words(code: str) -> str:
    """The record keeps an error's code and not its words."""
    return f"The call ended with {code} before another process went on with this run."


def _verdict(item: ActivityItem) -> Verdict | None:
    match item.decision:
        case "allow":
            return Allow(reasons=item.reasons)
        case "deny":
            return Deny(reasons=item.reasons)
        case _:
            return None
