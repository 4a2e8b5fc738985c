"""The one function through which every tool call from every door passes: steps 3 to 8 of the path of a call.

A writing call is one transaction: facts, verdict, ticket, work, outcome, commit. A read runs in a READ ONLY one and its
single event goes through the recorder before the result leaves. What was denied, invalid, failed or cancelled is
recorded in a transaction of its own, since the work's is rolled back and its ticket with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import assert_never, cast

import structlog

from domain.activity.model import ActivityEvent
from domain.approvals.model import Approval
from domain.kernel import ApprovalId, CallId, Clock, DomainError, EventId, NewId, Outcome, Principal, Role
from tools.calls import (
    KIND_OF,
    Call,
    Progress,
    Undone,
    changed_since,
    duplicate_call,
    fault_of_result,
    invalid_arguments,
    not_found,
    request_of,
    requester_of,
    subjects_of,
    unknown_tool,
)
from tools.endings import Endings, may_have_ticket
from tools.judge import Judge, supposed
from tools.outcomes import (
    Allow,
    ApprovalAsked,
    CallError,
    CallOutcome,
    CallRequest,
    CutOff,
    Deny,
    Json,
    NeedsApproval,
    Verdict,
)
from tools.policy import Policies
from tools.ports import CallTransaction, DuplicateCall, JobQueue, Recorder, Transactions, Unavailable
from tools.record import Judged, Recorded, Scribe, canonical, kept_of
from tools.registry import Invalid, Registry
from tools.replays import REFUSED, Replayed, keep, refusal, replay
from tools.work import CallContext, Job, PrepareContext, Work
from tools.workflows import Workflows

log = structlog.get_logger()

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
        clock: Clock,
        monotonic: Callable[[], float],
        new_id: NewId,
        fault: Fault = no_fault,
    ) -> None:
        self._registry = registry
        self._judge = Judge(policies=policies, workflows=workflows)
        self._transactions = transactions
        self._recorder = recorder
        self._queue = queue
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id
        self._fault = fault
        self._scribe = Scribe(clock=clock, new_id=new_id, policy_digest=policies.digest)
        self._endings = Endings(scribe=self._scribe, monotonic=monotonic, new_id=new_id)

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        """Make one call, or refuse it; either way it is recorded before this returns.

        Raises  Unavailable: the database is away or too busy; nothing was done that is not recorded.
                CutOff: the caller was cancelled; it says how the call ended all the same.
        """
        try:
            return await self._call(request, principal)
        except Exception as fault:
            if self._transactions.is_away(fault):
                raise Unavailable("the database went away, or was too busy, in the midst of a call") from fault
            raise

    async def _call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        started = self._monotonic()
        tool = self._registry.find(request.tool)
        if tool is None:
            return await self._refuse_unread(request, principal, unknown_tool(request.tool), started)
        parsed = tool.parse(request.arguments)
        if isinstance(parsed, Invalid):
            return await self._refuse_unread(request, principal, invalid_arguments(parsed), started)
        await self._fault("parsed")
        call = Call(request=request, principal=principal, tool=tool, parsed=parsed, started=started)
        progress = Progress()
        try:
            return await self._decide_and_work(call, progress)
        except Undone as undone:
            return await self._record_undone(call, undone)
        except Replayed as before:
            return before.ended
        except REFUSED as refused:
            return await self._record_undone(call, self._endings.invalid(call, None, refusal(refused)))
        except DuplicateCall:
            return await self._record_duplicate(call, progress)
        except asyncio.CancelledError as cancelled:
            raise CutOff(progress.ended or await self._record_cancelled(call, progress)) from cancelled
        except Exception as fault:
            if isinstance(fault, Unavailable) or self._transactions.is_away(fault):
                raise
            ticket = may_have_ticket(call, progress.judged)
            return await self._record_undone(call, self._endings.faulted(call, progress.judged, fault, ticket=ticket))

    async def refuse(self, request: CallRequest, principal: Principal, reason: str) -> CallOutcome:
        """Record a call that a door refuses before policy is asked: a credential that this door does not take."""
        async with self._transactions.begin(principal, "", {}, None, read_only=True) as transaction:
            role = transaction.facts.role
        error = CallError(code=reason, message="This credential may not be used here.")
        recorded = self._unread(request, principal)
        await self._record([self._endings.refused(recorded, error, reasons=(reason,), opens=True, role=role)])
        verdict = Deny(reasons=(reason,))
        return CallOutcome(call_id=request.call_id, tool=request.tool, outcome="denied", verdict=verdict, error=error)

    # The path ---------------------------------------------------------------------------------------------------

    async def _decide_and_work(self, call: Call, progress: Progress) -> CallOutcome:
        prepared = await self._prepare(call, progress)
        stands = call.manifest.may_write and not call.request.dry_run
        async with self._begin(call, read_only=not call.manifest.may_write) as transaction:
            await self._fault("facts")
            await replay(call, transaction, take=stands)
            judged = progress.judged = self._judge.judge(call, transaction.facts)
            await self._fault("verdict")
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
            ended = await self._kept_read(call, ended)
        await seen_through(self._enqueue(progress.jobs))
        return ended

    async def _kept_read(self, call: Call, ended: CallOutcome) -> CallOutcome:
        """A read changed nothing: its answer is kept once it stands, and of several at once the first one's counts."""
        if call.claim is None:
            return ended
        try:
            async with self._begin(call, read_only=False) as transaction:
                await replay(call, transaction, take=True)
                await keep(call, transaction, ended)
        except Replayed as before:
            return before.ended
        except REFUSED:
            # Another request under this key came to its end meanwhile. This one was read and recorded all the same.
            log.info("idempotency.read_unkept", callId=str(call.request.call_id))
        return ended

    async def _prepare(self, call: Call, progress: Progress) -> object:
        """What the tool needs of the outside world, after a first verdict and with no connection held."""
        prepare = call.tool.handler.prepare
        if prepare is None:
            return None
        async with self._begin(call, read_only=True) as transaction:
            await replay(call, transaction, take=False)
            judged = progress.judged = self._judge.judge(call, transaction.facts)
            self._stop_unless_called_for(call, judged)
        if isinstance(judged.verdict, NeedsApproval):
            return None
        context = self._prepare_context(call)
        prepared = await self._guard(call, judged, lambda: prepare(call.parsed.model, context), ticket=False)
        await self._fault("prepared")
        return prepared

    async def _act(
        self, call: Call, transaction: CallTransaction, judged: Judged, prepared: object, progress: Progress
    ) -> CallOutcome:
        """The next step that the verdict asks for: refuse, ask, or do."""
        self._stop_unless_called_for(call, judged)
        match judged.verdict:
            case NeedsApproval() as verdict:
                return await self._ask(call, transaction, judged, verdict)
            case Allow():
                return await self._make(call, transaction, judged, prepared, progress)
            case Deny():
                raise AssertionError("a denied call was stopped above")
            case _:
                assert_never(judged.verdict)

    def _stop_unless_called_for(self, call: Call, judged: Judged) -> None:
        """Denied, only previewed, or about something that this principal cannot see: leaves the transaction."""
        if isinstance(judged.verdict, Deny):
            raise self._endings.denied(call, judged, judged.verdict)
        if call.request.dry_run:
            raise Undone(self._endings.ended(call, "dry_run", judged), judged)
        if judged.facts.missing:
            raise self._endings.invalid(call, judged, not_found(judged.facts.missing[0]))

    async def _ask(
        self, call: Call, transaction: CallTransaction, judged: Judged, verdict: NeedsApproval
    ) -> CallOutcome:
        """Leave a durable question: the waiting event first, which admits the approval's row."""
        call = replace(call, approval_id=ApprovalId(self._new_id()))
        event, approval = self._endings.waiting(call, judged, verdict)
        await transaction.record(event)
        await self._fault("waiting")
        try:
            await transaction.ask(approval)
        except DomainError as refusal:
            raise self._endings.invalid(call, judged, CallError(code=refusal.code, message=str(refusal))) from refusal
        asked = ApprovalAsked(
            approval_id=approval.approval_id,
            needs_role=approval.needs_role,
            four_eyes=approval.four_eyes,
            expires_at=approval.expires_at,
        )
        return self._endings.ended(call, "waiting", judged, approval=asked)

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
        result = cast(Json, await self._guard(call, judged, lambda: work(call.parsed.model, context), ticket=ticket))
        await self._fault("work")
        error = fault_of_result(call.manifest, call.tool, result, len(canonical(result).encode()))
        if error is not None:
            log.error("result.refused", tool=call.manifest.name, callId=str(call.request.call_id), code=error.code)
            raise self._endings.failed(call, judged, error, ticket=ticket)
        return self._endings.ended(call, "done", judged, result=result)

    async def _guard(
        self, call: Call, judged: Judged, work: Callable[[], Awaitable[object]], *, ticket: bool
    ) -> object:
        """Run a handler's code within its time; whatever it raises becomes how the call ended."""
        try:
            async with asyncio.timeout(call.manifest.timeout.total_seconds()):
                return await work()
        except (Unavailable, DuplicateCall, asyncio.CancelledError):
            raise
        except DomainError as refusal:
            error = CallError(code=refusal.code, message=str(refusal))
            raise self._endings.invalid(call, judged, error) from refusal
        except TimeoutError as late:
            seconds = call.manifest.timeout.total_seconds()
            error = CallError(code="timeout", message=f"The tool took longer than {seconds:g} s.")
            raise self._endings.failed(call, judged, error, ticket=ticket) from late
        except Exception as fault:
            if self._transactions.is_away(fault):
                raise
            raise self._endings.faulted(call, judged, fault, ticket=ticket) from fault

    # An approved call, inside the transaction of the decision -----------------------------------------------------

    async def _execute_approved(
        self, transaction: CallTransaction, approval: Approval, prepared: object, jobs: list[Job]
    ) -> CallOutcome:
        """Decide again, then make the call under a savepoint: if the work fails only the work is undone."""
        call = self._approved_call(approval)
        if call is None:
            ended = changed_since(approval)
            error = cast(CallError, ended.error)
            recorded = self._recorded_of(approval)
            await transaction.record(self._endings.refused(recorded, error, reasons=(error.code,), opens=False))
            return ended
        manifest = call.manifest
        async with transaction.become(call.principal, manifest.name, call.subjects, call.control) as facts:
            judged = self._judge.judge(call, facts, approved=True)
            try:
                self._stop_unless_called_for(call, judged)
                await transaction.record(self._scribe.event("tool.allowed", call.recorded, opens=False, judged=judged))
                await self._fault("approved.ticket")
                async with transaction.savepoint():
                    ended = await self._work(call, transaction, judged, prepared, jobs)
                await transaction.record(self._scribe.completed(call.recorded, judged, ended, opens=False))
                await self._fault("approved.outcome")
            except Undone as undone:
                ended = undone.ended
                await transaction.record(self._endings.last_event(call, undone, opens=False))
        return ended

    async def _reject_waiting(self, transaction: CallTransaction, approval: Approval) -> CallOutcome:
        error = CallError(code="rejected", message=approval.comment or "A person rejected this call.")
        return await self._end_waiting(transaction, approval, "rejected", error)

    async def _cancel_waiting(self, transaction: CallTransaction, approval: Approval) -> CallOutcome:
        error = CallError(code="cancelled", message=approval.comment or "The task run of this call was cancelled.")
        return await self._end_waiting(transaction, approval, "cancelled", error)

    async def _end_waiting(
        self, transaction: CallTransaction, approval: Approval, outcome: Outcome, error: CallError
    ) -> CallOutcome:
        """Record how a waiting call ended without being made."""
        recorded = self._recorded_of(approval)
        event = self._scribe.event(KIND_OF[outcome], recorded, opens=False, outcome=outcome, error=error)
        await transaction.record(event)
        return CallOutcome(call_id=approval.call_id, tool=approval.tool, outcome=outcome, error=error)

    async def _prepare_approved(self, approval: Approval) -> object:
        """Prepare an approved call as its requester, if policy still lets it be made; execution decides once more."""
        call = self._approved_call(approval)
        if call is None or call.tool.handler.prepare is None:
            return None
        async with self._begin(call, read_only=True) as transaction:
            if isinstance(self._judge.judge(call, transaction.facts, approved=True).verdict, Deny):
                return None
        return await call.tool.handler.prepare(call.parsed.model, self._prepare_context(call))

    def _approved_call(self, approval: Approval) -> Call | None:
        """The exact call the approval is bound to; None when its tool is no longer what was asked about."""
        tool = self._registry.find(approval.tool)
        if tool is None or tool.manifest.digest != approval.manifest_digest:
            return None
        request = request_of(approval)
        parsed = tool.parse(request.arguments)
        if isinstance(parsed, Invalid):
            return None
        return Call(
            request=request,
            principal=requester_of(approval),
            tool=tool,
            parsed=parsed,
            started=self._monotonic(),
            approval_id=approval.approval_id,
        )

    def _recorded_of(self, approval: Approval) -> Recorded:
        tool = self._registry.find(approval.tool)
        return Recorded(
            request=request_of(approval),
            principal=requester_of(approval),
            manifest=None if tool is None else tool.manifest,
            arguments=approval.arguments,
            approval_id=approval.approval_id,
        )

    # What a handler is given --------------------------------------------------------------------------------------

    def _begin(self, call: Call, *, read_only: bool) -> AbstractAsyncContextManager[CallTransaction]:
        manifest = call.manifest
        return self._transactions.begin(call.principal, manifest.name, call.subjects, call.control, read_only=read_only)

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
            agent=call.request.agent,
            now=self._clock(),
            new_id=self._new_id,
            prepared=prepared,
            suppose=lambda effect, kind=None: self._judge.suppose(judged.situation, effect, kind),
            what_if=lambda name, arguments: self._what_if(transaction, call, name, arguments),
            execute_approved=lambda approval, ready: self._execute_approved(transaction, approval, ready, jobs),
            reject_waiting=lambda approval: self._reject_waiting(transaction, approval),
            cancel_waiting=lambda approval: self._cancel_waiting(transaction, approval),
            jobs=jobs,
        )

    async def _what_if(
        self, transaction: CallTransaction, call: Call, name: str, arguments: Json | None
    ) -> Verdict | None:
        tool = self._registry.find(name)
        if tool is None:
            return None
        # Only arguments that hold to the schema may name subjects: anything else would reach the database as it came.
        held = {} if arguments is None or tool.arguments_validator.check(arguments) else arguments
        other = supposed(call, tool, held)
        subjects = subjects_of(tool.manifest, held)
        async with transaction.become(other.principal, name, subjects, other.control) as facts:
            return self._judge.judge(other, facts).verdict

    def _prepare_context(self, call: Call) -> PrepareContext:
        async def read(question: Callable[[Work], Awaitable[object]]) -> object:
            async with self._begin(call, read_only=True) as transaction:
                return await question(transaction.work)

        return PrepareContext(
            principal=call.principal,
            call_id=call.request.call_id,
            read=read,
            prepare_approved=self._prepare_approved,
        )

    # How a call ended ---------------------------------------------------------------------------------------------

    async def _refuse_unread(
        self, request: CallRequest, principal: Principal, error: CallError, started: float
    ) -> CallOutcome:
        """An unknown tool or arguments that do not parse: no verdict is reached, and the attempt is recorded."""
        async with self._transactions.begin(principal, "", {}, None, read_only=True) as transaction:
            role = transaction.facts.role
        recorded = self._unread(request, principal)
        duration_ms = self._endings.elapsed(started)
        event = self._scribe.event(
            "tool.invalid", recorded, opens=True, role=role, outcome="invalid", error=error, duration_ms=duration_ms
        )
        await self._record([event])
        return CallOutcome(
            call_id=request.call_id, tool=request.tool, outcome="invalid", error=error, duration_ms=duration_ms
        )

    async def _record(self, events: list[ActivityEvent]) -> None:
        """Record how a call ended; where its id was used before, as a call of its own beside that one."""
        try:
            await self._recorder.record(events)
        except DuplicateCall:
            again = CallId(self._new_id())
            await self._recorder.record(
                [replace(event, event_id=EventId(self._new_id()), call_id=again) for event in events]
            )

    def _unread(self, request: CallRequest, principal: Principal) -> Recorded:
        """A call whose arguments no schema has passed, as far as the record can keep it."""
        tool = self._registry.find(request.tool)
        manifest = None if tool is None else tool.manifest
        return Recorded(request=request, principal=principal, manifest=manifest, arguments=kept_of(request.arguments))

    async def _record_undone(self, call: Call, undone: Undone) -> CallOutcome:
        """Record a call whose transaction is gone: the ticket again, where it had one, and how it ended."""
        await self._record(self._endings.events(call, undone))
        await self._fault("undone")
        return undone.ended

    async def _record_cancelled(self, call: Call, progress: Progress) -> CallOutcome:
        """Record the cancellation, whoever cancels again; the cancellation itself goes on."""
        undone = self._endings.cancelled(call, progress)
        try:
            await asyncio.shield(self._record_undone(call, undone))
        except (Unavailable, DuplicateCall, asyncio.CancelledError):
            log.warning("call.cancelled_unrecorded", callId=str(call.request.call_id))
        return undone.ended

    async def _record_duplicate(self, call: Call, progress: Progress) -> CallOutcome:
        """Record an attempt to make a call again, beside the record of that call."""
        await self._recorder.record([self._endings.duplicate(call.recorded, progress.judged)])
        return self._endings.ended(call, "invalid", progress.judged, error=duplicate_call(call.request))

    async def _enqueue(self, jobs: list[Job]) -> None:
        """After the commit; what cannot be enqueued now, the sweep finds by its row."""
        if not jobs:
            return
        try:
            await self._queue.enqueue(jobs)
        except Unavailable:
            log.warning("jobs.left_to_sweep", count=len(jobs))
        await self._fault("enqueued")
