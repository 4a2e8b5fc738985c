"""A task, for people or for a workflow, and a run of one in the background."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal, NewType
from uuid import UUID

from domain.kernel import (
    Audience,
    CallId,
    ConversationId,
    EngagementId,
    Outcome,
    PrincipalId,
    RunId,
    TaskId,
    TaskRunId,
    Trust,
)
from domain.paging import FIRST_PAGE, PageRequest
from domain.taint import Taint, taint_of

ReminderId = NewType("ReminderId", UUID)
OBJECTIVE = "objective"
"""The kind of a task that the agent itself is to do, as its words say; every other kind names a workflow."""

TaskStatus = Literal["open", "in_progress", "done", "cancelled"]
TaskRunStatus = Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]
StepStatus = Literal["queued", "running", "waiting", "done", "failed", "cancelled", "skipped"]
TaskField = Literal["title", "description", "status", "assignee", "due_on", "engagement_id"]
"""What of a task can be changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTask:
    """A task as it was asked for; `kind` names a workflow, without it the task is for people."""

    title: str
    description: str = ""
    kind: str | None = None
    engagement_id: EngagementId | None = None
    assignee: str | None = None
    """An e-mail address of the organization's."""
    due_on: date | None = None
    input: str = "{}"
    """The workflow's input: a JSON object as canonical text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTask:
    """Changes to a task as they were asked for: the fields in `given` take these values, all others stay."""

    given: frozenset[TaskField]
    title: str = ""
    description: str = ""
    status: TaskStatus = "open"
    assignee: str | None = None
    """An e-mail address of the organization's; None: nobody's."""
    due_on: date | None = None
    engagement_id: EngagementId | None = None
    expected_version: int | None = None
    """The version that whoever asks has read; None: whatever it is by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChange:
    """Changes ready to be stored: the assignee found, the audience settled; None leaves that as it is."""

    task_id: TaskId
    asked: UpdateTask
    assignee_id: PrincipalId | None
    audience: Audience | None
    changed_at: datetime
    trust: Trust
    """Of the new words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task ready to be stored: what was asked for, its assignee found, its audience settled."""

    task_id: TaskId
    asked: CreateTask
    assignee_id: PrincipalId | None
    audience: Audience
    created_by: PrincipalId
    created_at: datetime
    trust: Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignee:
    """A member to whom a task can be given."""

    principal_id: PrincipalId
    is_client: bool
    on_engagement: bool
    """Bound to the task's engagement; clients see nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestRun:
    """The newest run of a task, as its task shows it."""

    task_run_id: TaskRunId
    status: TaskRunStatus
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task, as its readers see it."""

    task_id: TaskId
    title: str
    description: str
    kind: str | None
    status: TaskStatus
    audience: Audience
    engagement_id: EngagementId | None
    assignee: str | None
    """An e-mail address, like `created_by`."""
    due_on: date | None
    input: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    version: int
    """Grows by one with each change."""
    latest_run: LatestRun | None
    trust: Trust
    """Of the least trusted thing that its words were made of."""

    @property
    def taint(self) -> Taint:
        """What whoever reads it is told."""
        return taint_of(self.trust, self.audience, self.engagement_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReminder:
    """A reminder ready to be stored."""

    reminder_id: ReminderId
    task_id: TaskId
    text: str
    call_id: CallId
    reminded_by: PrincipalId
    reminded_at: datetime
    trust: Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    """What somebody was told of a task that is not done, as readers of the task see it."""

    reminder_id: ReminderId
    task_id: TaskId
    text: str
    reminded_by: str
    """An e-mail address."""
    reminded_at: datetime
    trust: Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """Which tasks; None leaves a filter out."""

    page: PageRequest = FIRST_PAGE
    status: TaskStatus | None = None
    engagement_id: EngagementId | None = None
    assignee: str | None = None
    created_by: str | None = None
    kind: str | None = None
    due_from: date | None = None
    due_to: date | None = None
    """Both days included; a task without a day is then left out."""
    audience: Audience | None = None
    unfinished: bool = False
    """Only those that are neither done nor cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRunStep:
    """One step of a workflow as far as it has come; each is a call of its own."""

    name: str
    tool: str
    status: StepStatus = "queued"
    call_id: CallId | None = None
    """The newest call; None also of a step that makes one for each item of a list."""
    outcome: Outcome | None = None
    attempts: int = 0
    """How often its call was made, each time recorded by itself."""
    items: int | None = None
    """How many calls it makes, where it makes one for each item of a list."""
    items_done: int = 0
    items_left: int = 0
    """Of a list: how many more of it are left for the next run."""
    rest: str | None = None
    """The cursor of what is left."""

    @property
    def share_done(self) -> float:
        """From 0 to 1."""
        if self.status in ("done", "skipped"):
            return 1.0
        return self.items_done / self.items if self.items else 0.0


def share_done(steps: Sequence[TaskRunStep]) -> float:
    """How much of a run is done, from 0 to 1: each step counts alike."""
    return sum(step.share_done for step in steps) / max(len(steps), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTaskRun:
    """A run ready to be stored."""

    task_run_id: TaskRunId
    task_id: TaskId
    kind: str
    input: str
    call_id: CallId
    """The call that asked for it."""
    requested_by: PrincipalId
    created_at: datetime
    trust: Trust
    """Of the input that it is started with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """A person's or an agent's word that a run shall stop."""

    task_run_id: TaskRunId
    call_id: CallId
    """The call that says so."""
    cancelled_by: PrincipalId
    reason: str
    cancelled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the worker has come with a run."""

    status: TaskRunStatus
    progress: float
    """From 0 to 1."""
    message: str
    steps: tuple[TaskRunStep, ...]
    failure: str | None
    started_at: datetime | None
    updated_at: datetime | None
    finished_at: datetime | None
    version: int
    """Grows with each change."""
    deadline: datetime | None = None
    """By when a run that works must have come to its end."""


QUEUED = Progress(
    status="queued",
    progress=0.0,
    message="",
    steps=(),
    failure=None,
    started_at=None,
    updated_at=None,
    finished_at=None,
    version=-1,
)
"""A run that no worker has taken up yet has no row of progress."""

TERMINAL: frozenset[TaskRunStatus] = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUp:
    """A run as the worker takes it up."""

    progress: Progress
    anew: bool
    """Nobody took it up before: none of its steps was begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRunAnswer:
    """What the agent's run came to that did the task; its requester can open the conversation."""

    conversation_id: ConversationId
    run_id: RunId
    attempt: int
    """Runs of the agent's that broke off before this one."""
    text: str | None = None
    """None: it has not answered yet."""
    citations: str = "[]"
    """A JSON array, as the run told them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """One run of a task's workflow, with its progress."""

    task_run_id: TaskRunId
    task_id: TaskId
    kind: str
    input: str
    call_id: CallId
    requester_id: PrincipalId
    requested_by: str
    """The requester's e-mail address; the run acts on that person's behalf."""
    engagement_id: EngagementId | None
    """The task's."""
    created_at: datetime
    progress: Progress
    answer: TaskRunAnswer | None = None
    """Of a task that the agent does, once it was begun."""
    audience: Audience = "firm"
    """The task's: whoever sees that sees its runs, with what they were started with."""
    trust: Trust = "internal"
    """Of the least trusted thing that it was started with or told."""

    @property
    def taint(self) -> Taint:
        """What whoever reads it is told; an answer may tell of anything that its requester may see."""
        given = taint_of(self.trust, self.audience, self.engagement_id)
        return given if self.answer is None else replace(given, firm=True)
