"""A task run as it goes, for whoever follows it from any process: its progress as numbered frames, to its end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson

from domain.kernel import Principal, TaskRunId
from domain.tasks.model import TaskRun, TaskRunStatus
from server.database.unit_of_work import PostgresTransactions
from tools.outcomes import Json
from tools.views import task_run_json

LOOK_EVERY_S = 0.5
"""How often a run that goes is looked at; its worker writes ten times a second at most."""
FIRST = 2
"""The number of a run's first progress less its version; that of a queued run is 1."""


FrameType = Literal[
    "task_run.progress", "task_run.waiting", "task_run.completed", "task_run.failed", "task_run.cancelled"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRunFrame:
    """Where a run stood at one moment. Numbers only grow; what a slow reader missed is contained in the next."""

    sequence: int
    type: FrameType
    data: str = field(repr=False)
    run: Json = field(repr=False)

    @property
    def terminal(self) -> bool:
        return self.type in ("task_run.completed", "task_run.failed", "task_run.cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRunFeed:
    """Reads a principal's view of a run over and over, and holds no connection in between."""

    transactions: PostgresTransactions
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def look(self, principal: Principal, task_run_id: TaskRunId) -> TaskRunFrame:
        """Where the run stands now.

        Raises  TaskRunNotFound: no such run that this principal may see.
        """
        async with self.transactions.session(principal.organization_id, principal.principal_id) as session:
            return frame_of(await session.work.tasks.get_run(task_run_id))

    async def pages(
        self, principal: Principal, task_run_id: TaskRunId, after: int
    ) -> AsyncGenerator[Sequence[TaskRunFrame], None]:
        """What becomes of the run behind `after`, to its end.

        Raises  TaskRunNotFound.
        """
        while True:
            frame = await self.look(principal, task_run_id)
            if frame.sequence > after:
                yield (frame,)
                after = frame.sequence
            if frame.terminal:
                return
            await self.pause(LOOK_EVERY_S)


def frame_of(run: TaskRun) -> TaskRunFrame:
    """The frame that shows a run as it stands; the same bytes for the same state, whoever asks."""
    sequence, kind, shown = run.progress.version + FIRST, _type_of(run.progress.status), task_run_json(run)
    told: Json = {"type": kind, "sequence": sequence, **shown}
    return TaskRunFrame(sequence=sequence, type=kind, data=orjson.dumps(told).decode(), run=shown)


def _type_of(status: TaskRunStatus) -> FrameType:
    match status:
        case "queued" | "running":
            return "task_run.progress"
        case "waiting":
            return "task_run.waiting"
        case "completed":
            return "task_run.completed"
        case "failed":
            return "task_run.failed"
        case "cancelled":
            return "task_run.cancelled"
