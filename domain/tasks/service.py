"""Creates tasks, lists them, and starts runs of those that a workflow can do."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, cast

import orjson

from domain.kernel import Audience, CallId, DomainError, EngagementId, NotFound, PrincipalId, TaskId, TaskRunId, Trust
from domain.paging import Page, Position, page_of
from domain.tasks.model import (
    Assignee,
    Cancellation,
    CreateTask,
    NewReminder,
    NewTask,
    NewTaskRun,
    Reminder,
    Task,
    TaskChange,
    TaskQuery,
    TaskRun,
    TaskRunStatus,
    TaskRunStep,
    TaskStatus,
    UpdateTask,
)
from domain.tasks.ports import TaskRepository

INPUT_LIMIT = 32_768


class TaskNotFound(NotFound):
    """No such task that this principal may see."""

    code: ClassVar[str] = "task_not_found"

    def __init__(self, task_id: TaskId) -> None:
        super().__init__(f"task_id: no task {task_id}")
        self.task_id = task_id


class TaskRunNotFound(NotFound):
    """No such task run that this principal may see."""

    code: ClassVar[str] = "task_run_not_found"

    def __init__(self, task_run_id: TaskRunId) -> None:
        super().__init__(f"task_run_id: no task run {task_run_id}")
        self.task_run_id = task_run_id


class EngagementNotFound(NotFound):
    """No such engagement that this principal may see."""

    code: ClassVar[str] = "engagement_not_found"

    def __init__(self, engagement_id: EngagementId) -> None:
        super().__init__(f"engagement_id: no engagement {engagement_id}")
        self.engagement_id = engagement_id


class AssigneeNotFound(NotFound):
    """Nobody of that address belongs to the organization."""

    code: ClassVar[str] = "assignee_not_found"

    def __init__(self, email: str) -> None:
        super().__init__(f"assignee: nobody here has the address {email}")
        self.email = email


class AssigneeNotOnEngagement(DomainError):
    """A client can only be given a task of an engagement that is theirs."""

    code: ClassVar[str] = "assignee_not_on_engagement"

    def __init__(self, email: str) -> None:
        super().__init__(f"assignee: {email} is a client, and can be given only tasks of their own engagement")
        self.email = email


class UnknownWorkflow(DomainError):
    """`kind` names no workflow."""

    code: ClassVar[str] = "unknown_workflow"

    def __init__(self, kind: str, kinds: Collection[str]) -> None:
        super().__init__(f"kind: no workflow is called {kind!r}; there are: {_named(kinds)}")
        self.kind = kind


class NotRunnable(DomainError):
    """The task is for people, cancelled, or of a workflow that is no more."""

    code: ClassVar[str] = "not_runnable"

    def __init__(self, why: str, kinds: Collection[str]) -> None:
        super().__init__(f"task_id: {why}; workflows that a task's kind can name: {_named(kinds)}")


class InputTooLarge(DomainError):
    """What the workflow is given is more than any workflow needs."""

    code: ClassVar[str] = "input_too_large"

    def __init__(self) -> None:
        super().__init__(f"input: longer than {INPUT_LIMIT} characters as JSON")


class NothingToChange(DomainError):
    """A change that names no field."""

    code: ClassVar[str] = "nothing_to_change"

    def __init__(self) -> None:
        super().__init__("say what to change: title, description, status, assignee, due_on or engagement_id")


class VersionConflict(DomainError):
    """Somebody changed the task since it was read."""

    code: ClassVar[str] = "version_conflict"

    def __init__(self, expected: int, version: int) -> None:
        super().__init__(f"expected_version: the task is at version {version} by now, not {expected}; read it again")
        self.version = version


class ClientTaskStays(DomainError):
    """What one client sees must not appear before another."""

    code: ClassVar[str] = "client_task_stays"

    def __init__(self) -> None:
        super().__init__("engagement_id: a client sees this task; give it to somebody else before it is moved")


class TaskFinished(DomainError):
    """Nobody is reminded of what is done."""

    code: ClassVar[str] = "task_finished"

    def __init__(self, status: TaskStatus) -> None:
        super().__init__(f"task_id: this task is {status}; there is nothing to remind anybody of")


class TaskRunEnded(DomainError):
    """The run came to its end before it could be cancelled; what it did stands."""

    code: ClassVar[str] = "already_ended"

    def __init__(self, status: TaskRunStatus) -> None:
        super().__init__(f"this run is {status} already; there is nothing left to cancel")
        self.status = status


@dataclass(frozen=True, slots=True)
class TaskService:
    """Tasks of one organization, as far as the principal may see them."""

    tasks: TaskRepository
    kinds: frozenset[str]
    """The names of all workflows."""

    async def create(
        self, asked: CreateTask, *, task_id: TaskId, created_by: PrincipalId, now: datetime, trust: Trust
    ) -> Task:
        """A new open task; `trust`: of its words.

        Effect  writes tasks.
        Raises  UnknownWorkflow, EngagementNotFound, AssigneeNotFound, AssigneeNotOnEngagement, InputTooLarge.
        """
        if len(asked.input) > INPUT_LIMIT:
            raise InputTooLarge
        if asked.kind is not None and asked.kind not in self.kinds:
            raise UnknownWorkflow(asked.kind, self.kinds)
        if asked.engagement_id is not None and not await self.tasks.engagement_exists(asked.engagement_id):
            raise EngagementNotFound(asked.engagement_id)
        assignee = await self._assignee(asked.assignee, asked.engagement_id)
        new = NewTask(
            task_id=task_id,
            asked=asked,
            assignee_id=None if assignee is None else assignee.principal_id,
            audience=_audience(assignee),
            created_by=created_by,
            created_at=now,
            trust=trust,
        )
        await self.tasks.add(new)
        return await self.get(task_id)

    async def update(self, task_id: TaskId, asked: UpdateTask, now: datetime, trust: Trust) -> Task:
        """The task with the given fields changed and all others as they are, whoever changes those meanwhile.

        Effect  writes tasks.
        Raises  TaskNotFound, NothingToChange, VersionConflict, EngagementNotFound, AssigneeNotFound,
                AssigneeNotOnEngagement, ClientTaskStays.
        """
        if not asked.given:
            raise NothingToChange
        # Who may see the task follows from assignee and engagement together: neither may move while they are weighed.
        await self.tasks.lock(task_id)
        task = await self.get(task_id)
        if asked.expected_version is not None and asked.expected_version != task.version:
            raise VersionConflict(asked.expected_version, task.version)
        assignee = await self._moved(task, asked)
        change = TaskChange(
            task_id=task_id,
            asked=asked,
            assignee_id=None if assignee is None else assignee.principal_id,
            audience=_audience(assignee) if "assignee" in asked.given else None,
            changed_at=now,
            trust=trust,
        )
        await self.tasks.change(change)
        return await self.get(task_id)

    async def _moved(self, task: Task, asked: UpdateTask) -> Assignee | None:
        """Whom the task is given to, where it is; held to the engagement that it will belong to."""
        engagement_id = asked.engagement_id if "engagement_id" in asked.given else task.engagement_id
        if engagement_id != task.engagement_id:
            if engagement_id is not None and not await self.tasks.engagement_exists(engagement_id):
                raise EngagementNotFound(engagement_id)
            if task.audience == "client" and "assignee" not in asked.given:
                raise ClientTaskStays
        return await self._assignee(asked.assignee, engagement_id)

    async def list(self, query: TaskQuery) -> Page[Task]:
        """A page of tasks, newest first."""
        return page_of(await self.tasks.list(query), query.page, _place)

    async def get(self, task_id: TaskId) -> Task:
        """One task.

        Raises  TaskNotFound.
        """
        task = await self.tasks.get(task_id)
        if task is None:
            raise TaskNotFound(task_id)
        return task

    async def remind(self, reminder: NewReminder) -> Reminder:
        """Put a reminder on a task that is not done, for whoever sees it.

        Effect  writes task_reminders.
        Raises  TaskNotFound, TaskFinished.
        """
        task = await self.get(reminder.task_id)
        if task.status in ("done", "cancelled"):
            raise TaskFinished(task.status)
        await self.tasks.remind(reminder)
        return (await self.tasks.reminders(task.task_id))[0]

    async def reminders(self, task_id: TaskId) -> Sequence[Reminder]:
        """The newest reminders on a task, newest first; none where this principal may not see it."""
        return await self.tasks.reminders(task_id)

    async def run(
        self,
        task_id: TaskId,
        given: str,
        *,
        task_run_id: TaskRunId,
        call_id: CallId,
        requested_by: PrincipalId,
        now: datetime,
        trust: Trust,
    ) -> TaskRun:
        """A new run, queued; `given` is a JSON object whose members take the place of the task's own input.

        Effect  writes task_runs.
        Raises  TaskNotFound, NotRunnable, InputTooLarge.
        """
        task = await self.get(task_id)
        run = NewTaskRun(
            task_run_id=task_run_id,
            task_id=task_id,
            kind=self._runnable_kind(task),
            input=_merged(task.input, given),
            call_id=call_id,
            requested_by=requested_by,
            created_at=now,
            trust=trust,
        )
        await self.tasks.add_run(run)
        return await self.get_run(task_run_id)

    async def runnable(self, task_id: TaskId, given: str) -> Task:
        """One task, where `run` would start it as it is now.

        Raises  TaskNotFound, NotRunnable, InputTooLarge.
        """
        task = await self.get(task_id)
        self._runnable_kind(task)
        _merged(task.input, given)
        return task

    async def get_run(self, task_run_id: TaskRunId) -> TaskRun:
        """One run with its progress.

        Raises  TaskRunNotFound.
        """
        run = await self.tasks.get_run(task_run_id)
        if run is None:
            raise TaskRunNotFound(task_run_id)
        return run

    async def hold_run(self, task_run_id: TaskRunId) -> TaskRun:
        """One run, which nobody else cancels or settles until this transaction ends.

        Raises  TaskRunNotFound.
        """
        await self.tasks.lock_run(task_run_id)
        return await self.get_run(task_run_id)

    async def cancel_run(self, cancellation: Cancellation) -> TaskRun:
        """The run, cancelled: no step of it begins from now on, and what was done stands.

        Effect  writes task_run_cancellations.
        Raises  TaskRunNotFound, TaskRunEnded.
        """
        run = await self.get_run(cancellation.task_run_id)
        if not await self.tasks.cancel_run(cancellation):
            raise TaskRunEnded((await self.get_run(run.task_run_id)).progress.status)
        # Read again, now that nobody moves it but this transaction.
        run = await self.get_run(run.task_run_id)
        return await self.settle(run, run.progress.steps)

    async def settle(self, run: TaskRun, steps: Sequence[TaskRunStep]) -> TaskRun:
        """Say of a cancelled run what became of its steps: those that had not begun never will."""
        stopped = [replace(step, status="cancelled") if step.status in _STOPPED else step for step in steps]
        await self.tasks.settle_run(run.task_run_id, stopped, _said_of(stopped))
        return await self.get_run(run.task_run_id)

    async def _assignee(self, email: str | None, engagement_id: EngagementId | None) -> Assignee | None:
        if email is None:
            return None
        found = await self.tasks.assignee(email, engagement_id)
        if found is None:
            raise AssigneeNotFound(email)
        if found.is_client and not found.on_engagement:
            raise AssigneeNotOnEngagement(email)
        return found

    def _runnable_kind(self, task: Task) -> str:
        if task.kind is None:
            raise NotRunnable("this task is for people, not for a workflow", self.kinds)
        if task.kind not in self.kinds:
            raise NotRunnable(f"its workflow {task.kind!r} is no more", self.kinds)
        if task.status == "cancelled":
            raise NotRunnable("this task was cancelled", self.kinds)
        return task.kind


def _said_of(steps: Sequence[TaskRunStep]) -> str:
    """What was done of a cancelled run, in words."""
    if not steps:
        return "Cancelled before it began."
    done = sum(step.status in ("done", "skipped") for step in steps)
    under_way = sum(step.status == "running" for step in steps)
    said = f"Cancelled; {done} of {len(steps)} steps done, which stands"
    return f"{said}, and {under_way} still under way." if under_way else f"{said}."


_STOPPED = frozenset({"queued", "waiting"})
"""Of a cancelled run: what had not begun, and what waited for an approval that is cancelled with it."""


def _audience(assignee: Assignee | None) -> Audience:
    # A task given to a client is one that the client sees; every other is the firm's own.
    return "client" if assignee is not None and assignee.is_client else "firm"


def _merged(own: str, given: str) -> str:
    merged = cast("dict[str, object]", orjson.loads(own)) | cast("dict[str, object]", orjson.loads(given))
    text = orjson.dumps(merged, option=orjson.OPT_SORT_KEYS).decode()
    if len(text) > INPUT_LIMIT:
        raise InputTooLarge
    return text


def _named(kinds: Collection[str]) -> str:
    return ", ".join(sorted(kinds)) or "none"


def _place(task: Task) -> Position:
    return Position(time=task.created_at, id=task.task_id)
