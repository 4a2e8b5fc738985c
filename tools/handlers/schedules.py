"""Schedules: set up, changed and removed by people, listed by anybody of the firm; step 7 of the path of a call."""

from typing import get_args
from uuid import UUID

import orjson
from pydantic import Field

from domain.kernel import TaskId
from domain.paging import DEFAULT_PAGE, page_request
from domain.schedules.model import CreateSchedule, Schedule, ScheduleField, ScheduleId, ScheduleQuery, UpdateSchedule
from domain.taint import Taint
from tools.handlers.arguments import Arguments, OpenObject
from tools.outcomes import Json
from tools.views.tasks import schedule_json
from tools.views.values import page_json
from tools.work import CallContext, Handler


class ScheduleCreate(Arguments):
    task_id: UUID
    cron: str
    time_zone: str = "UTC"
    input: OpenObject = Field(default_factory=dict)


class ScheduleUpdate(Arguments):
    schedule_id: UUID
    cron: str = ""
    time_zone: str = ""
    input: OpenObject = Field(default_factory=dict)
    paused: bool = False


class ScheduleDelete(Arguments):
    schedule_id: UUID


class ScheduleList(Arguments):
    task_id: UUID | None = None
    limit: int = DEFAULT_PAGE
    cursor: str | None = None


async def schedule_create(arguments: ScheduleCreate, context: CallContext) -> Json:
    """Effect  writes schedules."""
    asked = CreateSchedule(
        task_id=TaskId(arguments.task_id),
        cron=arguments.cron,
        time_zone=arguments.time_zone,
        input=_text(arguments.input),
    )
    schedule = await context.work.schedules.create(
        asked,
        schedule_id=ScheduleId(context.new_id()),
        created_by=context.principal.principal_id,
        now=context.now,
    )
    context.told.add(_taint(schedule))
    return {"schedule": schedule_json(schedule)}


async def schedule_update(arguments: ScheduleUpdate, context: CallContext) -> Json:
    """Effect  writes schedules."""
    asked = UpdateSchedule(
        given=frozenset(field for field in get_args(ScheduleField) if field in arguments.model_fields_set),
        cron=arguments.cron,
        time_zone=arguments.time_zone,
        input=_text(arguments.input),
        paused=arguments.paused,
    )
    schedule = await context.work.schedules.update(ScheduleId(arguments.schedule_id), asked, context.now)
    context.told.add(_taint(schedule))
    return {"schedule": schedule_json(schedule)}


async def schedule_delete(arguments: ScheduleDelete, context: CallContext) -> Json:
    """Effect  writes schedules."""
    schedule = await context.work.schedules.remove(ScheduleId(arguments.schedule_id))
    context.told.add(_taint(schedule))
    return {"schedule": schedule_json(schedule)}


async def schedule_list(arguments: ScheduleList, context: CallContext) -> Json:
    query = ScheduleQuery(
        page=page_request(arguments.cursor, arguments.limit),
        task_id=None if arguments.task_id is None else TaskId(arguments.task_id),
    )
    page = await context.work.schedules.list(query)
    context.told.add(*(_taint(schedule) for schedule in page.items))
    return page_json(page, schedule_json)


def _taint(schedule: Schedule) -> Taint:
    """Its title and kind are its task's; only the firm's own people see schedules."""
    return Taint(trust=schedule.trust, firm=True)


def _text(value: Json) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


SCHEDULE_CREATE = Handler(arguments=ScheduleCreate, work=schedule_create)
SCHEDULE_UPDATE = Handler(arguments=ScheduleUpdate, work=schedule_update)
SCHEDULE_DELETE = Handler(arguments=ScheduleDelete, work=schedule_delete)
SCHEDULE_LIST = Handler(arguments=ScheduleList, work=schedule_list)
