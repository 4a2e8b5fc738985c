"""Finds out what became of a call that acts outside, from what the database keeps of it."""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from domain.intents.model import Intent
from domain.kernel import CallId, Clock, Principal
from tools.calls import begin
from tools.judge import Judge
from tools.outcomes import CallOutcome
from tools.outward import UNKNOWN, Outward
from tools.ports import Transactions
from tools.stored_calls import StoredCalls

log = structlog.get_logger()

AT_IT = timedelta(minutes=1)
"""How long whoever made a call is taken to be at it still."""
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

    async def settle(self, principal: Principal, call_id: CallId) -> CallOutcome | None:
        """How the call ended, recorded now; None: nothing is left to be found out.

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
        if not same and self._age(intent) < AT_IT:
            return self.outward.unknown(call, None)
        async with begin(self.transactions, call, read_only=True) as transaction:
            judged = self.judge.judge(call, transaction.facts, approved=intent.approval_id is not None)
        return await self.outward.settle(call, judged, same=same)

    async def _unreadable(self, intent: Intent) -> CallOutcome:
        """Of a call that its tool does not take any more, nobody here can be asked."""
        log.error("outside.unreadable_intent", tool=intent.tool, callId=str(intent.call_id))
        unknown = CallOutcome(call_id=intent.call_id, tool=intent.tool, outcome="failed", error=UNKNOWN)
        if self._age(intent) < GIVEN_UP_AFTER:
            return unknown
        return await self.outward.give_up(self.stored.unreadable(intent)) or unknown

    def _age(self, intent: Intent) -> timedelta:
        return self.clock() - intent.begun_at
