"""The one function through which every tool call from every door passes: steps 3 to 8 of the path of a call.

A writing call is one transaction: facts, verdict, ticket, work, outcome, commit. A read runs in a READ ONLY one and its
single event goes through the recorder before the result leaves. What was denied, invalid, failed or cancelled is
recorded in a transaction of its own, since the work's is rolled back and its ticket with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import assert_never, cast

import structlog

from domain.budgets.ports import Reservations
from domain.kernel import CallId, Clock, NewId, Principal, Role
from tools.attempts import Attempts
from tools.budgeting import Budgeting
from tools.calls import (
    Call,
    Progress,
    ReadMustWait,
    RoomUnknown,
    Undone,
    Unreserved,
    begin,
    changes_only,
    fault_of_result,
    invalid_arguments,
    settling,
    unknown_tool,
)
from tools.concluding import Concluding
from tools.endings import Endings, may_have_ticket
from tools.facts import Facts
from tools.guard import Guard
from tools.incidents import Incidents, suspect
from tools.judge import Judge
from tools.outcomes import Allow, CallOutcome, CallRequest, CutOff, Deny, Json, NeedsApproval
from tools.outward import UNKNOWN, Outward
from tools.policy import Policies, Rulebook
from tools.ports import CallTransaction, DuplicateCall, JobQueue, Recorder, TaskRuns, Transactions, Unavailable
from tools.questions import Questions
from tools.record import Judged, Scribe, canonical
from tools.registry import Invalid, Registry
from tools.replays import REFUSED, Replayed, keep, kept_read, refusal, replay, sight_of
from tools.settling import Settling
from tools.spending import BudgetGone, PriceOf
from tools.stored_calls import StoredCalls
from tools.supposing import Suppositions
from tools.work import CallContext, Job, PrepareContext, Work
from tools.workflows import Workflows

log = structlog.get_logger()

LOOKED_AT_WITHIN = timedelta(seconds=5)

Fault = Callable[[str], Awaitable[None]]


async def seen_through(work: Coroutine[object, object, None], done: Callable[[], None] = lambda: None) -> None:
    """Await work to its end even when cancelled meanwhile; the cancellation goes on then, unless the work failed."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        task.result()
        done()
        raise
    done()


def _end(progress: Progress, ended: CallOutcome) -> None:
    progress.ended = ended


def _note(call: Call, ended: CallOutcome) -> None:
    """What was made within a call that is undone was not made."""
    if ended.outcome != "done":
        call.holds.made.clear()
    call.holds.note(ended.call_id, ended.outcome)
    call.holds.known = True


async def no_fault(step: str) -> None:
    """Between the steps of a call nothing happens; the suite's own server puts a fault here."""


class Gate:
    """Policy first, a record always. Doors and the agent's loop call it; nothing acts beside it."""

    def __init__(
        self,
        *,
        registry: Registry,
        policies: Policies,
        workflows: Workflows,
        transactions: Transactions,
        recorder: Recorder,
        queue: JobQueue,
        task_runs: TaskRuns,
        incidents: Incidents,
        clock: Clock,
        monotonic: Callable[[], float],
        new_id: NewId,
        fault: Fault = no_fault,
        price_of: PriceOf,
        reservations: Reservations,
    ) -> None:
        self._registry = registry
        self._judge = Judge(rulebook=Rulebook(policies), workflows=workflows)
        self._transactions = transactions
        self._recorder = recorder
        self._queue = queue
        self._task_runs = task_runs
        self._incidents = incidents
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id
        self._fault = fault
        self._scribe = Scribe(clock=clock, new_id=new_id, policy_digest=policies.digest, price_of=price_of)
        self._endings = Endings(scribe=self._scribe, monotonic=monotonic, new_id=new_id)
        self._guard = Guard(endings=self._endings, is_away=transactions.is_away)
        self._attempts = Attempts(
            registry=registry, transactions=transactions, recorder=recorder, endings=self._endings, fault=fault
        )
        self._budgeting = Budgeting(reservations=reservations, price_of=price_of)
        self._stored = StoredCalls(registry=registry, monotonic=monotonic)
        self._suppositions = Suppositions(registry=registry, judge=self._judge)
        self._outward = Outward(
            transactions=transactions,
            scribe=self._scribe,
            endings=self._endings,
            clock=clock,
            make=self._work,
            enqueue=lambda jobs: seen_through(self._enqueue(jobs)),
            fault=fault,
        )
        self._settling = Settling(
            stored=self._stored,
            judge=self._judge,
            transactions=transactions,
            outward=self._outward,
            clock=clock,
        )
        self._concluding = Concluding(stored=self._stored, scribe=self._scribe, clock=clock)
        self._questions = self._asking()

    def _asking(self) -> Questions:
        """Questions whose approved calls are made by this gate's own work."""
        return Questions(
            stored=self._stored,
            judge=self._judge,
            transactions=self._transactions,
            scribe=self._scribe,
            endings=self._endings,
            outward=self._outward,
            work=self._work,
            prepare_context=self._prepare_context,
            budgeting=self._budgeting,
            new_id=self._new_id,
            fault=self._fault,
        )

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        """Make one call, or refuse it; either way it is recorded before this returns.

        Raises  Unavailable: the database is away or too busy; nothing was done that is not recorded.
                CutOff: the caller was cancelled; it says how the call ended all the same.
        """
        try:
            ended = await self._call(request, principal)
        except Exception as fault:
            if self._transactions.is_away(fault):
                raise Unavailable("the database went away, or was too busy, in the midst of a call") from fault
            raise
        tool = suspect(ended, principal)
        if tool is not None:
            await self._look_at(tool, ended, principal)
        return ended

    async def _look_at(self, tool: str, ended: CallOutcome, principal: Principal) -> None:
        """Review a tool once one of its calls has ended. Raises  CutOff: the caller was cancelled meanwhile."""
        try:
            await self._review(tool, principal)
        except asyncio.CancelledError as cancelled:
            raise CutOff(ended) from cancelled

    async def _review(self, tool: str, principal: Principal) -> None:
        """Take a tool's autonomy back where its newest calls went wrong too often; where this fails a job does it."""
        try:
            reviewer = await self._incidents.reviewer(principal.organization_id, tool)
            if reviewer is not None:
                looked = await self._call(self._review_of(tool), reviewer)
                if looked.outcome != "done":
                    log.warning(
                        "autonomy.not_looked_at",
                        tool=tool,
                        orgId=str(principal.organization_id),
                        outcome=looked.outcome,
                    )
        except Exception as fault:
            log.warning("autonomy.not_looked_at", tool=tool, orgId=str(principal.organization_id), exc_info=fault)

    def _review_of(self, tool: str) -> CallRequest:
        call_id = CallId(self._new_id())
        return CallRequest(call_id=call_id, tool="autonomy_review", arguments={"tool": tool}, timeout=LOOKED_AT_WITHIN)

    async def _call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        started = self._monotonic()
        tool = self._registry.find(request.tool)
        if tool is None:
            return await self._attempts.unread(request, principal, unknown_tool(request.tool), started)
        parsed = tool.parse(request.arguments)
        if isinstance(parsed, Invalid):
            return await self._attempts.unread(request, principal, invalid_arguments(parsed), started)
        await self._fault("parsed")
        call = Call(request=request, principal=principal, tool=tool, parsed=parsed, started=started)
        try:
            ended = await self._ended(call, Progress())
        except CutOff as cut_off:
            _note(call, cut_off.ended)
            raise
        else:
            _note(call, ended)
            return ended
        finally:
            if call.holds.held:
                await seen_through(self._budgeting.settle(call.holds))

    async def _ended(self, call: Call, progress: Progress) -> CallOutcome:
        """How the call ended, which is recorded."""
        try:
            return await self._decide_and_work(call, progress)
        except Undone as undone:
            return await self._attempts.undone(call, undone)
        except Replayed as before:
            return before.ended
        except REFUSED as refused:
            return await self._attempts.undone(call, self._endings.invalid(call, None, refusal(refused)))
        except DuplicateCall:
            return await self._attempts.duplicate(call, progress)
        except asyncio.CancelledError as cancelled:
            raise CutOff(progress.ended or await self._attempts.cancelled(call, progress)) from cancelled
        except Exception as fault:
            if isinstance(fault, Unavailable) or self._transactions.is_away(fault):
                raise
            ticket = may_have_ticket(call, progress.judged)
            return await self._attempts.undone(call, self._endings.faulted(call, progress.judged, fault, ticket=ticket))

    async def refuse(
        self,
        request: CallRequest,
        principal: Principal,
        reason: str,
        message: str = "This credential may not be used here.",
    ) -> CallOutcome:
        """Record a call that is refused before policy is asked, by a door whose credential does not fit or an agent."""
        return await self._attempts.refused(request, principal, reason, message)

    async def _decide_and_work(self, call: Call, progress: Progress) -> CallOutcome:
        """Begin anew, each time with what was found out about a budget: no transaction is open while one is asked."""
        while True:
            try:
                return await self._attempted(call, progress)
            except Unreserved as need:
                await self._budgeting.hold(need.call, call.holds)
            except RoomUnknown as need:
                await self._budgeting.look(need.call, call.holds)
            except BudgetGone as gone:
                call.holds.decided[gone.call_id] = gone.exhausted
            progress.jobs.clear()

    async def _attempted(self, call: Call, progress: Progress) -> CallOutcome:
        if call.manifest.outside:
            return await self._decide_and_act(call, progress)
        while True:
            try:
                return await self._work_through(call, progress)
            except ReadMustWait:
                asked = await self._ask_about_read(call, progress)
                # None: what wanted a person to be asked was taken back in this very moment.
                if asked is not None:
                    return asked

    async def _work_through(self, call: Call, progress: Progress) -> CallOutcome:
        prepared = await self._prepare(call, progress)
        stands = call.manifest.may_write and not call.request.dry_run
        async with begin(self._transactions, call, read_only=not call.manifest.may_write) as transaction:
            await self._fault("facts")
            await replay(call, transaction, take=stands)
            judged = progress.judged = self._judge.judge(call, transaction.facts)
            self._budgeting.require(call, judged)
            await self._fault("verdict")
            sight = await sight_of(call, transaction)
            ended = await self._act(call, transaction, judged, prepared, progress)
            if stands:
                await keep(call, transaction, ended)
                await self._fault("kept")
            # From here on the commit decides; it is seen through, whoever cancels.
            progress.ended = ended if call.manifest.may_write else None
        await self._fault("committed")
        if not call.manifest.may_write:
            event = self._scribe.completed(call.recorded, judged, ended, opens=True)
            await seen_through(self._recorder.record([event]), lambda: _end(progress, ended))
            await self._fault("recorded")
            ended = await kept_read(self._transactions, call, ended, sight)
        await seen_through(self._enqueue(progress.jobs))
        return ended

    async def _ask_about_read(self, call: Call, progress: Progress) -> CallOutcome | None:
        """The question about a call that only reads, in a transaction that may write; None: it need not be asked."""
        async with begin(self._transactions, call, read_only=False) as transaction:
            await replay(call, transaction, take=True)
            judged = progress.judged = self._judge.judge(call, transaction.facts)
            self._endings.stop_unless_called_for(call, judged)
            if not isinstance(judged.verdict, NeedsApproval):
                return None
            sight = await sight_of(call, transaction)
            ended = await self._questions.ask(call, transaction, judged, judged.verdict)
            await keep(call, transaction, ended, sight)
            progress.ended = ended
        return ended

    async def _decide_and_act(self, call: Call, progress: Progress) -> CallOutcome:
        """A call that acts outside: once its intent is committed, nothing but the outside's word says how it ended."""
        async with begin(self._transactions, call, read_only=False) as transaction:
            await self._fault("facts")
            await replay(call, transaction, take=not call.request.dry_run)
            judged = progress.judged = self._judge.judge(call, transaction.facts)
            self._budgeting.require(call, judged)
            await self._fault("verdict")
            self._endings.stop_unless_called_for(call, judged)
            asked = isinstance(judged.verdict, NeedsApproval)
            if isinstance(judged.verdict, NeedsApproval):
                ended = await self._questions.ask(call, transaction, judged, judged.verdict)
            else:
                await self._outward.intend(call, transaction, judged, opens=True)
                ended = self._outward.unknown(call, judged)
            await keep(call, transaction, ended)
            progress.ended = ended
        await self._fault("intended")
        if not asked:
            ended = progress.ended = await self._outward.act(call, judged)
        if ended.error is UNKNOWN:
            await seen_through(self._enqueue([settling(call)]))
        return ended

    async def settle(self, principal: Principal, call_id: CallId, *, ending: bool = False) -> CallOutcome | None:
        """Find out what became of a call that acted outside, and record it; None: nothing is left to be found out.

        `ending`: the run that made the call ends: what was not made is not made any more.
        Its outcome is failed with `outcome_unknown` where the outside does not say: then nothing is recorded yet.
        Raises  Unavailable: the database is away or too busy.
        """
        settled = await self._settling.settle(principal, call_id, ending=ending)
        if settled is not None and settled.outcome == "failed" and settled.error is not UNKNOWN:
            await self._review(settled.tool, principal)
        return settled

    async def _prepare(self, call: Call, progress: Progress) -> object:
        """What the tool needs of the outside world, after a first verdict and with no connection held."""
        prepare = call.tool.handler.prepare
        if prepare is None:
            return None
        async with begin(self._transactions, call, read_only=True) as transaction:
            facts = transaction.facts
            await replay(call, transaction, take=False)
            judged = progress.judged = self._judge.judge(call, facts)
            self._budgeting.require(call, judged)
            self._endings.stop_unless_called_for(call, judged)
        if isinstance(judged.verdict, NeedsApproval):
            return None
        context = self._prepare_context(call, facts)
        prepared = await self._guard.run(call, judged, lambda: prepare(call.parsed.model, context), ticket=False)
        await self._fault("prepared")
        return prepared

    async def _act(
        self, call: Call, transaction: CallTransaction, judged: Judged, prepared: object, progress: Progress
    ) -> CallOutcome:
        """The next step that the verdict asks for: refuse, ask, or do."""
        self._endings.stop_unless_called_for(call, judged)
        match judged.verdict:
            case NeedsApproval() as verdict:
                if not call.manifest.may_write:
                    raise ReadMustWait
                return await self._questions.ask(call, transaction, judged, verdict)
            case Allow():
                return await self._make(call, transaction, judged, prepared, progress)
            case Deny():
                raise AssertionError("a denied call was stopped above")
            case _:
                assert_never(judged.verdict)

    async def _make(
        self, call: Call, transaction: CallTransaction, judged: Judged, prepared: object, progress: Progress
    ) -> CallOutcome:
        """Ticket, work, outcome."""
        if call.manifest.may_write:
            await transaction.record(self._scribe.event("tool.allowed", call.recorded, opens=True, judged=judged))
            await self._fault("ticket")
        ended = await self._work(call, transaction, judged, prepared, progress.jobs)
        if call.manifest.may_write:
            await transaction.record(self._scribe.completed(call.recorded, judged, ended, opens=False))
            await self._fault("outcome")
        return ended

    async def _work(
        self, call: Call, transaction: CallTransaction, judged: Judged, prepared: object, jobs: list[Job]
    ) -> CallOutcome:
        """The handler's work, and its result held to the manifest's schema and size."""
        context = self._context(call, transaction, judged, prepared, jobs)
        ticket = call.manifest.may_write
        work = call.tool.handler.work
        result = cast(
            Json, await self._guard.run(call, judged, lambda: work(call.parsed.model, context), ticket=ticket)
        )
        await self._fault("work")
        error = fault_of_result(call.manifest, call.tool, result, len(canonical(result).encode()))
        if error is not None:
            log.error("result.refused", tool=call.manifest.name, callId=str(call.request.call_id), code=error.code)
            raise self._endings.failed(call, judged, error, ticket=ticket)
        taint = context.told.taint(call.manifest.trust, call.manifest.effect)
        return self._endings.ended(call, "done", judged, result=result, taint=taint)

    def _context(
        self, call: Call, transaction: CallTransaction, judged: Judged, prepared: object, jobs: list[Job]
    ) -> CallContext:
        return CallContext(
            principal=call.principal,
            facts=judged.facts,
            role=judged.facts.role or Role.READONLY,
            level=judged.situation.level,
            work=transaction.work,
            call_id=call.request.call_id,
            task_run_id=call.request.task_run_id,
            engagement_id=call.request.engagement_id,
            conversation_id=call.request.conversation_id,
            agent=call.request.agent,
            now=self._clock(),
            new_id=self._new_id,
            prepared=prepared,
            suppose=lambda level, effect, kind=None: self._judge.suppose(judged, level, effect, kind),
            level_of=lambda name: self._suppositions.level_of(transaction, call, name),
            what_if=lambda name, arguments: self._suppositions.what_if(transaction, call, name, arguments),
            explain=lambda name, arguments, supposed: self._suppositions.explain(
                transaction, call, name, arguments, supposed
            ),
            execute_approved=lambda approval, ready: self._questions.execute(
                transaction, approval, ready, jobs, call.holds
            ),
            reject_waiting=lambda approval: self._questions.reject(transaction, approval),
            cancel_waiting=lambda approval: self._questions.cancel(transaction, approval),
            expire_waiting=lambda approval: self._questions.expire(transaction, approval),
            conclude=lambda call_id, said: self._concluding.conclude(
                transaction, call_id, said, stated_in=call.request.call_id
            ),
            jobs=jobs,
        )

    def _prepare_context(self, call: Call, facts: Facts) -> PrepareContext:
        async def read(question: Callable[[Work], Awaitable[object]]) -> object:
            async with begin(self._transactions, call, read_only=True) as transaction:
                return await question(transaction.work)

        return PrepareContext(
            principal=call.principal,
            call_id=call.request.call_id,
            spending=call.spending,
            asking=lambda model, texts: self._budgeting.asking(call, facts, model, texts),
            read=read,
            prepare_approved=lambda approval: self._questions.prepare(approval, call.holds),
            settle=lambda call_id: self.settle(call.principal, call_id),
            follow=lambda task_run_id: self._task_runs.states(
                call.principal, task_run_id, goes_on=call.request.run_id is not None
            ),
            tell=changes_only(call.request.tell),
        )

    async def _enqueue(self, jobs: list[Job]) -> None:
        """After the commit; what cannot be enqueued now, the sweep finds by its row."""
        if not jobs:
            return
        try:
            await self._queue.enqueue(jobs)
        except Unavailable:
            log.warning("jobs.left_to_sweep", count=len(jobs))
        await self._fault("enqueued")
