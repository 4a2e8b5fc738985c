"""A person's data: whose is handed out, that it is erased, and each batch of that; step 7 of the path of a call."""

from uuid import UUID

from domain.approvals.model import Approval
from domain.kernel import TaskRunId
from domain.privacy.model import PARTS, ErasureId, Person
from domain.privacy.service import WHY_CANCELLED
from domain.tasks.model import Cancellation
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.work import CallContext, Handler, Job


class PrivacyExport(Arguments):
    person: str


class PrivacyExportOwn(Arguments):
    pass


class PrivacyErase(Arguments):
    person: str


class PrivacyEraseStep(Arguments):
    erasure_id: UUID


async def privacy_export(arguments: PrivacyExport, context: CallContext) -> Json:
    """Raises  PersonNotFound, NotAPerson."""
    return _handed_out(await context.work.privacy.person(arguments.person))


async def privacy_export_own(_arguments: PrivacyExportOwn, context: CallContext) -> Json:
    """Raises  NotAPerson."""
    return _handed_out(await context.work.privacy.oneself(context.principal.principal_id))


async def privacy_erase(arguments: PrivacyErase, context: CallContext) -> Json:
    """Effect  writes erasures.

    Raises  PersonNotFound, NotAPerson.
    """
    erasure = await context.work.privacy.erase(
        arguments.person,
        by=context.principal.principal_id,
        call_id=context.call_id,
        now=context.now,
        new_id=context.new_id,
    )
    context.jobs.append(
        Job(kind="privacy_erase", organization_id=context.principal.organization_id, subject_id=erasure.erasure_id)
    )
    return {"erasure_id": str(erasure.erasure_id), "user_id": str(erasure.user_id), "state": erasure.state}


async def privacy_erase_step(arguments: PrivacyEraseStep, context: CallContext) -> Json:
    """Effect  removes rows of many tables; cancels approvals and runs; writes knowledge_documents.

    Raises  ErasureNotFound.
    """
    erasure_id = ErasureId(arguments.erasure_id)
    batch = await context.work.privacy.step(erasure_id, context.now)
    cancelled = await _end_what_is_going(erasure_id, context) if batch.waits else 0
    await _purge_what_is_deleted(erasure_id, context)
    return {
        "erasure_id": str(erasure_id),
        "state": batch.state,
        "waits": batch.waits,
        "removed": dict(batch.removed),
        "erased": [str(event_id) for event_id in batch.erased],
        "cancelled": cancelled,
    }


async def _purge_what_is_deleted(erasure_id: ErasureId, context: CallContext) -> None:
    """Documents are the firm's; but what they uploaded and somebody deleted waits for nobody any more."""
    erasure = await context.work.privacy.get(erasure_id)
    for document_id in await context.work.knowledge.removals.hurry(erasure.user_id, context.now):
        organization_id = context.principal.organization_id
        context.jobs.append(Job(kind="document_purge", organization_id=organization_id, subject_id=document_id))


async def _end_what_is_going(erasure_id: ErasureId, context: CallContext) -> int:
    """Questions are cancelled here; a run ends by itself once it is told, and what acts outside once that answers."""
    approvals = await context.work.privacy.cancel_approvals(erasure_id, context.now)
    for approval in approvals:
        await context.cancel_waiting(approval)
        context.jobs.extend(_going_on(approval))
    going = await context.work.privacy.going(erasure_id)
    for kind, subject_id in going:
        if kind == "task_run":
            await _cancel_task_run(TaskRunId(subject_id), context)
        context.jobs.append(Job(kind=kind, organization_id=context.principal.organization_id, subject_id=subject_id))
    return len(approvals) + len(going)


async def _cancel_task_run(task_run_id: TaskRunId, context: CallContext) -> None:
    await context.work.tasks.cancel_run(
        Cancellation(
            task_run_id=task_run_id,
            call_id=context.call_id,
            cancelled_by=context.principal.principal_id,
            reason=WHY_CANCELLED,
            cancelled_at=context.now,
        )
    )


def _going_on(approval: Approval) -> list[Job]:
    """What waits for a question that was cancelled."""
    jobs: list[Job] = []
    if approval.task_run_id is not None:
        jobs.append(Job(kind="task_run", organization_id=approval.organization_id, subject_id=approval.task_run_id))
    if approval.run_id is not None:
        jobs.append(Job(kind="run", organization_id=approval.organization_id, subject_id=approval.run_id))
    return jobs


def _handed_out(person: Person) -> Json:
    return {"user_id": str(person.user_id), "person": person.email, "parts": list(PARTS)}


PRIVACY_EXPORT = Handler(arguments=PrivacyExport, work=privacy_export)
PRIVACY_EXPORT_OWN = Handler(arguments=PrivacyExportOwn, work=privacy_export_own)
PRIVACY_ERASE = Handler(arguments=PrivacyErase, work=privacy_erase)
PRIVACY_ERASE_STEP = Handler(arguments=PrivacyEraseStep, work=privacy_erase_step)
