"""A call that needs a person: the question it leaves, and what becomes of it inside the transaction of the answer."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from secrets import token_bytes
from typing import cast

from domain.activity.model import SALT_BYTES
from domain.approvals.model import Approval
from domain.approvals.subjects import WORKFLOW, BoundSubject, BoundSubjects, NamedSubject, subjects_in
from domain.kernel import ApprovalId, DomainError, NewId, Outcome
from tools.budgeting import Budgeting
from tools.calls import KIND_OF, Call, Undone, begin, settling
from tools.endings import Endings
from tools.facts import Facts
from tools.judge import Judge
from tools.outcomes import ApprovalAsked, CallError, CallOutcome, Deny, NeedsApproval
from tools.outward import Make, Outward
from tools.ports import CallTransaction, Transactions
from tools.record import Judged, Scribe
from tools.spending import Holds, Spending
from tools.stored_calls import StoredCalls, changed_since, subject_changed
from tools.work import Job, PrepareContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What an approved call needs of the outside world, and what that has cost."""

    prepared: object
    spending: Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Asks, and once there is an answer decides again and makes the call, or says how it ended without being made."""

    stored: StoredCalls
    judge: Judge
    transactions: Transactions
    scribe: Scribe
    endings: Endings
    outward: Outward
    work: Make
    prepare_context: Callable[[Call, Facts], PrepareContext]
    budgeting: Budgeting
    new_id: NewId
    fault: Callable[[str], Awaitable[None]]

    async def ask(
        self, call: Call, transaction: CallTransaction, judged: Judged, verdict: NeedsApproval
    ) -> CallOutcome:
        """Leave a durable question: the waiting event first, which admits the approval's row."""
        call = replace(call, approval_id=ApprovalId(self.new_id()))
        event, approval = self.endings.waiting(call, judged, verdict)
        approval = replace(approval, subjects=await self._bound(call, transaction, judged.facts))
        await transaction.record(event)
        await self.fault("waiting")
        try:
            await transaction.ask(approval)
        except DomainError as refusal:
            raise self.endings.invalid(call, judged, CallError(code=refusal.code, message=str(refusal))) from refusal
        asked = ApprovalAsked(
            approval_id=approval.approval_id,
            needs_role=approval.needs_role,
            four_eyes=approval.four_eyes,
            expires_at=approval.expires_at,
        )
        return self.endings.ended(call, "waiting", judged, approval=asked)

    async def execute(
        self, transaction: CallTransaction, approval: Approval, ready: object, jobs: list[Job], holds: Holds
    ) -> CallOutcome:
        """Decide again, then make the call under a savepoint: if the work fails only the work is undone.

        `ready`: as `prepare` gave it. `holds`: what the decision holds of budgets, for this call too.
        Raises  Unreserved, RoomUnknown: it holds nothing for it yet, and a budget is set.
        """
        call, prepared = self.stored.approved(approval), None
        if call is None:
            ended = changed_since(approval)
            error = cast(CallError, ended.error)
            recorded = self.stored.recorded(approval)
            await transaction.record(self.endings.refused(recorded, error, reasons=(error.code,), opens=False))
            return ended
        call = replace(call, holds=holds)
        if isinstance(ready, Ready):
            call, prepared = replace(call, spending=ready.spending), ready.prepared
        manifest, before = call.manifest, len(jobs)
        async with transaction.become(call.principal, manifest.name, call.subjects, call.control) as facts:
            judged = self.judge.judge(call, facts, approved=True)
            changed = (
                None if isinstance(judged.verdict, Deny) else await self._changed(call, transaction, approval, facts)
            )
            if changed is not None:
                return await self._not_that(call, transaction, changed, facts)
            self.budgeting.require(call, judged)
            try:
                self.endings.stop_unless_called_for(call, judged)
                await transaction.work.approvals.begin(approval.approval_id)
                if manifest.outside:
                    await self.outward.intend(call, transaction, judged, opens=False)
                    jobs.append(settling(call))
                    holds.note(approval.call_id, "done")  # it will be
                    return self.endings.ended(call, "waiting", judged)
                await transaction.record(self.scribe.event("tool.allowed", call.recorded, opens=False, judged=judged))
                await self.fault("approved.ticket")
                async with transaction.savepoint():
                    ended = await self.work(call, transaction, judged, prepared, jobs)
                await transaction.record(self.scribe.completed(call.recorded, judged, ended, opens=False))
                await self.fault("approved.outcome")
            except Undone as undone:
                del jobs[before:]
                ended = undone.ended
                await transaction.record(self.endings.last_event(call, undone, opens=False))
        holds.note(approval.call_id, ended.outcome)
        return ended

    async def _bound(self, call: Call, transaction: CallTransaction, facts: Facts) -> BoundSubjects:
        """What the call names, as it stands now: it is this that a person agrees to."""
        return await transaction.work.approvals.bind(self._named(call, facts), token_bytes(SALT_BYTES))

    def _named(self, call: Call, facts: Facts) -> Sequence[NamedSubject]:
        """What the arguments name, and the workflow that the call would start, which the files say and no row."""
        manifest, arguments = call.manifest, call.parsed.arguments
        named = subjects_in(call.parsed.canonical, manifest.bound_in(arguments))
        workflow = self.judge.workflows.find(cast("str | None", facts.of("task", "kind")))
        if manifest.autonomy != "workflow" or workflow is None:
            return named
        does = NamedSubject(subject=WORKFLOW, argument=manifest.subjects["task"], id=workflow.digest.hex())
        return (*named, does)

    async def _changed(
        self, call: Call, transaction: CallTransaction, approval: Approval, facts: Facts
    ) -> BoundSubject | None:
        """What the call names and is not any more what was asked about; from here on nothing of it changes."""
        if approval.subjects is None:
            return None
        return await transaction.work.approvals.changed(approval.subjects, self._named(call, facts))

    async def _not_that(
        self, call: Call, transaction: CallTransaction, changed: BoundSubject, facts: Facts
    ) -> CallOutcome:
        """A person agreed to something else: the call is not made, and that is recorded."""
        error = subject_changed(changed)
        reasons = (error.code,)
        event = self.endings.refused(call.recorded, error, reasons=reasons, opens=False, role=facts.role)
        await transaction.record(event)
        return replace(self.endings.ended(call, "denied", None, error=error), verdict=Deny(reasons=reasons))

    async def reject(self, transaction: CallTransaction, approval: Approval) -> CallOutcome:
        """A person said no."""
        error = CallError(code="rejected", message=approval.comment or "A person rejected this call.")
        return await self._end(transaction, approval, "rejected", error)

    async def cancel(self, transaction: CallTransaction, approval: Approval) -> CallOutcome:
        """What the call was a step of is given up."""
        error = CallError(code="cancelled", message=approval.comment or "The task run of this call was cancelled.")
        return await self._end(transaction, approval, "cancelled", error)

    async def expire(self, transaction: CallTransaction, approval: Approval) -> CallOutcome:
        """Nobody answered in time."""
        error = CallError(code="expired", message="Nobody answered in time whether this call may be made.")
        return await self._end(transaction, approval, "expired", error)

    async def _end(
        self, transaction: CallTransaction, approval: Approval, outcome: Outcome, error: CallError
    ) -> CallOutcome:
        """Record how a waiting call ended without being made."""
        recorded = self.stored.recorded(approval)
        event = self.scribe.event(KIND_OF[outcome], recorded, opens=False, outcome=outcome, error=error)
        await transaction.record(event)
        return CallOutcome(call_id=approval.call_id, tool=approval.tool, outcome=outcome, error=error)

    async def prepare(self, approval: Approval, holds: Holds) -> object:
        """Prepare an approved call as its requester, if policy still lets it be made; execution decides once more.

        Raises  Unreserved, RoomUnknown: as `execute` does.
        """
        call = self.stored.approved(approval)
        prepare = None if call is None else call.tool.handler.prepare
        if call is None or prepare is None:
            return None
        call = replace(call, holds=holds)
        async with begin(self.transactions, call, read_only=True) as transaction:
            facts = transaction.facts
            judged = self.judge.judge(call, facts, approved=True)
            self.budgeting.require(call, judged)
            if isinstance(judged.verdict, Deny):
                return None
        prepared = await prepare(call.parsed.model, self.prepare_context(call, facts))
        return Ready(prepared=prepared, spending=call.spending)
