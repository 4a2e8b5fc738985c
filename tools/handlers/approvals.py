"""A person's answer to a waiting call: decided once, and the call made or refused in the same transaction."""

from typing import cast
from uuid import UUID

from domain.approvals.model import Approval, ApprovalAnswer
from domain.kernel import ApprovalId
from tools.handlers.arguments import Arguments
from tools.outcomes import CallOutcome, Json, error_json
from tools.views import approval_item_json
from tools.work import CallContext, Handler, Job, PrepareContext, Work


class ApprovalDecide(Arguments):
    approval_id: UUID
    decision: ApprovalAnswer
    comment: str | None = None


async def prepare(arguments: ApprovalDecide, context: PrepareContext) -> object:
    """What the approved call needs of the outside world, fetched while no transaction is open."""
    if arguments.decision == "reject":
        return None
    approval = cast(Approval, await context.read(lambda work: _approval(work, ApprovalId(arguments.approval_id))))
    return await context.prepare_approved(approval) if approval.state == "pending" else None


async def approval_decide(arguments: ApprovalDecide, context: CallContext) -> Json:
    """Effect  writes approvals, and whatever the approved call writes.

    Raises  ApprovalNotFound, AlreadyDecided, ApprovalExpired.
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
        item = await context.work.approvals.finish(approval.approval_id, executed=ended.outcome == "done")
    if approval.task_run_id is not None:
        # The run waits at this step; whatever the answer, it can be brought further now.
        context.jobs.append(
            Job(kind="task_run", organization_id=approval.organization_id, subject_id=approval.task_run_id)
        )
    return {"approval": approval_item_json(item), "call": _call_json(ended)}


async def _approval(work: Work, approval_id: ApprovalId) -> Approval:
    return (await work.approvals.find(approval_id)).approval


def _call_json(ended: CallOutcome) -> Json:
    shown: Json = {"call_id": str(ended.call_id), "outcome": ended.outcome}
    if ended.result is not None:
        shown["result"] = ended.result
    if ended.error is not None:
        shown["error"] = error_json(ended.error)
    return shown


APPROVAL_DECIDE = Handler(arguments=ApprovalDecide, work=approval_decide, prepare=prepare)
