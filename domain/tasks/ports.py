"""What tasks need of the database, and what the worker needs to say how far it has come."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.kernel import EngagementId, TaskId, TaskRunId
from domain.tasks.model import (
    Assignee,
    NewTask,
    NewTaskRun,
    Progress,
    Task,
    TaskQuery,
    TaskRun,
    TaskRunStatus,
    TaskRunStep,
)


class TaskRepository(Protocol):
    """The tasks that the transaction's principal may see."""

    async def add(self, task: NewTask) -> None: ...

    async def list(self, query: TaskQuery) -> Sequence[Task]:
        """Newest first; one more than the page holds where there are more."""
        ...

    async def get(self, task_id: TaskId) -> Task | None: ...

    async def add_run(self, run: NewTaskRun) -> None: ...

    async def get_run(self, task_run_id: TaskRunId) -> TaskRun | None: ...

    async def engagement_exists(self, engagement_id: EngagementId) -> bool: ...

    async def assignee(self, email: str, engagement_id: EngagementId | None) -> Assignee | None: ...


class TaskRunProgress(Protocol):
    """Where the worker writes how far a run has come: plumbing, no ticket.

    A run that has ended stays as it ended: each method then changes nothing.
    """

    async def start(self, task_run_id: TaskRunId, steps: Sequence[TaskRunStep], now: datetime) -> Progress:
        """Take the run up, or take it over: the progress to go on from, whose finished steps are not done again."""
        ...

    async def advance(
        self,
        task_run_id: TaskRunId,
        steps: Sequence[TaskRunStep],
        message: str,
        now: datetime,
        *,
        status: TaskRunStatus = "running",
    ) -> None:
        """Say where it stands; the share done is that of the finished steps."""
        ...

    async def finish(
        self, task_run_id: TaskRunId, status: TaskRunStatus, message: str, now: datetime, *, failure: str | None = None
    ) -> None:
        """End the run: completed, failed with a reason that a person understands, or cancelled."""
        ...
