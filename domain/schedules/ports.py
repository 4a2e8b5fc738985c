"""What schedules need of the database, and what the worker needs to say how a due time went."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.kernel import TaskId
from domain.schedules.model import Firing, NewSchedule, Schedule, ScheduleId, ScheduleQuery, StoredSchedule
from domain.tasks.model import Task


class ScheduleRepository(Protocol):
    """The schedules that the transaction's principal may see."""

    async def add(self, schedule: NewSchedule) -> None: ...

    async def count(self) -> int: ...

    async def list(self, query: ScheduleQuery) -> Sequence[Schedule]:
        """Newest first; one more than the page holds where there are more."""
        ...

    async def get(self, schedule_id: ScheduleId) -> Schedule | None: ...

    async def lock(self, schedule_id: ScheduleId) -> None:
        """Let nobody else change the schedule until this transaction ends."""
        ...

    async def change(self, schedule: StoredSchedule, changed_at: datetime) -> None: ...

    async def remove(self, schedule_id: ScheduleId) -> None: ...


class ScheduleProgress(Protocol):
    """Where the worker writes how a due time went: plumbing, no ticket."""

    async def fired(self, firing: Firing) -> None:
        """Say how a due time went, as often as one likes; of one before the last nothing is said.

        It is due next as the firing has it, unless a change of the schedule gave it another due time meanwhile.
        """
        ...


class ScheduledTasks(Protocol):
    """What schedules ask of tasks."""

    async def runnable(self, task_id: TaskId, given: str) -> Task:
        """The task, where a run of it could be started with this input."""
        ...
