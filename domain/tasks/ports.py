"""What tasks need of the database, and what the worker needs to say how far it has come."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from domain.kernel import EngagementId, TaskId, TaskRunId
from domain.tasks.model import (
    Assignee,
    Cancellation,
    NewReminder,
    NewTask,
    NewTaskRun,
    Reminder,
    TakenUp,
    Task,
    TaskChange,
    TaskQuery,
    TaskRun,
    TaskRunAnswer,
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

    async def lock(self, task_id: TaskId) -> None:
        """Let nobody else change the task until this transaction ends; what is read from now on stands still."""
        ...

    async def change(self, change: TaskChange) -> None: ...

    async def add_run(self, run: NewTaskRun) -> None: ...

    async def get_run(self, task_run_id: TaskRunId) -> TaskRun | None: ...

    async def lock_run(self, task_run_id: TaskRunId) -> None:
        """Until the transaction ends nobody else cancels or settles the run, and no step of it asks a person."""
        ...

    async def cancel_run(self, cancellation: Cancellation) -> bool:
        """End a run as cancelled and let none of its steps begin from now on; False where it had ended."""
        ...

    async def settle_run(self, task_run_id: TaskRunId, steps: Sequence[TaskRunStep], message: str) -> None:
        """Say what of a cancelled run was done."""
        ...

    async def remind(self, reminder: NewReminder) -> None: ...

    async def reminders(self, task_id: TaskId) -> Sequence[Reminder]:
        """Newest first; at most 20."""
        ...

    async def engagement_exists(self, engagement_id: EngagementId) -> bool: ...

    async def assignee(self, email: str, engagement_id: EngagementId | None) -> Assignee | None: ...


class TaskRunProgress(Protocol):
    """Where the worker writes how far a run has come: plumbing, no ticket.

    A run that has ended stays as it ended: each method then changes nothing.
    """

    async def start(
        self, task_run_id: TaskRunId, steps: Sequence[TaskRunStep], now: datetime, within: timedelta
    ) -> TakenUp:
        """Take the run up, or take it over; it may work for that long, as far as nobody said so before."""
        ...

    async def advance(
        self,
        task_run_id: TaskRunId,
        steps: Sequence[TaskRunStep],
        message: str,
        now: datetime,
        *,
        status: TaskRunStatus = "running",
    ) -> bool:
        """Say where it stands; the share done is that of the finished steps. False: it has ended meanwhile."""
        ...

    async def finish(
        self,
        task_run_id: TaskRunId,
        status: TaskRunStatus,
        steps: Sequence[TaskRunStep],
        message: str,
        now: datetime,
        *,
        failure: str | None = None,
    ) -> bool:
        """End the run: completed, or failed with a reason that a person understands. False: it had ended already."""
        ...

    async def before(self, run: TaskRun) -> Sequence[TaskRunStep]:
        """The steps of the task's run before this one, as they stand; none where this is the first."""
        ...

    async def answer(self, task_run_id: TaskRunId, answer: TaskRunAnswer) -> None:
        """Say which run of the agent's does the task, and what it answered."""
        ...
