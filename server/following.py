"""A task run as it goes, for whoever follows it from any process: its progress as numbered frames, to its end."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import orjson

from domain.kernel import OrganizationId, Principal, PrincipalId, TaskRunId
from domain.tasks.model import TERMINAL, TaskRun, TaskRunStatus
from server.database.unit_of_work import PostgresTransactions
from tools.outcomes import Json
from tools.views.tasks import task_run_json

LOOK_EVERY_S = 0.5
"""How often a run that goes is looked at; its worker writes ten times a second at most."""
MOST_FOLLOWED = 64
"""Runs that one principal follows at once in this process; whoever asks for more is shown where a run stands."""
FIRST = 2
"""The number of a run's first progress less its version; that of a queued run is 1."""


FrameType = Literal[
    "task_run.progress", "task_run.waiting", "task_run.completed", "task_run.failed", "task_run.cancelled"
]
Watcher = tuple[OrganizationId, PrincipalId]


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


@dataclass(slots=True, kw_only=True, eq=False)
class _Watch:
    """One run as one principal's followers see it: they look in turn, and what one sees is seen by all."""

    followers: int = 0
    looks: int = 0
    run: TaskRun | None = None
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class TaskRunFeed:
    """Reads a principal's view of a run over and over, once for all who follow it, and holds no connection in between.

    Satisfies tools.ports.TaskRuns.
    """

    def __init__(self, transactions: PostgresTransactions) -> None:
        self._transactions = transactions
        self._watched: dict[Watcher, dict[TaskRunId, _Watch]] = {}
        self._ending = asyncio.Event()

    async def look(self, principal: Principal, task_run_id: TaskRunId) -> TaskRunFrame:
        """Where the run stands now.

        Raises  TaskRunNotFound: no such run that this principal may see.
        """
        return frame_of(await self._read(principal, task_run_id))

    async def pages(
        self, principal: Principal, task_run_id: TaskRunId, after: int
    ) -> AsyncGenerator[Sequence[TaskRunFrame], None]:
        """What becomes of the run behind `after`, as `states` tells it.

        Raises  TaskRunNotFound.
        """
        async with aclosing(self.states(principal, task_run_id, goes_on=False)) as states:
            async for run in states:
                frame = frame_of(run)
                if frame.sequence > after:
                    yield (frame,)
                    after = frame.sequence

    async def states(
        self, principal: Principal, task_run_id: TaskRunId, *, goes_on: bool
    ) -> AsyncGenerator[TaskRun, None]:
        """Where the run stands, and again whenever that has changed: to its end, or until this process is to stop.

        `goes_on`: whoever asks is handed over to another process then, and until then goes on.
        Raises  TaskRunNotFound. Unavailable: no database.
        """
        run = await self._read(principal, task_run_id)
        yield run
        with self._joined(principal, task_run_id) as watch:
            while watch is not None and run.progress.status not in TERMINAL and (goes_on or not self._ending.is_set()):
                seen, run = run.progress.version, await self._next(watch, principal, task_run_id)
                if run.progress.version > seen:
                    yield run

    def end_all(self) -> None:
        """Whoever follows a run, and is not handed over, is left with where it stands; so is who asks from now on."""
        self._ending.set()

    async def _next(self, watch: _Watch, principal: Principal, task_run_id: TaskRunId) -> TaskRun:
        """What is seen next, by whichever follower's turn it is to look."""
        seen = watch.looks
        async with watch.looking:
            if watch.run is None or watch.looks == seen:
                await self._pause()
                watch.run = await self._read(principal, task_run_id)
                watch.looks += 1
            return watch.run

    async def _pause(self) -> None:
        if self._ending.is_set():
            await asyncio.sleep(LOOK_EVERY_S)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._ending.wait()

    async def _read(self, principal: Principal, task_run_id: TaskRunId) -> TaskRun:
        async with self._transactions.session(principal.organization_id, principal.principal_id) as session:
            return await session.work.tasks.get_run(task_run_id)

    @contextmanager
    def _joined(self, principal: Principal, task_run_id: TaskRunId) -> Generator[_Watch | None]:
        """The principal's watch of the run, which the last to leave takes down; None: it follows too many."""
        watcher = (principal.organization_id, principal.principal_id)
        watched = self._watched.setdefault(watcher, {})
        if task_run_id not in watched and len(watched) >= MOST_FOLLOWED:
            yield None
            return
        watch = watched.setdefault(task_run_id, _Watch())
        watch.followers += 1
        try:
            yield watch
        finally:
            watch.followers -= 1
            if not watch.followers:
                del watched[task_run_id]
            if not watched:
                self._watched.pop(watcher, None)


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
