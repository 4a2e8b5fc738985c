"""The group writer: events of calls that hold no transaction, and frames of runs, in batches as glow_recorder.

Everyone who hands something in waits until it is committed. The first to come is written at once; what comes while a
write is under way goes with the next (group commit), and a trickle of run frames is held back so that a process commits
at most about twenty times a second for them.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import structlog

from agent.conversations.postgres import insert_frames
from agent.events import RunFrame
from domain.activity.model import ActivityEvent
from domain.activity.postgres import insert_events
from domain.kernel import OrganizationId
from server.database.connection import PooledConnection
from server.database.errors import DatabaseUnavailable
from server.database.pool import Pool
from server.database.unit_of_work import ONE_CALL
from server.logins import Login
from tools.ports import DuplicateCall

log = structlog.get_logger()

LINGER_S = 0.05
"""Between two writes that hold nothing urgent."""
LARGEST_BATCH = 500
LONGEST_QUEUE = 10_000
"""Entries that may wait; then those who hand in wait to be let in."""
PATIENCE_S = 5.0
"""For a database that is away; then the batch's waiters are told."""
PAUSE_S = 0.2
OWN_KEYS = frozenset({"activity_events_pkey", "activity_payloads_pkey", "run_events_pkey"})


@dataclass(slots=True, kw_only=True)
class Entry:
    """What one caller handed in together: written together or not at all."""

    committed: asyncio.Future[None]
    events: Sequence[ActivityEvent] = ()
    organization_id: OrganizationId | None = None
    frames: Sequence[RunFrame] = field(default_factory=tuple[RunFrame, ...])
    urgent: bool = True


class GroupRecorder:
    """Satisfies tools.ports.Recorder and the agent's RunLog; `running` must be entered first."""

    def __init__(self, pool: Pool, monotonic: Callable[[], float], patience_s: float = PATIENCE_S) -> None:
        self._pool = pool
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._waiting: list[Entry] = []
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._room = asyncio.Semaphore(LONGEST_QUEUE)
        self._closing = False
        self._writer: asyncio.Task[None] | None = None
        self.batches = 0
        """Commits so far, for benchmarks."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The writer runs for the length of the block; at its end what was handed in is still written."""
        writer = self._writer = asyncio.create_task(self._write_batches(), name="recorder")
        try:
            yield
        finally:
            self._closing = True
            self._arrived.set()
            self._urgent.set()
            await writer

    @property
    def alive(self) -> bool:
        """True while what is handed in gets written, for readiness."""
        return self._writer is not None and not self._writer.done()

    async def record(self, events: Sequence[ActivityEvent]) -> None:
        """Returns when the events are committed.

        Raises  Unavailable: the database stayed away; the events are not recorded.
                DuplicateCall: one of them opens a call that was opened before.
        """
        await self._hand_in(Entry(committed=self._future(), events=events))

    async def append(self, organization_id: OrganizationId, frames: Sequence[RunFrame], *, urgent: bool) -> None:
        """Returns when the frames are committed; what is not urgent may linger.

        Raises  Unavailable: the database stayed away; the frames are not stored.
        """
        entry = Entry(committed=self._future(), organization_id=organization_id, frames=frames, urgent=urgent)
        await self._hand_in(entry)

    async def _hand_in(self, entry: Entry) -> None:
        async with self._room:
            self._waiting.append(entry)
            self._arrived.set()
            if entry.urgent:
                self._urgent.set()
            # Whoever waits may be cancelled; what was handed in is written all the same.
            await asyncio.shield(entry.committed)

    def _future(self) -> asyncio.Future[None]:
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Its waiter may be gone by the time it fails; the log has told by then.
        committed.add_done_callback(lambda done: done.cancelled() or done.exception())
        return committed

    async def _write_batches(self) -> None:
        last = self._monotonic() - LINGER_S
        while True:
            await self._arrived.wait()
            await self._linger(last)
            batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
            if not self._waiting:
                self._arrived.clear()
                self._urgent.clear()
            if not batch and self._closing:
                return
            last = self._monotonic()
            if batch:
                await self._write(batch)
            if self._closing:
                self._arrived.set()

    async def _linger(self, last: float) -> None:
        """Wait out the pause since the last write, unless something urgent comes."""
        pause = last + LINGER_S - self._monotonic()
        if pause <= 0 or self._urgent.is_set():
            return
        try:
            await asyncio.wait_for(self._urgent.wait(), pause)
        except TimeoutError:
            return

    async def _write(self, batch: list[Entry]) -> None:
        """Write a batch and tell everyone in it, whatever comes: the writer outlives every fault."""
        try:
            await self._commit_patiently(batch)
        except asyncpg.PostgresError:
            # One entry spoils the batch: each on its own, so that only the spoiler fails.
            for entry in batch:
                await self._write_alone(entry)
        except Exception as fault:
            log.error("recorder.failed", exc_info=fault)
            _tell(batch, fault)
        else:
            _tell(batch, None)

    async def _write_alone(self, entry: Entry) -> None:
        try:
            await self._commit_patiently([entry])
        except asyncpg.UniqueViolationError as violation:
            _tell([entry], _meaning_of(violation))
        except Exception as fault:
            log.error("recorder.refused", exc_info=fault)
            _tell([entry], fault)
        else:
            _tell([entry], None)

    async def _commit_patiently(self, batch: Sequence[Entry]) -> None:
        deadline = self._monotonic() + self._patience_s
        while True:
            try:
                return await self._commit(batch)
            except DatabaseUnavailable:
                if self._closing or self._monotonic() >= deadline:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def _commit(self, batch: Sequence[Entry]) -> None:
        events = [event for entry in batch for event in entry.events]
        frames = [
            (entry.organization_id, frame)
            for entry in batch
            if entry.organization_id is not None
            for frame in entry.frames
        ]
        try:
            async with self._pool.acquire(timeout_s=self._patience_s) as connection, connection.transaction():
                await _insert(connection, events, frames)
        except (TimeoutError, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError) as late:
            raise DatabaseUnavailable(Login.RECORDER, type(late).__name__) from late
        self.batches += 1


async def _insert(
    connection: PooledConnection, events: Sequence[ActivityEvent], frames: Sequence[tuple[OrganizationId, RunFrame]]
) -> None:
    if events:
        await insert_events(connection, events)
    if frames:
        await insert_frames(connection, frames)


def _meaning_of(violation: asyncpg.UniqueViolationError) -> Exception | None:
    """What a doubled row means: None for one that is there already, by a commit whose answer was lost."""
    if violation.constraint_name in OWN_KEYS:
        return None
    if violation.constraint_name in ONE_CALL:
        return DuplicateCall("the call was recorded before")
    return violation


def _tell(batch: Sequence[Entry], fault: Exception | None) -> None:
    for entry in batch:
        if entry.committed.done():
            continue
        if fault is None:
            entry.committed.set_result(None)
        else:
            entry.committed.set_exception(fault)
