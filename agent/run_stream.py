"""One run's stream within the process that carries it: events become frames, are committed, and only then shown."""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from agent.conversations.ports import RunLog
from agent.events import AgentEvent, MessageDelta, RunFrame
from agent.frames import frame_of
from domain.kernel import OrganizationId, RunId
from tools.ports import Unavailable

log = structlog.get_logger()

KEPT_FRAMES = 256
"""Frames that stay in memory for followers; whoever is further behind reads the database."""


class RunStream:
    """Takes a run's events without ever making it wait, and shows them to followers once they are committed.

    Text that arrives while a write is under way is joined into one delta. A follower is nothing but the number of the
    last frame it has seen, so a slow one costs nothing and holds up nobody.
    """

    def __init__(self, run_id: RunId, organization_id: OrganizationId, run_log: RunLog) -> None:
        self._run_id = run_id
        self._organization_id = organization_id
        self._log = run_log
        self._pending: list[AgentEvent] = []
        self._arrived = asyncio.Event()
        self._recent: deque[RunFrame] = deque(maxlen=KEPT_FRAMES)
        self._changed = asyncio.Event()
        self._writing = False
        self._closed = False
        self._fault: Unavailable | None = None
        self.sequence = 0
        """Of the last committed frame."""

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
        self._arrived.set()

    async def flush(self) -> None:
        """Returns when everything emitted so far is committed and shown.

        Raises  Unavailable: it could not be written.
        """
        while self._pending or self._writing:
            changed = self._changed
            if self._fault is not None:
                raise self._fault
            await changed.wait()
        if self._fault is not None:
            raise self._fault

    async def write(self) -> None:
        """Writes until `close`; the run's own task group owns it."""
        while not self._closed:
            await self._arrived.wait()
            self._arrived.clear()
            if self._pending:
                await self._write_batch()

    def close(self) -> None:
        """Nothing follows: followers that have seen the terminal frame are done, the others read the database."""
        self._closed = True
        self._arrived.set()
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

    async def _write_batch(self) -> None:
        events, self._pending = self._pending, []
        frames = [frame_of(event, self._run_id, self.sequence + n) for n, event in enumerate(events, start=1)]
        urgent = any(not isinstance(event, MessageDelta) for event in events)
        self._writing = True
        try:
            await self._log.append(self._organization_id, frames, urgent=urgent)
        except Unavailable as fault:
            self._fault = fault
        except Exception as fault:
            log.error("run_log.refused", runId=str(self._run_id), exc_info=fault)
            self._fault = Unavailable("the run's events could not be stored")
        else:
            self.sequence = frames[-1].sequence
            self._recent.extend(frames)
        finally:
            self._writing = False
            self._announce()

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
