"""Tasks and their runs: read under row level security, created and started through the gate."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from domain.kernel import TaskId, TaskRunId
from domain.tasks.model import TaskQuery, TaskStatus
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import (
    BODY_REFUSALS,
    CALL_REFUSALS,
    WAITING,
    event_streams,
    listed,
    or_waits,
    problems,
    shows,
    tool_result,
)
from server.http.negotiation import EVENT_STREAM, choose
from server.http.parameters import Day, EngagementAsked, PageAsked, Text
from server.http.visits import Api
from tools.views.tasks import reminded_task_json, task_json, task_run_json
from tools.views.values import page_json

router = APIRouter(tags=["tasks"])
streams = APIRouter(tags=["tasks"])
"""Whose answers are no JSON."""

LARGEST_SEQUENCE = 2**53

Sequence = Annotated[int, Query(ge=0, le=LARGEST_SEQUENCE)]

TASK = tool_result("task_create", "task")
TASK_RUN = tool_result("task_run_get", "task_run")


@router.get("/v1/tasks", responses=shows(listed(TASK)))
async def list_tasks(
    visit: Api,
    page: PageAsked,
    engagement_id: EngagementAsked,
    status: TaskStatus | None = None,
    assignee: Text | None = None,
    created_by: Text | None = None,
    kind: Text | None = None,
    due_from: Day | None = None,
    due_to: Day | None = None,
) -> Response:
    """The tasks that the caller may see, newest first."""
    query = TaskQuery(
        page=page,
        status=status,
        engagement_id=engagement_id,
        assignee=assignee,
        created_by=created_by,
        kind=kind,
        due_from=due_from,
        due_to=due_to,
    )
    async with visit.session() as session:
        return json_answer(page_json(await session.work.tasks.list(query), task_json))


@router.post(
    "/v1/tasks",
    status_code=201,
    responses={**shows(TASK, status=201, located="The task"), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS},
)
async def create_task(visit: Api, arguments: Annotated[Json, Depends(ToolArguments("task_create"))]) -> Response:
    """Create a task, for people or for a workflow."""
    outcome = await visit.call("task_create", arguments)
    return result_answer(outcome, lambda result: result["task"], 201, place=_task_place)


@router.get("/v1/tasks/{task_id}", responses=shows(tool_result("task_get", "task")))
async def get_task(visit: Api, task_id: UUID) -> Response:
    """One task, with its newest run and the reminders on it."""
    async with visit.session() as session:
        task = await session.work.tasks.get(TaskId(task_id))
        return json_answer(reminded_task_json(task, await session.work.tasks.reminders(task.task_id)))


@router.patch("/v1/tasks/{task_id}", responses={**shows(TASK), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS})
async def update_task(
    visit: Api,
    task_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("task_update", from_path=("task_id",)))],
) -> Response:
    """Change the fields that are given; the others stay as they are."""
    outcome = await visit.call("task_update", {**arguments, "task_id": str(task_id)})
    return result_answer(outcome, lambda result: result["task"])


@router.post(
    "/v1/tasks/{task_id}/runs",
    status_code=202,
    responses={
        **shows(
            or_waits(TASK_RUN),
            status=202,
            description="Accepted: it runs in the background, or waits for a person's approval (`outcome`: waiting)",
            located="The run, where it is accepted",
        ),
        **BODY_REFUSALS,
        **CALL_REFUSALS,
    },
)
async def run_task(
    visit: Api,
    task_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("task_run", from_path=("task_id",), optional=True))],
) -> Response:
    """Start a task's workflow in the background."""
    outcome = await visit.call("task_run", {**arguments, "task_id": str(task_id)})
    return result_answer(outcome, lambda result: result["task_run"], 202, place=_run_place)


@router.get("/v1/task-runs/{task_run_id}", responses=shows(TASK_RUN))
async def get_task_run(visit: Api, task_run_id: UUID) -> Response:
    """One run of a task, with its steps as far as it has come."""
    async with visit.session() as session:
        return json_answer(task_run_json(await session.work.tasks.get_run(TaskRunId(task_run_id))))


@streams.get(
    "/v1/task-runs/{task_run_id}/events",
    responses={
        **event_streams("The run as it goes, to its end"),
        204: {"description": "Nothing follows"},
        **problems(404, 429),
    },
)
async def task_run_events(
    request: Request,
    visit: Api,
    task_run_id: UUID,
    after: Sequence = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_SEQUENCE)] = None,
) -> Response:
    """A run's progress behind `after`, or behind Last-Event-ID: each event is the whole run as it stands then."""
    choose(request, EVENT_STREAM)
    seen = after if last_event_id is None else last_event_id
    now = await visit.hub.task_runs.look(visit.principal, TaskRunId(task_run_id))
    if now.terminal and now.sequence <= seen:
        return Response(status_code=204)
    return visit.follow_task_run(TaskRunId(task_run_id), seen)


@router.post(
    "/v1/task-runs/{task_run_id}/cancel", responses={**shows(TASK_RUN), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS}
)
async def cancel_task_run(
    visit: Api,
    task_run_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("task_run_cancel", from_path=("task_run_id",), optional=True))],
) -> Response:
    """Stop a run: no step of it begins any more, and what was done stands."""
    outcome = await visit.call("task_run_cancel", {**arguments, "task_run_id": str(task_run_id)})
    return result_answer(outcome, lambda result: result["task_run"])


def _task_place(result: Json) -> str:
    return f"/v1/tasks/{cast(Json, result['task'])['task_id']}"


def _run_place(result: Json) -> str:
    return f"/v1/task-runs/{cast(Json, result['task_run'])['task_run_id']}"
