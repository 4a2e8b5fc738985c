"""The group writer: events of calls that hold no transaction, and frames of runs, in batches as glow_recorder.

Everyone who hands something in waits until it is committed. A call's record is written at once, and so is its intent,
the frame that says it is about to be made; what comes while a write is under way goes with the next (group commit).
Frames of runs go along with it, and by themselves at most twenty times a second: those that somebody watches for
without delay while there is room for them, a trickle after a moment.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from enum import IntEnum

import asyncpg
import structlog

from agent.conversations.postgres.frames import insert_frames
from agent.conversations.refusals import RunTaken
from agent.events import RunFrame
from domain.activity.model import ActivityEvent
from domain.activity.postgres import insert_events
from domain.kernel import OrganizationId, RunId
from server.database.connection import PooledConnection
from server.database.errors import DatabaseUnavailable
from server.database.pool import Pool
from server.database.unit_of_work import ONE_CALL
from server.logins import Login
from tools.ports import DuplicateCall

log = structlog.get_logger()

LINGER_S = 0.025
"""What a trickle of frames waits for more to go with it."""
TICK_S = 0.055
"""Between two writes that hold frames alone, on the whole."""
AHEAD_S = 2 * TICK_S
"""What urgent frames may take of ticks to come."""
LARGEST_BATCH = 500
LONGEST_QUEUE = 10_000
"""Entries that may wait; then those who hand in wait to be let in."""
PATIENCE_S = 5.0
"""For a database that is away; then those who wait for a call's record are told."""
RUN_PATIENCE_S = 60.0
"""The same for frames of runs: nobody waits for an answer, and a run that can go on shall not end over it."""
PAUSE_S = 0.2
ATTEMPT_S = 2.0
"""For one attempt at a connection, between which those whose patience ends are told."""
OWN_KEYS = frozenset({"activity_events_pkey", "activity_payloads_pkey", "run_events_pkey"})


class Haste(IntEnum):
    """How long an entry may wait for others to go with it."""

    LINGERS = 0
    SOON = 1
    NOW = 2


@dataclass(slots=True, kw_only=True)
class Entry:
    """What one caller handed in together: written together or not at all."""

    committed: asyncio.Future[None]
    events: Sequence[ActivityEvent] = ()
    organization_id: OrganizationId | None = None
    frames: Sequence[RunFrame] = field(default_factory=tuple[RunFrame, ...])
    epoch: int = 1
    """Of the lease under which the frames' run is carried."""
    haste: Haste
    deadline: float
    """On the recorder's clock: from then on its caller is told that the database is away."""


class GroupRecorder:
    """Satisfies tools.ports.Recorder and the agent's RunLog; `running` must be entered first."""

    def __init__(self, pool: Pool, monotonic: Callable[[], float], patience_s: float = PATIENCE_S) -> None:
        self._pool = pool
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._waiting: list[Entry] = []
        self._arrived = asyncio.Event()
        self._arrived_at = 0.0
        """Of the first that waits."""
        self._haste = Haste.LINGERS
        """The most of those that wait."""
        self._hurried = asyncio.Event()
        self._paced_until = 0.0
        """By then the writes of frames alone are as many as ticks."""
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
            self._hurried.set()
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
        deadline = self._monotonic() + self._patience_s
        await self._hand_in(Entry(committed=self._future(), events=events, haste=Haste.NOW, deadline=deadline))

    async def append(
        self, organization_id: OrganizationId, frames: Sequence[RunFrame], *, epoch: int, urgent: bool
    ) -> None:
        """Returns when the frames are committed; what is not urgent may linger.

        Raises  RunTaken: another process carries their run by now; none of them is stored, and the others' are.
                Unavailable: the database stayed away; the frames are not stored.
        """
        entry = Entry(
            committed=self._future(),
            organization_id=organization_id,
            frames=frames,
            epoch=epoch,
            haste=_haste_of(frames, urgent=urgent),
            deadline=self._monotonic() + RUN_PATIENCE_S,
        )
        await self._hand_in(entry)

    async def _hand_in(self, entry: Entry) -> None:
        async with self._room:
            if not self._waiting:
                self._arrived_at = self._monotonic()
            self._waiting.append(entry)
            self._arrived.set()
            if entry.haste > self._haste:
                self._haste = entry.haste
                self._hurried.set()
            # Whoever waits may be cancelled; what was handed in is written all the same.
            await asyncio.shield(entry.committed)

    def _future(self) -> asyncio.Future[None]:
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Its waiter may be gone by the time it fails; the log has told by then.
        committed.add_done_callback(lambda done: done.cancelled() or done.exception())
        return committed

    async def _write_batches(self) -> None:
        while True:
            await self._arrived.wait()
            await self._linger()
            batch = self._next_batch()
            if not batch and self._closing:
                return
            if batch:
                self._pace(batch)
                await self._write(batch)
            if self._closing:
                self._arrived.set()

    def _pace(self, batch: Sequence[Entry]) -> None:
        """Frames alone take a tick; what calls wait for is written anyway, and they do not wait for what that took."""
        if all(entry.haste < Haste.NOW for entry in batch):
            self._paced_until = max(self._paced_until, self._monotonic()) + TICK_S

    def _next_batch(self) -> list[Entry]:
        batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
        self._haste = max((entry.haste for entry in self._waiting), default=Haste.LINGERS)
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _linger(self) -> None:
        """Wait until what has come is to be written; what comes meanwhile may hurry it."""
        while not self._closing and (pause := self._due_at() - self._monotonic()) > 0:
            self._hurried.clear()
            try:
                await asyncio.wait_for(self._hurried.wait(), pause)
            except TimeoutError:
                return

    def _due_at(self) -> float:
        match self._haste:
            case Haste.NOW:
                return self._arrived_at
            case Haste.SOON:
                return self._paced_until - AHEAD_S
            case Haste.LINGERS:
                return max(self._paced_until, self._arrived_at + LINGER_S)

    async def _write(self, batch: list[Entry]) -> None:
        """Write a batch and tell everyone in it, whatever comes: the writer outlives every fault."""
        try:
            refused = await self._commit_patiently(batch)
        except asyncpg.PostgresError:
            # One entry spoils the batch: each on its own, so that only the spoiler fails.
            for entry in batch:
                await self._write_alone(entry)
        except Exception as fault:
            log.error("recorder.failed", exc_info=fault)
            _tell(batch, fault)
        else:
            _tell_all(batch, refused)

    async def _write_alone(self, entry: Entry) -> None:
        try:
            refused = await self._commit_patiently([entry])
        except asyncpg.UniqueViolationError as violation:
            _tell([entry], _meaning_of(violation))
        except Exception as fault:
            log.error("recorder.refused", exc_info=fault)
            _tell([entry], fault)
        else:
            _tell_all([entry], refused)

    async def _commit_patiently(self, batch: list[Entry]) -> frozenset[RunId]:
        """Try until it stands; whose patience ends meanwhile is told, and taken out of the batch.

        Gives the runs of whose frames nothing was stored, since they are carried elsewhere by now.

        Raises  DatabaseUnavailable: nobody is left whom to try for, or there is no more time.
        """
        while True:
            try:
                return await self._commit(batch)
            except DatabaseUnavailable as away:
                self._give_up(batch, away)
                if self._closing or not batch:
                    raise
            await asyncio.sleep(PAUSE_S)

    def _give_up(self, batch: list[Entry], away: DatabaseUnavailable) -> None:
        """Tell whoever has waited long enough, in the batch and behind it.

        What follows of the same run goes with it: stored after all, it would stand behind a gap.
        """
        now = self._monotonic()
        late = [entry for entry in (*batch, *self._waiting) if entry.deadline <= now]
        _tell(late, away)
        broken = {frame.run_id for entry in late for frame in entry.frames}
        for entries in (batch, self._waiting):
            _tell([entry for entry in entries if any(frame.run_id in broken for frame in entry.frames)], away)
            entries[:] = [entry for entry in entries if not entry.committed.done()]

    async def _commit(self, batch: Sequence[Entry]) -> frozenset[RunId]:
        events = [event for entry in batch for event in entry.events]
        frames = [
            (entry.organization_id, entry.epoch, frame)
            for entry in batch
            if entry.organization_id is not None
            for frame in entry.frames
        ]
        try:
            async with (
                self._pool.acquire(timeout_s=min(self._patience_s, ATTEMPT_S)) as connection,
                # One statement needs no transaction around it, in which a process could come to stand still.
                connection.transaction() if events and frames else nullcontext(),
            ):
                refused = await _insert(connection, events, frames)
        except (TimeoutError, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError) as late:
            raise DatabaseUnavailable(Login.RECORDER, type(late).__name__) from late
        self.batches += 1
        return refused


async def _insert(
    connection: PooledConnection,
    events: Sequence[ActivityEvent],
    frames: Sequence[tuple[OrganizationId, int, RunFrame]],
) -> frozenset[RunId]:
    if events:
        await insert_events(connection, events)
    return await insert_frames(connection, frames) if frames else frozenset()


def _haste_of(frames: Sequence[RunFrame], *, urgent: bool) -> Haste:
    """A call is made once its intent is in the log: that is as much a part of its record as its outcome."""
    if any(frame.type == "tool.called" for frame in frames):
        return Haste.NOW
    return Haste.SOON if urgent else Haste.LINGERS


def _meaning_of(violation: asyncpg.UniqueViolationError) -> Exception | None:
    """What a doubled row means: None for one that is there already, by a commit whose answer was lost."""
    if violation.constraint_name in OWN_KEYS:
        return None
    if violation.constraint_name in ONE_CALL:
        return DuplicateCall("the call was recorded before")
    return violation


def _tell_all(batch: Sequence[Entry], refused: frozenset[RunId]) -> None:
    """Tell everyone in a batch that was written whether theirs is; nobody carries a run twice at a time here."""
    for entry in batch:
        taken = next((frame.run_id for frame in entry.frames if frame.run_id in refused), None)
        _tell([entry], None if taken is None else RunTaken(taken))


def _tell(batch: Sequence[Entry], fault: Exception | None) -> None:
    for entry in batch:
        if entry.committed.done():
            continue
        if fault is None:
            entry.committed.set_result(None)
        else:
            entry.committed.set_exception(fault)
