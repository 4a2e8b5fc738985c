"""Tasks: created, listed, and run in the background by a workflow; step 7 of the path of a call."""

import asyncio
from contextlib import aclosing
from datetime import date
from typing import ClassVar, get_args
from uuid import UUID

import orjson
from pydantic import Field

from domain.kernel import Audience, DomainError, EngagementId, Role, TaskId, TaskRunId
from domain.paging import DEFAULT_PAGE, page_request
from domain.taint import Taint
from domain.tasks.model import (
    OBJECTIVE,
    TERMINAL,
    Cancellation,
    CreateTask,
    NewReminder,
    ReminderId,
    TaskField,
    TaskQuery,
    TaskRunStatus,
    TaskStatus,
    UpdateTask,
)
from tools.handlers.arguments import Arguments, OpenObject
from tools.outcomes import Json
from tools.views.tasks import reminded_task_json, reminder_json, task_json, task_line_json, task_run_json
from tools.views.values import page_json
from tools.work import CallContext, Handler, Job, PrepareContext

AT_REST: frozenset[TaskRunStatus] = TERMINAL.union(("waiting",))
"""Where a run stays until a person does something, if it goes on at all."""


class TaskCreate(Arguments):
    title: str
    description: str = ""
    kind: str | None = None
    engagement_id: UUID | None = None
    assignee: str | None = None
    due_on: date | None = None
    input: OpenObject = Field(default_factory=dict)


class TaskList(Arguments):
    status: TaskStatus | None = None
    engagement_id: UUID | None = None
    assignee: str | None = None
    created_by: str | None = None
    kind: str | None = None
    due_from: date | None = None
    due_to: date | None = None
    audience: Audience | None = None
    unfinished: bool = False
    limit: int = DEFAULT_PAGE
    cursor: str | None = None


class TaskUpdate(Arguments):
    task_id: UUID
    title: str = ""
    description: str = ""
    status: TaskStatus = "open"
    assignee: str | None = None
    due_on: date | None = None
    engagement_id: UUID | None = None
    expected_version: int | None = None


class TaskGet(Arguments):
    task_id: UUID


class TaskRun(Arguments):
    task_id: UUID
    input: OpenObject = Field(default_factory=dict)


class TaskRunGet(Arguments):
    task_run_id: UUID
    wait_s: int = 0


class TaskRemind(Arguments):
    task_id: UUID
    text: str


class TaskRunCancel(Arguments):
    task_run_id: UUID
    reason: str = ""


class ObjectiveWithinObjective(DomainError):
    """An agent at work on an objective asked for another one to be begun: it might never end."""

    code: ClassVar[str] = "objective_within_objective"

    def __init__(self) -> None:
        super().__init__("task_id: an agent that nobody waits for starts no objective; a person or a schedule does")


class ForTheFirm(DomainError):
    """A CLIENT asked to give its task away, or to move it."""

    code: ClassVar[str] = "for_the_firm"

    def __init__(self) -> None:
        super().__init__("assignee, engagement_id: who does a task, and where it belongs, is for the firm to say")


async def task_create(arguments: TaskCreate, context: CallContext) -> Json:
    """Effect  writes tasks."""
    asked = CreateTask(
        title=arguments.title,
        description=arguments.description,
        kind=arguments.kind,
        engagement_id=_engagement(arguments.engagement_id) or context.engagement_id,
        assignee=arguments.assignee,
        due_on=arguments.due_on,
        input=_text(arguments.input),
    )
    task = await context.work.tasks.create(
        asked,
        task_id=TaskId(context.new_id()),
        created_by=context.principal.principal_id,
        now=context.now,
        trust=context.trust,
    )
    context.told.add(task.taint)
    return {"task": task_json(task)}


async def task_update(arguments: TaskUpdate, context: CallContext) -> Json:
    """Effect  writes tasks.

    Raises  ForTheFirm.
    """
    given = frozenset(field for field in get_args(TaskField) if field in arguments.model_fields_set)
    if context.role is Role.CLIENT and given & {"assignee", "engagement_id"}:
        raise ForTheFirm
    asked = UpdateTask(
        given=given,
        title=arguments.title,
        description=arguments.description,
        status=arguments.status,
        assignee=arguments.assignee,
        due_on=arguments.due_on,
        engagement_id=_engagement(arguments.engagement_id),
        expected_version=arguments.expected_version,
    )
    task = await context.work.tasks.update(TaskId(arguments.task_id), asked, context.now, context.trust)
    context.told.add(task.taint)
    return {"task": task_json(task)}


async def task_list(arguments: TaskList, context: CallContext) -> Json:
    query = TaskQuery(
        page=page_request(arguments.cursor, arguments.limit),
        status=arguments.status,
        engagement_id=_engagement(arguments.engagement_id),
        assignee=arguments.assignee,
        created_by=arguments.created_by,
        kind=arguments.kind,
        due_from=arguments.due_from,
        due_to=arguments.due_to,
        audience=arguments.audience,
        unfinished=arguments.unfinished,
    )
    page = await context.work.tasks.list(query)
    context.told.add(*(task.taint for task in page.items))
    return page_json(page, task_line_json)


async def task_get(arguments: TaskGet, context: CallContext) -> Json:
    task = await context.work.tasks.get(TaskId(arguments.task_id))
    reminders = await context.work.tasks.reminders(task.task_id)
    context.told.add(task.taint, *(Taint(trust=reminder.trust) for reminder in reminders))
    return {"task": reminded_task_json(task, reminders)}


async def task_remind(arguments: TaskRemind, context: CallContext) -> Json:
    """Effect  writes task_reminders.

    Raises  TaskNotFound, TaskFinished.
    """
    reminder = await context.work.tasks.remind(
        NewReminder(
            reminder_id=ReminderId(context.new_id()),
            task_id=TaskId(arguments.task_id),
            text=arguments.text,
            call_id=context.call_id,
            reminded_by=context.principal.principal_id,
            reminded_at=context.now,
            trust=context.trust,
        )
    )
    context.told.add(Taint(trust=reminder.trust))
    return {"reminder": reminder_json(reminder)}


async def task_run(arguments: TaskRun, context: CallContext) -> Json:
    """Effect  writes task_runs; the run is taken up by the worker after the commit.

    Raises  ObjectiveWithinObjective, TaskNotFound, NotRunnable, InputTooLarge.
    """
    chosen_by_agent_alone = context.agent is not None and context.principal.door == "worker"
    if chosen_by_agent_alone and context.facts.of("task", "kind") == OBJECTIVE:
        raise ObjectiveWithinObjective
    run = await context.work.tasks.run(
        TaskId(arguments.task_id),
        _text(arguments.input),
        task_run_id=TaskRunId(context.new_id()),
        call_id=context.call_id,
        requested_by=context.principal.principal_id,
        now=context.now,
        trust=context.trust,
    )
    context.told.add(run.taint)
    context.jobs.append(
        Job(kind="task_run", organization_id=context.principal.organization_id, subject_id=run.task_run_id)
    )
    return {"task_run": task_run_json(run)}


async def await_run(arguments: TaskRunGet, context: PrepareContext) -> None:
    """Returns when the run is at rest, or the time that was asked for is over; tells meanwhile how it goes.

    Raises  TaskRunNotFound.
    """
    if not arguments.wait_s:
        return
    limit = asyncio.timeout(arguments.wait_s)
    try:
        async with limit, aclosing(context.follow(TaskRunId(arguments.task_run_id))) as states:
            async for run in states:
                context.tell(run.progress.progress, run.progress.message or run.progress.status)
                if run.progress.status in AT_REST:
                    return
    except TimeoutError:
        if not limit.expired():
            raise


async def task_run_get(arguments: TaskRunGet, context: CallContext) -> Json:
    run = await context.work.tasks.get_run(TaskRunId(arguments.task_run_id))
    context.told.add(run.taint)
    return {"task_run": task_run_json(run)}


async def task_run_cancel(arguments: TaskRunCancel, context: CallContext) -> Json:
    """Effect  writes task_run_cancellations, approvals; the worker says afterwards what became of a step under way.

    Raises  TaskRunNotFound, TaskRunEnded.
    """
    by, task_run_id = context.principal.principal_id, TaskRunId(arguments.task_run_id)
    cancellation = Cancellation(
        task_run_id=task_run_id,
        call_id=context.call_id,
        cancelled_by=by,
        reason=arguments.reason,
        cancelled_at=context.now,
    )
    run = await context.work.tasks.cancel_run(cancellation)
    why = arguments.reason or "The task run of this call was cancelled."
    waiting = await context.work.approvals.cancel_of_run(task_run_id, by=by, reason=why, now=context.now)
    for approval in waiting:
        await context.cancel_waiting(approval)
    context.told.add(run.taint)
    context.jobs.append(Job(kind="task_run", organization_id=context.principal.organization_id, subject_id=task_run_id))
    return {
        "task_run": task_run_json(run),
        "cancelled_approvals": [str(approval.approval_id) for approval in waiting],
    }


def _engagement(value: UUID | None) -> EngagementId | None:
    return None if value is None else EngagementId(value)


def _text(value: Json) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


TASK_CREATE = Handler(arguments=TaskCreate, work=task_create)
TASK_UPDATE = Handler(arguments=TaskUpdate, work=task_update)
TASK_LIST = Handler(arguments=TaskList, work=task_list)
TASK_GET = Handler(arguments=TaskGet, work=task_get)
TASK_REMIND = Handler(arguments=TaskRemind, work=task_remind)
TASK_RUN = Handler(arguments=TaskRun, work=task_run)
TASK_RUN_GET = Handler(arguments=TaskRunGet, work=task_run_get, prepare=await_run)
TASK_RUN_CANCEL = Handler(arguments=TaskRunCancel, work=task_run_cancel)
