"""One run's stream within the process that carries it: events become frames, are committed, and only then shown."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from agent.conversations.ports import RunLog
from agent.events import AgentEvent, MessageDelta, RunEnded, RunFrame
from agent.frames import frame_of, terminal_frame
from domain.kernel import OrganizationId, RunId
from tools.ports import Unavailable

log = structlog.get_logger()

TAKEN_AWAY = Unavailable("this process was away too long: another has ended the run")
LINGERS: frozenset[str] = frozenset(
    {
        "run.started",
        "message.delta",
        "tool.called",
        "tool.decided",
        "tool.progress",
        "tool.completed",
        "run.usage",
    }
)
"""What may wait a moment to be committed with others' frames. A message's first words do not, nor does its end."""
KEPT_FRAMES = 256
"""Frames that stay in memory for followers; whoever is further behind reads the database."""


class RunStream:
    """Takes a run's events without ever making it wait, and shows them to followers once they are committed.

    Text that arrives while a write is under way is joined into one delta. A follower is nothing but the number of the
    last frame it has seen, so a slow one costs nothing and holds up nobody. `held`: whether the run is still this
    process's, for a process that was away too long must not add to what another has ended.
    """

    def __init__(
        self, run_id: RunId, organization_id: OrganizationId, run_log: RunLog, held: Callable[[], bool] = lambda: True
    ) -> None:
        self._run_id = run_id
        self._organization_id = organization_id
        self._log = run_log
        self._held = held
        self._pending: list[AgentEvent] = []
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._recent: deque[RunFrame] = deque(maxlen=KEPT_FRAMES)
        self._changed = asyncio.Event()
        self._awaited = False
        self._writing = False
        self._closed = False
        self._fault: Unavailable | None = None
        self._numbered = 0
        self.sequence = 0
        """Of the last frame that is committed and shown."""

    def emit(self, event: AgentEvent) -> None:
        """Hand an event over to be written.

        Raises  Unavailable: an earlier one could not be written, and nothing may follow a gap.
        """
        if self._fault is not None:
            raise self._fault
        last = self._pending[-1] if self._pending else None
        if isinstance(event, MessageDelta) and isinstance(last, MessageDelta) and last.message_id == event.message_id:
            self._pending[-1] = MessageDelta(message_id=event.message_id, delta=last.delta + event.delta)
        else:
            self._pending.append(event)
        if event.type not in LINGERS:
            self._urgent.set()
        self._arrived.set()

    async def flush(self) -> None:
        """Returns when everything emitted so far is committed and shown.

        Raises  Unavailable: it could not be written.
        """
        self._awaited = True
        self._urgent.set()
        while self._fault is None and (self._pending or self._writing):
            await self._changed.wait()
        self._awaited = False
        if self._fault is not None:
            raise self._fault

    async def end(self, ended: RunEnded) -> None:
        """Show the terminal frame, then store it; for a run whose every event is flushed and whose row has ended.

        Nobody waits for its commit, since the row says the same already: a reader who misses it in the log is given
        these very bytes (agent/run_reader.py).
        Raises  Unavailable: it could not be written, or an event before it.
        """
        if self._fault is not None:
            raise self._fault
        self._numbered += 1
        last = [terminal_frame(ended, self._run_id, self._numbered)]
        self._show(last)
        self._announce()
        stored = await self._stored(last, urgent=True)
        if isinstance(stored, Unavailable):
            raise stored

    async def write(self) -> None:
        """Writes until `close`; the run's own task group owns it."""
        while not self._closed:
            await self._arrived.wait()
            self._arrived.clear()
            if self._pending and self._fault is None:
                await self._write_pending()

    def close(self) -> None:
        """Nothing follows: followers that have seen the terminal frame are done, the others read the database."""
        self._closed = True
        self._arrived.set()
        self._announce()

    def abandon(self, why: Unavailable) -> None:
        """Write and show nothing more, not even what was emitted already."""
        self._fault = self._fault or why
        self._pending.clear()
        self._announce()

    @property
    def closed(self) -> bool:
        """True when nothing follows from this process."""
        return self._closed

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change; take it before looking, and no change is missed."""
        return self._changed

    def after(self, sequence: int) -> Sequence[RunFrame] | None:
        """Committed frames above `sequence`; None when memory no longer reaches back that far."""
        if sequence >= self.sequence:
            return ()
        missing = self.sequence - sequence
        if missing > len(self._recent):
            return None
        return [self._recent[index] for index in range(len(self._recent) - missing, len(self._recent))]

    async def _write_pending(self) -> None:
        """One batch; and, where that is text that the log may let linger, what becomes urgent meanwhile behind it."""
        self._writing = True
        frames, urgent = self._next_batch()
        async with asyncio.TaskGroup() as writes:
            batches = [writes.create_task(self._stored(frames, urgent=urgent))]
            if not urgent and await self._hurried(batches[0], writes):
                frames, urgent = self._next_batch()
                batches.append(writes.create_task(self._stored(frames, urgent=urgent)))
        self._writing = False
        for batch in batches:
            self._show(batch.result())
        self._announce()

    async def _hurried(self, write: asyncio.Task[object], writes: asyncio.TaskGroup) -> bool:
        """True when something urgent came before the write had ended."""
        hurry = writes.create_task(self._urgent.wait())
        await asyncio.wait((write, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        return not write.done() and self._fault is None and bool(self._pending)

    def _next_batch(self) -> tuple[Sequence[RunFrame], bool]:
        events, self._pending = self._pending, []
        self._urgent.clear()
        frames = [frame_of(event, self._run_id, self._numbered + n) for n, event in enumerate(events, start=1)]
        self._numbered += len(frames)
        return frames, self._awaited or any(event.type not in LINGERS for event in events)

    async def _stored(self, frames: Sequence[RunFrame], *, urgent: bool) -> Sequence[RunFrame] | Unavailable:
        """The frames once they are committed, or why they cannot be shown."""
        if not self._held():
            return TAKEN_AWAY
        try:
            await self._log.append(self._organization_id, frames, urgent=urgent)
        except Unavailable as fault:
            return fault
        except Exception as fault:
            log.error("run_log.refused", runId=str(self._run_id), exc_info=fault)
            return Unavailable("the run's events could not be stored")
        return frames if self._held() else TAKEN_AWAY

    def _show(self, stored: Sequence[RunFrame] | Unavailable) -> None:
        if isinstance(stored, Unavailable):
            self._fault = self._fault or stored
        elif self._fault is None:
            self.sequence = stored[-1].sequence
            self._recent.extend(stored)

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
