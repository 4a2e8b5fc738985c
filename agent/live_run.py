"""A run that this process carries: its stream, its journal, and how it can be stopped."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import TypeVar

from agent.conversations.model import Ending, OpenedRun, Step
from agent.conversations.ports import RunLog, RunStore, Sessions
from agent.events import RunCancelled, RunEnded, RunFailed, RunUsage
from agent.run_stream import TAKEN_AWAY, RunStream
from domain.kernel import Clock, Level, Principal

T = TypeVar("T")


class RunLost(Exception):
    """Somebody else ended this run: its process was taken for dead, or its conversation is gone."""


class RunJournal:
    """Keeps a run's steps: noted at once, committed together; satisfies agent.loop.Journal."""

    def __init__(self, sessions: Sessions, principal: Principal, opened: OpenedRun, clock: Clock) -> None:
        self._sessions = sessions
        self._principal = principal
        self._run_id = opened.run.run_id
        self._clock = clock
        self._noted: list[Step] = []
        self._conversation_id = opened.run.conversation_id
        self._handed_over: tuple[str, Level] | None = None

    def note(self, step: Step) -> None:
        """Remember a step; it is committed with the next `keep` or `finish`."""
        self._noted.append(step)

    def hand_over(self, agent: str, ceiling: Level) -> None:
        """Remember who goes on, and how far they may go; it is committed with the steps."""
        self._handed_over = (agent, ceiling)

    async def keep(self) -> None:
        """Commit what was noted.

        Raises  RunLost: the run is no longer this process's. Unavailable: no database; the steps stay noted.
        """
        if not await _seen_through(self._keep()):
            raise RunLost

    async def finish(self, ending: Ending) -> bool:
        """Commit what was noted together with the run's end; False when somebody else has ended it."""
        async with self._sessions.session(self._principal, read_only=False) as store:
            finished = await store.finish(self._run_id, ending, self._noted, self._clock())
            if finished:
                await self._assign(store)
            return finished

    async def _keep(self) -> bool:
        steps = tuple(self._noted)
        async with self._sessions.session(self._principal, read_only=False) as store:
            kept = await store.keep(self._run_id, steps, self._clock())
            if kept:
                await self._assign(store)
        # What was noted meanwhile is not kept yet.
        del self._noted[: len(steps)]
        return kept

    async def _assign(self, store: RunStore) -> None:
        if self._handed_over is not None:
            await store.assign(self._conversation_id, *self._handed_over)


async def _seen_through(work: Coroutine[object, object, T]) -> T:
    """The result of `work`, which goes on to its end even when its caller is cancelled: nobody may have to guess."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


class LiveRun:
    """One run between its first and its terminal event.

    `lease`: how long it is this process's to carry after a sign of life.
    """

    def __init__(
        self, principal: Principal, opened: OpenedRun, run_log: RunLog, journal: RunJournal, lease: timedelta
    ) -> None:
        self.principal = principal
        self.opened = opened
        self.stream = RunStream(opened.run.run_id, principal.organization_id, run_log, self._held)
        self.journal = journal
        self.task: asyncio.Task[None] | None = None
        self.usage: RunUsage | None = None
        self.stopped: RunCancelled | RunFailed | None = None
        """How the run is to end when it was told to stop."""
        self.lost = False
        self.settled = False
        """The run is writing down how it ended: too late to stop it or to take it away."""
        self._begun = False
        self._lease_s = lease.total_seconds()
        self._held_until = 0.0

    def renew(self, asked_at: float) -> None:
        """A sign of life was taken, asked for at that moment of the event loop's clock."""
        self._held_until = asked_at + self._lease_s

    def begin(self) -> None:
        """From here on a stop interrupts what the run is doing; before, it never starts."""
        self._begun = True

    def settle(self) -> None:
        """From here on the run is writing down how it ended."""
        self.settled = True

    def stop(self, ended: RunCancelled | RunFailed) -> None:
        """Tell the run to end; the first word counts, and a run that is ending already ends as it was going to."""
        if self.stopped is None:
            self.stopped = ended
            self._interrupt()

    def lose(self) -> None:
        """The run is another's by now: drop it without another word."""
        self.lost = True
        self.stream.abandon(TAKEN_AWAY)
        self._interrupt()

    async def ended(self, within: timedelta) -> None:
        """Returns when the run's task has ended, or after that time."""
        if self.task is not None:
            await asyncio.wait([self.task], timeout=within.total_seconds())

    def belongs_to(self, principal: Principal) -> bool:
        """True for the one principal who may see this run."""
        own = self.principal
        return (own.organization_id, own.principal_id) == (principal.organization_id, principal.principal_id)

    def _held(self) -> bool:
        return asyncio.get_running_loop().time() < self._held_until

    def _interrupt(self) -> None:
        if self._begun and not self.settled and self.task is not None:
            self.task.cancel()


def ending_of(ended: RunEnded, usage: RunUsage | None) -> Ending:
    """The row of a run that ended so."""
    match ended.type:
        case "run.completed":
            return Ending(status="completed", usage=usage)
        case "run.cancelled":
            return Ending(status="cancelled", usage=usage)
        case "run.failed":
            return Ending(status="failed", error=ended, usage=usage)
