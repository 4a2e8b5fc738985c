"""How calls stand that wait for a person, looked at until they are settled, at whatever door that happens."""

import asyncio
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import timedelta

import orjson

from domain.activity.model import ActivityItem
from domain.activity.service import CallNotFound
from domain.approvals.model import Approval
from domain.kernel import CallId, OrganizationId, Outcome, Principal, PrincipalId
from server.database.unit_of_work import PostgresTransactions
from tools.outcomes import ApprovalAsked, CallError, CallOutcome, NeedsApproval
from tools.views.settled import why_settled

LOOK_EVERY_S = 0.5
"""How often a call that waits is looked at."""
HELD = timedelta(seconds=50)
"""For how long: whoever holds a request open gives up after a minute."""
MOST_FOLLOWED = 64
"""Calls that are followed for one principal at once in this process; of more it is told where they stand."""

Watcher = tuple[OrganizationId, PrincipalId]


class Settlements:
    """Reads as whoever asked for a call, and holds no connection between two looks."""

    def __init__(self, transactions: PostgresTransactions, within: timedelta = HELD) -> None:
        self._transactions = transactions
        self._within = within
        self._followed: Counter[Watcher] = Counter()
        self._ending = asyncio.Event()

    async def look(self, principal: Principal, call_id: CallId) -> CallOutcome:
        """How the call stands: `waiting` with its question, or how it ended.

        Raises  CallNotFound, ApprovalNotFound: no such call that had to be asked for and that this principal may see.
                Unavailable: no database.
        """
        async with self._transactions.session(principal.organization_id, principal.principal_id) as session:
            item = (await session.work.activity.call(call_id)).item
            if item.approval_id is None:
                raise CallNotFound(call_id)
            asked = await session.work.approvals.find(item.approval_id)
        return _standing(item, asked.approval)

    async def settled(self, principal: Principal, call_id: CallId) -> CallOutcome:
        """The same once the call is settled, or time is over, or when this process is to stop.

        Raises  As `look` does.
        """
        with self._counted(principal) as may_follow:
            until = asyncio.get_running_loop().time() + self._within.total_seconds()
            stands = await self.look(principal, call_id)
            while may_follow and stands.outcome == "waiting" and self._goes_on(until):
                await self._pause(until)
                stands = await self.look(principal, call_id)
        return stands

    def end_all(self) -> None:
        """Whoever follows a call is told where it stands; so is who asks from now on."""
        self._ending.set()

    def _goes_on(self, until: float) -> bool:
        return not self._ending.is_set() and asyncio.get_running_loop().time() < until

    async def _pause(self, until: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(until, asyncio.get_running_loop().time() + LOOK_EVERY_S)):
                await self._ending.wait()

    @contextmanager
    def _counted(self, principal: Principal) -> Generator[bool]:
        """Whether the principal follows no more calls than it may."""
        watcher = (principal.organization_id, principal.principal_id)
        self._followed[watcher] += 1
        try:
            yield self._followed[watcher] <= MOST_FOLLOWED
        finally:
            self._followed[watcher] -= 1
            if not self._followed[watcher]:
                del self._followed[watcher]


def _standing(item: ActivityItem, asked: Approval) -> CallOutcome:
    """By the record alone: one past its time may be being approved this moment, until a worker has written it down."""
    outcome: Outcome = item.outcome or "waiting"
    verdict = NeedsApproval(reasons=item.reasons, needs_role=asked.needs_role, four_eyes=asked.four_eyes)
    if outcome == "waiting":
        return CallOutcome(
            call_id=item.call_id, tool=item.tool, outcome=outcome, verdict=verdict, approval=_question(asked)
        )
    return CallOutcome(
        call_id=item.call_id,
        tool=item.tool,
        outcome=outcome,
        verdict=verdict,
        result=None if item.result is None else orjson.loads(item.result),
        error=_error(outcome, item.error_code, asked.comment),
        duration_ms=item.duration_ms or 0.0,
    )


def _question(asked: Approval) -> ApprovalAsked:
    return ApprovalAsked(
        approval_id=asked.approval_id,
        needs_role=asked.needs_role,
        four_eyes=asked.four_eyes,
        expires_at=asked.expires_at,
    )


def _error(outcome: Outcome, code: str | None, comment: str | None) -> CallError | None:
    if outcome == "done":
        return None
    code = code or outcome
    return CallError(code=code, message=why_settled(outcome, code, comment))
