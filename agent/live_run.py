"""A run that this process carries: its stream, its journal, and how it can be stopped."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TypeVar

from agent.awaiting import asked_in
from agent.conversations.leases import Lease, RunKey
from agent.conversations.model import Step, Summary
from agent.conversations.ports import RunLog, RunStore, Sessions
from agent.conversations.runs import Ending, OpenedRun
from agent.events import RunCancelled, RunEnded, RunFailed, RunUsage, RunWaiting, ToolProgress
from agent.resuming import Resumed
from agent.run_stream import TAKEN_AWAY, RunStream
from domain.kernel import ApprovalId, Clock, Level, Principal
from tools.ports import Unavailable

T = TypeVar("T")


class RunLost(Exception):
    """The run is no longer this process's: another goes on with it, or its conversation is gone."""


class RunJournal:
    """Keeps a run's steps: noted at once, committed together; satisfies agent.loop.Journal."""

    def __init__(
        self, sessions: Sessions, principal: Principal, opened: OpenedRun, clock: Clock, stream: RunStream
    ) -> None:
        self._sessions = sessions
        self._principal = principal
        self._run_id = opened.run.run_id
        self._epoch = opened.epoch
        self._clock = clock
        self._stream = stream
        self._noted: list[Step] = []
        self._conversation_id = opened.run.conversation_id
        self._handed_over: tuple[str, Level] | None = None
        self.awaited: tuple[ApprovalId, ...] = ()
        """The questions that the calls of the last step left to people."""
        self.given_up = False
        """What is noted only ends what was begun."""

    def note(self, step: Step) -> None:
        """Remember a step; it is committed with the next `keep` or `finish`."""
        self._noted.append(step)
        self.awaited = asked_in(step)

    def hand_over(self, agent: str, ceiling: Level) -> None:
        """Remember who goes on, and how far they may go; it is committed with the steps."""
        self._handed_over = (agent, ceiling)

    @property
    def left(self) -> bool:
        """Whether another process goes on with the run."""
        return self._stream.abandoned

    async def committed(self) -> None:
        """Returns when everything told so far is in the log: from there on, another process can go on.

        Raises  Unavailable: it is not, or the run is no longer this process's.
        """
        await self._stream.flush()

    def tell(self, progress: ToolProgress) -> None:
        """Tell how far the call under way has come; where nothing can be told any more, the run's next word says so."""
        with suppress(Unavailable):
            self._stream.emit(progress)

    async def keep(self, usage: RunUsage) -> None:
        """Commit what was noted, and what was spent so far: should the process be killed, that much is known.

        Raises  RunLost: the run is no longer this process's. Unavailable: no database; the steps stay noted.
        """
        if not await _seen_through(self._keep(usage)):
            raise RunLost

    async def keep_summary(self, summary: Summary) -> None:
        """Keep what stands for the conversation's oldest turns from now on.

        Raises  Unavailable: no database.
        """
        async with self._sessions.session(self._principal, read_only=False) as store:
            await store.add_summary(self._conversation_id, summary)

    async def finish(self, ending: Ending) -> bool:
        """Commit what was noted together with the run's end, or with the word that it waits; False: it is another's."""
        async with self._sessions.session(self._principal, read_only=False) as store:
            finished = await store.finish(
                self._run_id, self._epoch, ending, self._noted, self._clock(), given_up=self.given_up
            )
            if finished:
                await self._assign(store)
            return finished

    async def _keep(self, usage: RunUsage) -> bool:
        steps = tuple(self._noted)
        async with self._sessions.session(self._principal, read_only=False) as store:
            kept = await store.keep(self._run_id, self._epoch, steps, usage, self._clock(), given_up=self.given_up)
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

    `resumed`: how an earlier carrier left it.
    """

    def __init__(
        self,
        principal: Principal,
        opened: OpenedRun,
        run_log: RunLog,
        sessions: Sessions,
        clock: Clock,
        resumed: Resumed | None = None,
    ) -> None:
        self.principal = principal
        self.opened = opened
        self.resumed = resumed
        key = RunKey(organization_id=principal.organization_id, run_id=opened.run.run_id)
        self.lease = Lease(key=key, epoch=opened.epoch)
        after = 0 if resumed is None else resumed.last_sequence
        self.stream = RunStream(self.lease, run_log, after)
        self.journal = RunJournal(sessions, principal, opened, clock, self.stream)
        self.journal.awaited = () if resumed is None else resumed.answers.still
        self.task: asyncio.Task[None] | None = None
        self.usage: RunUsage | None = None
        self.waits: RunWaiting | None = None
        """What the run was put down for."""
        self.stopped: RunCancelled | RunFailed | None = None
        """How the run is to end when it was told to stop."""
        self.lost = False
        self.settled = False
        """The run is writing down how it ended: too late to stop it or to take it away."""
        self._begun = False

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
            self.journal.given_up = True
            self._interrupt()

    def lose(self) -> None:
        """The run is another's to go on with: drop it without another word.

        Once: what is being written down of a call that is under way is not interrupted at each further heartbeat.
        """
        if self.lost:
            return
        self.lost = True
        self.stream.abandon(TAKEN_AWAY)
        self._interrupt()

    def belongs_to(self, principal: Principal) -> bool:
        """True for the one principal who may see this run."""
        own = self.principal
        return (own.organization_id, own.principal_id) == (principal.organization_id, principal.principal_id)

    def _interrupt(self) -> None:
        if self._begun and not self.settled and self.task is not None:
            self.task.cancel()


def ending_of(ended: RunEnded | RunWaiting, usage: RunUsage | None) -> Ending:
    """The row of a run that ended so, or was put down."""
    match ended.type:
        case "run.waiting":
            return Ending(status="waiting", usage=usage, awaited=ended.approvals)
        case "run.completed":
            return Ending(status="completed", usage=usage)
        case "run.cancelled":
            return Ending(status="cancelled", usage=usage)
        case "run.failed":
            return Ending(status="failed", error=ended, usage=usage)
