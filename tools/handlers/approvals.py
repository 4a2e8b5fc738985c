"""How a call stops waiting: a person answers, which makes or refuses it at once, its time is over, or its run ends."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, cast
from uuid import UUID

from domain.approvals.model import Approval, ApprovalAnswer, RunEnd
from domain.kernel import ApprovalId, CallId, DomainError, OrganizationId, RunId, TaskRunId
from tools.handlers.arguments import Arguments
from tools.outcomes import OUTCOME_UNKNOWN, CallOutcome, Json, error_json
from tools.views.calls import approval_item_json
from tools.views.values import given
from tools.work import CallContext, Handler, Job, PrepareContext, Work

WITHDRAWN: dict[RunEnd | None, str] = {
    None: "The run of this call was cancelled.",
    "cancelled": "The run of this call was cancelled.",
    "failed": "The run of this call failed before anybody answered.",
}
"""Why, by how the run has ended; None: it is about to be cancelled."""


class ApprovalDecide(Arguments):
    approval_id: UUID
    decision: ApprovalAnswer
    comment: str | None = None


class CallSettle(Arguments):
    call_id: UUID


class ApprovalExpire(Arguments):
    approval_id: UUID


class ApprovalRemind(Arguments):
    approval_id: UUID


class ApprovalCancel(Arguments):
    run_id: UUID


async def prepare(arguments: ApprovalDecide, context: PrepareContext) -> object:
    """What the approved call needs of the outside world, fetched while no transaction is open."""
    if arguments.decision == "reject":
        return None
    approval = cast(Approval, await context.read(lambda work: _approval(work, ApprovalId(arguments.approval_id))))
    return await context.prepare_approved(approval) if approval.state == "pending" else None


async def approval_decide(arguments: ApprovalDecide, context: CallContext) -> Json:
    """Effect  writes approvals, and whatever the approved call writes.

    Raises  ApprovalNotFound, AlreadyDecided, ApprovalExpired, RunEnded.
    """
    approval = await context.work.approvals.decide(
        ApprovalId(arguments.approval_id),
        arguments.decision,
        arguments.comment,
        decider=context.principal.principal_id,
        now=context.now,
    )
    if arguments.decision == "reject":
        ended = await context.reject_waiting(approval)
        item = await context.work.approvals.get(approval.approval_id, context.now)
    else:
        ended = await context.execute_approved(approval, context.prepared)
        # What acts outside is done once this is committed, and its approval finished then.
        acts_later = ended.outcome == "waiting"
        approvals = context.work.approvals
        item = await (
            approvals.get(approval.approval_id, context.now)
            if acts_later
            else approvals.finish(approval.approval_id, executed=ended.outcome == "done")
        )
    context.jobs.extend(_going_on(approval))
    return {"approval": approval_item_json(item), "call": _call_json(ended)}


async def approval_expire(arguments: ApprovalExpire, context: CallContext) -> Json:
    """Effect  writes approvals.

    Raises  NothingToExpire.
    """
    approval = await context.work.approvals.expire(ApprovalId(arguments.approval_id), context.now)
    await context.expire_waiting(approval)
    context.jobs.extend(_going_on(approval))
    return {"approval_id": str(approval.approval_id), "call_id": str(approval.call_id)}


async def approval_remind(arguments: ApprovalRemind, context: CallContext) -> Json:
    """Effect  writes approvals.

    Raises  NothingToRemind.
    """
    approval, deciders = await context.work.approvals.remind(ApprovalId(arguments.approval_id), context.now)
    return {
        "approval_id": str(approval.approval_id),
        "call_id": str(approval.call_id),
        "may_decide": [{"email": each.email, **given(in_the_stead_of=each.decides_for)} for each in deciders],
    }


async def approval_cancel(arguments: ApprovalCancel, context: CallContext) -> Json:
    """Effect  writes approvals."""
    settled = await _withdrawn(arguments.run_id, context)
    ids: dict[str, list[str]] = {"cancelled": [], "expired": []}
    for approval in settled:
        end = context.cancel_waiting if approval.state == "cancelled" else context.expire_waiting
        await end(approval)
        ids[approval.state].append(str(approval.approval_id))
    return {"run_id": str(arguments.run_id), **ids}


async def _withdrawn(run: UUID, context: CallContext) -> Sequence[Approval]:
    """What the run waited for, cancelled or expired."""
    approvals, now = context.work.approvals, context.now
    task_run_over = await approvals.run_over(None, TaskRunId(run))
    if task_run_over is not None:
        return await approvals.cancel_of_run(TaskRunId(run), by=None, reason=WITHDRAWN[task_run_over], now=now)
    over = await approvals.run_over(RunId(run), None)
    return await approvals.cancel_of_conversation(RunId(run), WITHDRAWN[over], now)


class OutcomeUnknown(DomainError):
    """The outside does not say what became of the call."""

    code: ClassVar[str] = OUTCOME_UNKNOWN

    def __init__(self) -> None:
        super().__init__("call_id: the outside does not say yet what became of this call")


async def settle_call(arguments: CallSettle, context: PrepareContext) -> CallOutcome | None:
    """Ask the outside, while no transaction is open, and record what it says."""
    return await context.settle(CallId(arguments.call_id))


async def call_settle(arguments: CallSettle, context: CallContext) -> Json:
    """Effect  writes approvals: how the call ended is recorded before this. What waits for it is brought further.

    Raises  OutcomeUnknown.
    """
    settled = cast("CallOutcome | None", context.prepared)
    if settled is not None and settled.error is not None and settled.error.code == OutcomeUnknown.code:
        raise OutcomeUnknown
    await bring_further(CallId(arguments.call_id), context)
    found: Json = {} if settled is None else {"outcome": settled.outcome}
    return {"call_id": str(arguments.call_id), **found}


async def bring_further(call_id: CallId, context: CallContext) -> Approval | None:
    """Finish the approval of a call of which it is recorded how it ended outside, and have what waits for it go on.

    Effect  writes approvals.
    """
    approval = await context.work.approvals.finish_of_call(call_id)
    if approval is not None:
        context.jobs.extend(_going_on(approval))
    elif (task_run_id := await context.work.activity.task_run_of(call_id)) is not None:
        context.jobs.append(_task_run(context.principal.organization_id, task_run_id))
    return approval


def _going_on(approval: Approval) -> Iterable[Job]:
    """What waits for the call can be brought further now, whatever became of it."""
    if approval.task_run_id is not None:
        yield _task_run(approval.organization_id, approval.task_run_id)
    if approval.run_id is not None:
        yield Job(kind="run", organization_id=approval.organization_id, subject_id=approval.run_id)


def _task_run(organization_id: OrganizationId, task_run_id: TaskRunId) -> Job:
    return Job(kind="task_run", organization_id=organization_id, subject_id=task_run_id)


async def _approval(work: Work, approval_id: ApprovalId) -> Approval:
    return (await work.approvals.find(approval_id)).approval


def _call_json(ended: CallOutcome) -> Json:
    shown: Json = {"call_id": str(ended.call_id), "outcome": ended.outcome}
    if ended.result is not None:
        shown["result"] = ended.result
    if ended.error is not None:
        shown["error"] = error_json(ended.error)
    return shown


APPROVAL_CANCEL = Handler(arguments=ApprovalCancel, work=approval_cancel)
APPROVAL_REMIND = Handler(arguments=ApprovalRemind, work=approval_remind)
APPROVAL_EXPIRE = Handler(arguments=ApprovalExpire, work=approval_expire)
APPROVAL_DECIDE = Handler(arguments=ApprovalDecide, work=approval_decide, prepare=prepare)
CALL_SETTLE = Handler(arguments=CallSettle, work=call_settle, prepare=settle_call)
