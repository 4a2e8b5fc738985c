"""One run's stream within the process that carries it: events become frames, are committed, and only then shown."""

import asyncio
from collections.abc import Sequence

import structlog

from agent.conversations.leases import Lease
from agent.conversations.ports import RunLog
from agent.conversations.refusals import RunTaken
from agent.events import AgentEvent, MessageDelta, RunEnded, RunFrame, RunWaiting
from agent.frame_tail import FrameTail
from agent.frames import frame_of, terminal_frame
from tools.ports import Unavailable

log = structlog.get_logger()

TAKEN_AWAY = Unavailable("this process was away too long: another goes on with the run")
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


class RunStream:
    """Takes a run's events without ever making it wait, and shows them to followers once they are committed.

    Text that arrives while a write is under way is joined into one delta. `after`: the number of the last frame that an
    earlier carrier of the run stored.
    """

    def __init__(self, lease: Lease, run_log: RunLog, after: int = 0) -> None:
        self._run_id = lease.key.run_id
        self._lease = lease
        self._log = run_log
        self._pending: list[AgentEvent] = []
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._awaited = False
        self._writing = False
        self._closed = False
        self._fault: Unavailable | None = None
        self.abandoned = False
        """Nothing more is told of the run from here."""
        self._numbered = after
        self.tail = FrameTail(after)
        """What is committed and shown."""

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
            await self.tail.changed.wait()
        self._awaited = False
        if self._fault is not None:
            raise self._fault

    async def end(self, ended: RunEnded | RunWaiting) -> None:
        """Show the last frame, then store it; for a run whose every event is flushed and whose row says the same.

        Nobody waits for its commit, since the row says the same already: a reader who misses it in the log is given
        these very bytes (agent/run_reader.py).
        Raises  Unavailable: it could not be written, or an event before it.
        """
        if self._fault is not None:
            raise self._fault
        self._numbered += 1
        last = [terminal_frame(ended, self._run_id, self._numbered)]
        self._show(last)
        self.tail.announce()
        stored = await self._stored(last, urgent=False)
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
        self.tail.close()

    def abandon(self, why: Unavailable) -> None:
        """Write and show nothing more, not even what was emitted already."""
        self.abandoned = True
        self._fault = self._fault or why
        self._pending.clear()
        self.tail.announce()

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
        self.tail.announce()

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
        try:
            await self._log.append(self._lease.key.organization_id, frames, epoch=self._lease.epoch, urgent=urgent)
        except RunTaken:
            return TAKEN_AWAY
        except Unavailable as fault:
            return fault
        except Exception as fault:
            log.error("run_log.refused", runId=str(self._run_id), exc_info=fault)
            return Unavailable("the run's events could not be stored")
        return frames

    def _show(self, stored: Sequence[RunFrame] | Unavailable) -> None:
        if isinstance(stored, Unavailable):
            self._fault = self._fault or stored
        elif self._fault is None:
            self.tail.add(stored)
