"""Creates tasks, lists them, and starts runs of those that a workflow can do."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, cast

import orjson

from domain.kernel import Audience, CallId, DomainError, EngagementId, NotFound, PrincipalId, TaskId, TaskRunId
from domain.paging import Page, Position, page_of
from domain.tasks.model import Assignee, CreateTask, NewTask, NewTaskRun, Task, TaskQuery, TaskRun
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


@dataclass(frozen=True, slots=True)
class TaskService:
    """Tasks of one organization, as far as the principal may see them."""

    tasks: TaskRepository
    kinds: frozenset[str]
    """The names of all workflows."""

    async def create(self, asked: CreateTask, *, task_id: TaskId, created_by: PrincipalId, now: datetime) -> Task:
        """A new open task.

        Effect  writes tasks.
        Raises  UnknownWorkflow, EngagementNotFound, AssigneeNotFound, AssigneeNotOnEngagement, InputTooLarge.
        """
        if len(asked.input) > INPUT_LIMIT:
            raise InputTooLarge
        if asked.kind is not None and asked.kind not in self.kinds:
            raise UnknownWorkflow(asked.kind, self.kinds)
        if asked.engagement_id is not None and not await self.tasks.engagement_exists(asked.engagement_id):
            raise EngagementNotFound(asked.engagement_id)
        assignee = await self._assignee(asked)
        new = NewTask(
            task_id=task_id,
            asked=asked,
            assignee_id=None if assignee is None else assignee.principal_id,
            audience=_audience(assignee),
            created_by=created_by,
            created_at=now,
        )
        await self.tasks.add(new)
        return await self.get(task_id)

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

    async def run(
        self,
        task_id: TaskId,
        given: str,
        *,
        task_run_id: TaskRunId,
        call_id: CallId,
        requested_by: PrincipalId,
        now: datetime,
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
        )
        await self.tasks.add_run(run)
        return await self.get_run(task_run_id)

    async def get_run(self, task_run_id: TaskRunId) -> TaskRun:
        """One run with its progress.

        Raises  TaskRunNotFound.
        """
        run = await self.tasks.get_run(task_run_id)
        if run is None:
            raise TaskRunNotFound(task_run_id)
        return run

    async def _assignee(self, asked: CreateTask) -> Assignee | None:
        if asked.assignee is None:
            return None
        found = await self.tasks.assignee(asked.assignee, asked.engagement_id)
        if found is None:
            raise AssigneeNotFound(asked.assignee)
        if found.is_client and not found.on_engagement:
            raise AssigneeNotOnEngagement(asked.assignee)
        return found

    def _runnable_kind(self, task: Task) -> str:
        if task.kind is None:
            raise NotRunnable("this task is for people, not for a workflow", self.kinds)
        if task.kind not in self.kinds:
            raise NotRunnable(f"its workflow {task.kind!r} is no more", self.kinds)
        if task.status == "cancelled":
            raise NotRunnable("this task was cancelled", self.kinds)
        return task.kind


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
