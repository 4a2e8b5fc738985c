"""Sets schedules up, changes and removes them, and says when each is due next and how it went last."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from domain.kernel import DomainError, NotFound, PrincipalId
from domain.paging import Page, Position, page_of
from domain.schedules.model import (
    CreateSchedule,
    NewSchedule,
    Schedule,
    ScheduleId,
    ScheduleQuery,
    StoredSchedule,
    UpdateSchedule,
)
from domain.schedules.ports import ScheduledTasks, ScheduleRepository
from domain.schedules.timing import Timing

MOST_SCHEDULES = 500


class ScheduleNotFound(NotFound):
    """No such schedule that this principal may see."""

    code: ClassVar[str] = "schedule_not_found"

    def __init__(self, schedule_id: ScheduleId) -> None:
        super().__init__(f"schedule_id: no schedule {schedule_id}")
        self.schedule_id = schedule_id


class NoScheduleChange(DomainError):
    """A change that names no field."""

    code: ClassVar[str] = "nothing_to_change"

    def __init__(self) -> None:
        super().__init__("say what to change: cron, time_zone, input or paused")


class TooManySchedules(DomainError):
    """The organization has as many schedules as are kept in order."""

    code: ClassVar[str] = "too_many_schedules"

    def __init__(self) -> None:
        super().__init__(f"there are {MOST_SCHEDULES} schedules already: delete one that is no longer needed")


@dataclass(frozen=True, slots=True)
class ScheduleService:
    """Schedules of one organization."""

    schedules: ScheduleRepository
    tasks: ScheduledTasks

    async def create(
        self, asked: CreateSchedule, *, schedule_id: ScheduleId, created_by: PrincipalId, now: datetime
    ) -> Schedule:
        """A new schedule, due for the first time after now.

        Effect  writes schedules.
        Raises  InvalidCron, UnknownTimeZone, TaskNotFound, NotRunnable, InputTooLarge, TooManySchedules.
        """
        timing = Timing.parse(asked.cron, asked.time_zone, now)
        await self.tasks.runnable(asked.task_id, asked.input)
        if await self.schedules.count() >= MOST_SCHEDULES:
            raise TooManySchedules
        stored = StoredSchedule(
            schedule_id=schedule_id,
            task_id=asked.task_id,
            timing=timing,
            input=asked.input,
            paused=False,
            next_run_at=timing.after(now),
        )
        await self.schedules.add(NewSchedule(stored=stored, created_by=created_by, created_at=now))
        return await self.get(schedule_id)

    async def update(self, schedule_id: ScheduleId, asked: UpdateSchedule, now: datetime) -> Schedule:
        """The schedule with the given fields changed. What fell due while it was paused is not made up for.

        Effect  writes schedules.
        Raises  ScheduleNotFound, NoScheduleChange, InvalidCron, UnknownTimeZone, NotRunnable, InputTooLarge.
        """
        if not asked.given:
            raise NoScheduleChange
        await self.schedules.lock(schedule_id)
        stored = _changed((await self.get(schedule_id)).stored, asked, now)
        if "input" in asked.given:
            await self.tasks.runnable(stored.task_id, stored.input)
        await self.schedules.change(stored, now)
        return await self.get(schedule_id)

    async def remove(self, schedule_id: ScheduleId) -> Schedule:
        """The schedule as it was; what it has started goes on.

        Effect  writes schedules.
        Raises  ScheduleNotFound.
        """
        await self.schedules.lock(schedule_id)
        schedule = await self.get(schedule_id)
        await self.schedules.remove(schedule_id)
        return schedule

    async def list(self, query: ScheduleQuery) -> Page[Schedule]:
        """A page of schedules, newest first."""
        return page_of(await self.schedules.list(query), query.page, _place)

    async def get(self, schedule_id: ScheduleId) -> Schedule:
        """One schedule.

        Raises  ScheduleNotFound.
        """
        schedule = await self.schedules.get(schedule_id)
        if schedule is None:
            raise ScheduleNotFound(schedule_id)
        return schedule


def _changed(stored: StoredSchedule, asked: UpdateSchedule, now: datetime) -> StoredSchedule:
    timing = stored.timing
    if asked.given & {"cron", "time_zone"}:
        timing = Timing.parse(
            asked.cron if "cron" in asked.given else timing.cron,
            asked.time_zone if "time_zone" in asked.given else timing.time_zone,
            now,
        )
    paused = asked.paused if "paused" in asked.given else stored.paused
    # What is due and not taken up yet stays due, unless its times have changed.
    kept = timing == stored.timing and not stored.paused
    return replace(
        stored,
        timing=timing,
        input=asked.input if "input" in asked.given else stored.input,
        paused=paused,
        next_run_at=None if paused else stored.next_run_at if kept else timing.after(now),
    )


def _place(schedule: Schedule) -> Position:
    return Position(time=schedule.created_at, id=schedule.stored.schedule_id)
