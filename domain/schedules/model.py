"""A schedule: the task that it runs, when it is due, and how it went last."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType
from uuid import UUID

from domain.kernel import CallId, Outcome, PrincipalId, TaskId, TaskRunId, Trust
from domain.paging import FIRST_PAGE, PageRequest
from domain.schedules.timing import Timing
from domain.tasks.model import TaskRunStatus, TaskStatus

ScheduleId = NewType("ScheduleId", UUID)
ScheduleField = Literal["cron", "time_zone", "input", "paused"]
"""What of a schedule can be changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSchedule:
    """A schedule as it was asked for."""

    task_id: TaskId
    cron: str
    time_zone: str
    input: str = "{}"
    """A JSON object as canonical text; its members take the place of the task's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSchedule:
    """Changes to a schedule as they were asked for: the fields in `given` take these values, all others stay."""

    given: frozenset[ScheduleField]
    cron: str = ""
    time_zone: str = ""
    input: str = "{}"
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSchedule:
    """What of a schedule only calls write, and when it is due next; None: it is paused."""

    schedule_id: ScheduleId
    task_id: TaskId
    timing: Timing
    input: str
    paused: bool
    next_run_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """How it went when the schedule was due last."""

    due_at: datetime
    started_at: datetime
    """When a worker came to it."""
    missed: int
    """Due times that passed meanwhile, for which nothing was started; at most 1,000 are counted."""
    call_id: CallId
    """The call of `task_run`."""
    outcome: Outcome | None
    """How that call stands by now; None: nobody knows yet."""
    error_code: str | None
    task_run_id: TaskRunId | None
    """What it started, once it has."""
    task_run_status: TaskRunStatus | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule, as its readers see it."""

    stored: StoredSchedule
    task_title: str
    task_kind: str | None
    task_status: TaskStatus
    created_by: str
    """An e-mail address."""
    created_at: datetime
    updated_at: datetime
    last_run: LastRun | None
    trust: Trust = "internal"
    """The task's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleQuery:
    """Which schedules; None leaves a filter out."""

    page: PageRequest = FIRST_PAGE
    task_id: TaskId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """What became of one due time."""

    schedule_id: ScheduleId
    due_at: datetime
    started_at: datetime
    missed: int
    call_id: CallId
    next_run_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule ready to be stored."""

    stored: StoredSchedule
    created_by: PrincipalId
    created_at: datetime
