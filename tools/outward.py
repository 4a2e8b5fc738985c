"""The way of a call that acts outside: an intent with its ticket, the act under a key, and then how it ended.

Between the two transactions anything may stop: the process, the network, the outside. Whoever finds the intent asks the
outside by the key and says how the call ended: the outside does a thing once for each key,
and the row of the intent lets one say so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_never, cast

import structlog

from domain.intents.model import Intent
from domain.kernel import Clock, DomainError
from tools.calls import Call, Undone
from tools.endings import Endings
from tools.outcomes import NEVER_TO_BE_KNOWN, OUTCOME_UNKNOWN, STATED_NOT_MADE, CallError, CallOutcome
from tools.outside import Happened, NeverHappened, Outside, OutsideContext, Unsure
from tools.ports import CallTransaction, Transactions, Unavailable
from tools.record import Judged, Recorded, Scribe
from tools.replays import as_recorded, keep
from tools.work import Job

log = structlog.get_logger()

UNKNOWN = CallError(
    code=OUTCOME_UNKNOWN,
    message="What this call did outside is not known yet. It is being found out and recorded; do not repeat it.",
)
FORBIDDEN = CallError(
    code="no_longer_allowed",
    message="This call was allowed and never came to be made outside; policy lets it be made no more.",
)
CHANGED = CallError(
    code="manifest_changed",
    message="This call was allowed and never came to be made outside; its tool has changed since: it is not made.",
)
RUN_ENDED = CallError(
    code="run_ended",
    message="This call was allowed and never came to be made outside; the run that it was for is over: it is not made.",
)
NEVER_KNOWN = CallError(
    code=NEVER_TO_BE_KNOWN,
    message="What this call did outside cannot be found out: its tool is gone, or takes other arguments by now. Look "
    "there before it is asked for again.",
)
STATED = CallError(
    code=STATED_NOT_MADE,
    message="What this call did outside could not be found out; a person has looked, and says that it was not made.",
)

SAID_UNMADE = frozenset(error.code for error in (FORBIDDEN, CHANGED, RUN_ENDED, NEVER_KNOWN, STATED))
"""How the record says of a call that nobody knows it to have been made."""

AT_IT = timedelta(minutes=1)
"""How long whoever made a call is taken to be at it still, at least."""
MARGIN = timedelta(seconds=30)
"""From the intent to the act, and from the act's timeout to the word that it was over."""

Make = Callable[[Call, CallTransaction, Judged, object, list[Job]], Awaitable[CallOutcome]]
"""Makes the result of what the outside answered."""
Record = Callable[[CallTransaction, list[Job]], Awaitable[CallOutcome]]
"""Writes down how a call ended, beside the end of its intent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outward:
    """Acts, asks, and writes down how it ended; once for each intent, whoever comes first."""

    transactions: Transactions
    scribe: Scribe
    endings: Endings
    clock: Clock
    make: Make
    enqueue: Callable[[list[Job]], Awaitable[None]]
    """Takes what is to be done after a commit."""
    fault: Callable[[str], Awaitable[None]]

    async def intend(self, call: Call, transaction: CallTransaction, judged: Judged, *, opens: bool) -> None:
        """The ticket and the intent, which stand or fall together."""
        await transaction.record(self.scribe.event("tool.allowed", call.recorded, opens=opens, judged=judged))
        await self.fault("ticket")
        await transaction.intents.add(self._intent(call))

    def unknown(self, call: Call, judged: Judged | None) -> CallOutcome:
        """How a call ends for its caller whose intent stands and of which nothing more is known."""
        return self.endings.ended(call, "failed", judged, error=UNKNOWN)

    async def act(self, call: Call, judged: Judged) -> CallOutcome:
        """Act, and say how it ended; unknown where the outside did not answer, or the database is away."""
        outside, context = _outside(call), _context(call)
        try:
            async with asyncio.timeout(call.timeout_s):
                answer = await outside.act(call.parsed.model, context)
        except DomainError as refusal:
            # The outside's own word that it did nothing.
            error = CallError(code=refusal.code, message=str(refusal))
            return await self._conclude(call, judged, self.endings.failed(call, judged, error, ticket=False))
        except Exception as fault:
            log.warning("outside.unanswered", tool=call.manifest.name, callId=context.key, exc_info=fault)
            return self.unknown(call, judged)
        await self.fault("acted")
        return await self._conclude(call, judged, Happened(answer))

    async def settle(self, call: Call, judged: Judged, *, barred: CallError | None, at_it: bool) -> CallOutcome:
        """Ask what became of the key; act where nothing did, unless the call is `barred`, and by what.

        `at_it`: whoever made the call may be at it still: that nothing has happened yet says nothing.
        """
        try:
            async with asyncio.timeout(call.timeout_s):
                found = await _outside(call).settle(call.parsed.model, _context(call))
        except Exception as fault:
            log.warning("outside.unanswered", tool=call.manifest.name, callId=str(call.request.call_id), exc_info=fault)
            found = Unsure()
        await self.fault("asked")
        match found:
            case Happened():
                return await self._conclude(call, judged, found)
            case NeverHappened() if barred is None:
                return await self.act(call, judged)
            case NeverHappened() if barred is not None and not at_it:
                return await self._conclude(call, judged, self.endings.failed(call, judged, barred, ticket=False))
            case NeverHappened() | Unsure():
                return self.unknown(call, judged)
            case _:
                assert_never(found)

    async def give_up(self, call: Recorded) -> CallOutcome | None:
        """Write down of a call that nobody can ask after that its end is never known; None: no database to write it."""

        async def record(transaction: CallTransaction, _jobs: list[Job]) -> CallOutcome:
            event = self.scribe.event("tool.failed", call, opens=False, outcome="failed", error=NEVER_KNOWN)
            await transaction.record(event)
            request = call.request
            return CallOutcome(call_id=request.call_id, tool=request.tool, outcome="failed", error=NEVER_KNOWN)

        return await self._written(call, record)

    async def _conclude(self, call: Call, judged: Judged, said: Happened | Undone) -> CallOutcome:
        async def record(transaction: CallTransaction, jobs: list[Job]) -> CallOutcome:
            ended = await self._record(call, transaction, judged, said, jobs)
            await keep(call, transaction, ended)
            return ended

        made = isinstance(said, Happened)
        return await self._written(call.recorded, record, made=made) or self.unknown(call, judged)

    async def _written(self, call: Recorded, record: Record, *, made: bool = False) -> CallOutcome | None:
        """Write down how the call ended, in place of its intent; where another was quicker, that one's word counts.

        `made`: it was made, by the outside's own word: this counts also where another wrote that it was not.
        None: the database is away.
        """
        jobs: list[Job] = []
        try:
            async with self._begin(call) as transaction:
                if not await transaction.intents.end(call.request.call_id):
                    told = await as_recorded(transaction, call.request.call_id)
                    if not made or not await self._belied(call, transaction, told):
                        return told
                ended = await record(transaction, jobs)
                await self.fault("concluded")
        except Unavailable:
            return None
        except Exception as fault:
            if self.transactions.is_away(fault):
                return None
            raise
        await self.fault("committed")
        await self.enqueue(jobs)
        return ended

    async def _belied(self, call: Recorded, transaction: CallTransaction, told: CallOutcome | None) -> bool:
        """Whether the record has it that a call was not made which was; its newest event says how a call ended.

        Of several who find that, one at a time goes on.
        """
        if not _said_unmade(told):
            return False
        await transaction.intents.hold(call.request.call_id)
        told = await as_recorded(transaction, call.request.call_id)
        if told is None or told.error is None or not _said_unmade(told):
            return False
        log.error(
            "outside.made_after_all",
            tool=call.request.tool,
            callId=str(call.request.call_id),
            orgId=str(call.principal.organization_id),
            recorded=told.error.code,
        )
        return True

    async def _record(
        self, call: Call, transaction: CallTransaction, judged: Judged, said: Happened | Undone, jobs: list[Job]
    ) -> CallOutcome:
        if isinstance(said, Undone):
            await transaction.record(self.endings.last_event(call, said, opens=False))
            return said.ended
        try:
            async with transaction.savepoint():
                ended = await self.make(call, transaction, judged, said.answer, jobs)
        except Undone as unfit:
            # It happened, and its result cannot be shown: recorded as failed, with the code that says why.
            jobs.clear()
            return await self._record(call, transaction, judged, unfit, jobs)
        await transaction.record(self.scribe.completed(call.recorded, judged, ended, opens=False))
        return ended

    def _begin(self, call: Recorded) -> AbstractAsyncContextManager[CallTransaction]:
        return self.transactions.begin(call.principal, call.request.tool, {}, None, read_only=False)

    def _intent(self, call: Call) -> Intent:
        request = call.request
        return Intent(
            call_id=request.call_id,
            principal=call.principal,
            tool=call.manifest.name,
            arguments=call.parsed.canonical,
            manifest_digest=call.manifest.digest,
            approval_id=call.approval_id,
            conversation_id=request.conversation_id,
            run_id=request.run_id,
            task_run_id=request.task_run_id,
            engagement_id=request.engagement_id,
            agent_ceiling=request.agent_ceiling,
            begun_at=self.clock(),
        )


def at_it_for(timeout: timedelta) -> timedelta:
    """How long after its intent whoever made a call, which may take that long, is taken to be at it still."""
    return max(AT_IT, timeout + MARGIN)


def _said_unmade(told: CallOutcome | None) -> bool:
    return told is not None and told.error is not None and told.error.code in SAID_UNMADE


def _outside(call: Call) -> Outside[Any]:
    """Any: the arguments' type is the tool's own."""
    return cast("Outside[Any]", call.tool.handler.outside)


def _context(call: Call) -> OutsideContext:
    call_id = call.request.call_id
    return OutsideContext(principal=call.principal, call_id=call_id, key=str(call_id))
