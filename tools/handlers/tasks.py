"""Tasks: created, listed, and run in the background by a workflow; step 7 of the path of a call."""

from datetime import date
from uuid import UUID

import orjson
from pydantic import Field

from domain.kernel import EngagementId, TaskId, TaskRunId
from domain.paging import DEFAULT_PAGE, page_request
from domain.tasks.model import CreateTask, TaskQuery, TaskStatus
from tools.handlers.arguments import Arguments, OpenObject
from tools.outcomes import Json
from tools.views import page_json, task_json, task_line_json, task_run_json
from tools.work import CallContext, Handler, Job


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
    limit: int = DEFAULT_PAGE
    cursor: str | None = None


class TaskGet(Arguments):
    task_id: UUID


class TaskRun(Arguments):
    task_id: UUID
    input: OpenObject = Field(default_factory=dict)


class TaskRunGet(Arguments):
    task_run_id: UUID


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
        asked, task_id=TaskId(context.new_id()), created_by=context.principal.principal_id, now=context.now
    )
    return {"task": task_json(task)}


async def task_list(arguments: TaskList, context: CallContext) -> Json:
    query = TaskQuery(
        page=page_request(arguments.cursor, arguments.limit),
        status=arguments.status,
        engagement_id=_engagement(arguments.engagement_id),
        assignee=arguments.assignee,
    )
    return page_json(await context.work.tasks.list(query), task_line_json)


async def task_get(arguments: TaskGet, context: CallContext) -> Json:
    return {"task": task_json(await context.work.tasks.get(TaskId(arguments.task_id)))}


async def task_run(arguments: TaskRun, context: CallContext) -> Json:
    """Effect  writes task_runs; the run is taken up by the worker after the commit."""
    run = await context.work.tasks.run(
        TaskId(arguments.task_id),
        _text(arguments.input),
        task_run_id=TaskRunId(context.new_id()),
        call_id=context.call_id,
        requested_by=context.principal.principal_id,
        now=context.now,
    )
    context.jobs.append(
        Job(kind="task_run", organization_id=context.principal.organization_id, subject_id=run.task_run_id)
    )
    return {"task_run": task_run_json(run)}


async def task_run_get(arguments: TaskRunGet, context: CallContext) -> Json:
    return {"task_run": task_run_json(await context.work.tasks.get_run(TaskRunId(arguments.task_run_id)))}


def _engagement(value: UUID | None) -> EngagementId | None:
    return None if value is None else EngagementId(value)


def _text(value: Json) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


TASK_CREATE = Handler(arguments=TaskCreate, work=task_create)
TASK_LIST = Handler(arguments=TaskList, work=task_list)
TASK_GET = Handler(arguments=TaskGet, work=task_get)
TASK_RUN = Handler(arguments=TaskRun, work=task_run)
TASK_RUN_GET = Handler(arguments=TaskRunGet, work=task_run_get)
