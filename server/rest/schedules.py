"""Schedules of task runs: read under row level security, set up, changed and removed through the gate."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.responses import Response

from domain.kernel import TaskId
from domain.schedules.model import ScheduleId, ScheduleQuery
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, WAITING, listed, shows, tool_result
from server.http.parameters import PageAsked
from server.http.visits import Api
from tools.views.tasks import schedule_json
from tools.views.values import page_json

router = APIRouter(tags=["schedules"])

SCHEDULE = tool_result("schedule_create", "schedule")


@router.get("/v1/schedules", responses=shows(listed(SCHEDULE)))
async def list_schedules(visit: Api, page: PageAsked, task_id: UUID | None = None) -> Response:
    """Which tasks are run at set times, when each is due next and how it went last; newest first."""
    query = ScheduleQuery(page=page, task_id=None if task_id is None else TaskId(task_id))
    async with visit.session() as session:
        return json_answer(page_json(await session.work.schedules.list(query), schedule_json))


@router.post(
    "/v1/schedules",
    status_code=201,
    responses={**shows(SCHEDULE, status=201, located="The schedule"), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS},
)
async def create_schedule(
    visit: Api, arguments: Annotated[Json, Depends(ToolArguments("schedule_create"))]
) -> Response:
    """Have a task run at the times of a cron expression, as the organization's service account."""
    outcome = await visit.call("schedule_create", arguments)
    return result_answer(outcome, lambda result: result["schedule"], 201, place=_place)


@router.get("/v1/schedules/{schedule_id}", responses=shows(SCHEDULE))
async def get_schedule(visit: Api, schedule_id: UUID) -> Response:
    """One schedule."""
    async with visit.session() as session:
        return json_answer(schedule_json(await session.work.schedules.get(ScheduleId(schedule_id))))


@router.patch("/v1/schedules/{schedule_id}", responses={**shows(SCHEDULE), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS})
async def update_schedule(
    visit: Api,
    schedule_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("schedule_update", from_path=("schedule_id",)))],
) -> Response:
    """Change the fields that are given, or pause it; the others stay as they are."""
    outcome = await visit.call("schedule_update", {**arguments, "schedule_id": str(schedule_id)})
    return result_answer(outcome, lambda result: result["schedule"])


@router.delete(
    "/v1/schedules/{schedule_id}",
    status_code=204,
    responses={204: {"description": "Deleted"}, **WAITING, **CALL_REFUSALS},
)
async def delete_schedule(visit: Api, schedule_id: UUID) -> Response:
    """End a schedule; what it has started goes on."""
    outcome = await visit.call("schedule_delete", {"schedule_id": str(schedule_id)})
    if outcome.outcome == "done":
        return Response(status_code=204, headers={"X-Call-Id": str(outcome.call_id)})
    return result_answer(outcome, lambda result: result)


def _place(result: Json) -> str:
    return f"/v1/schedules/{cast(Json, result['schedule'])['schedule_id']}"
