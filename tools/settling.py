"""Finds out what became of a call that acts outside, from what the database keeps of it."""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from domain.intents.model import Intent
from domain.kernel import CallId, Clock, Principal
from tools.calls import begin
from tools.judge import Judge
from tools.outcomes import Allow, CallError, CallOutcome
from tools.outward import CHANGED, FORBIDDEN, RUN_ENDED, UNKNOWN, Outward, at_it_for
from tools.ports import Transactions
from tools.record import Judged
from tools.stored_calls import StoredCalls

log = structlog.get_logger()

GIVEN_UP_AFTER = timedelta(hours=1)
"""How long a call is kept whose tool is gone here: a server of another version may still know it, and settle it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """Asks after a call as it was made, or says that nobody can."""

    stored: StoredCalls
    judge: Judge
    transactions: Transactions
    outward: Outward
    clock: Clock

    async def settle(self, principal: Principal, call_id: CallId, *, ending: bool = False) -> CallOutcome | None:
        """How the call ended, recorded now; None: nothing is left to be found out.

        `ending`: the run that made the call ends: what was not made is not made any more.
        Failed with `outcome_unknown` where the outside does not say: then nothing is recorded yet.
        Raises  Unavailable: the database is away or too busy.
        """
        async with self.transactions.begin(principal, "", {}, None, read_only=True) as transaction:
            intent = await transaction.intents.find(call_id)
        if intent is None:
            return None
        call = self.stored.intended(intent)
        if call is None:
            return await self._unreadable(intent)
        same = self.stored.same(call, intent)
        at_it = self._age(intent) < at_it_for(timedelta(seconds=call.timeout_s))
        if not same and at_it:
            return self.outward.unknown(call, None)
        async with begin(self.transactions, call, read_only=True) as transaction:
            judged = self.judge.judge(call, transaction.facts, approved=intent.approval_id is not None)
            over = ending or await transaction.intents.run_over(intent.run_id, intent.task_run_id)
        return await self.outward.settle(call, judged, barred=_barred(judged, same=same, over=over), at_it=at_it)

    async def _unreadable(self, intent: Intent) -> CallOutcome:
        """Of a call that its tool does not take any more, nobody here can be asked."""
        log.error("outside.unreadable_intent", tool=intent.tool, callId=str(intent.call_id))
        unknown = CallOutcome(call_id=intent.call_id, tool=intent.tool, outcome="failed", error=UNKNOWN)
        if self._age(intent) < GIVEN_UP_AFTER:
            return unknown
        return await self.outward.give_up(self.stored.unreadable(intent)) or unknown

    def _age(self, intent: Intent) -> timedelta:
        return self.clock() - intent.begun_at


def _barred(judged: Judged, *, same: bool, over: bool) -> CallError | None:
    """Why a call that was allowed is made no more; None: it may be.

    `same`: it is still the call that was allowed; another is never made in its name. `over`: its run is.
    """
    if not same:
        return CHANGED
    if over:
        return RUN_ENDED
    return None if isinstance(judged.verdict, Allow) else FORBIDDEN
