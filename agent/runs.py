"""A run is not a connection: started by a message, carried by a task of this process, shown to whoever follows it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar, Self

import structlog

from agent.conversations.model import (
    ConversationBusy,
    ConversationTaken,
    OpenedRun,
    Run,
    RunKey,
)
from agent.conversations.ports import RunKeeper, RunLog, Sessions
from agent.events import RunCancelled, RunCompleted, RunEnded, RunFailed, RunFrame, RunStarted, RunUsage
from agent.frames import Fold, RunSummary, terminal_frame
from agent.live_run import LiveRun, RunJournal, RunLost, ending_of
from agent.model import ModelFailed
from agent.orchestrator import Orchestrator
from agent.places import Places
from agent.run_opening import AskedAgain, NewMessage, RunOpener
from agent.run_reader import INTERRUPTED, Frames, Pause, RunReader, last_sequence, owed
from agent.run_stream import RunStream
from domain.idempotency.model import Claim
from domain.kernel import Clock, ConversationId, DomainError, NewId, OrganizationId, Principal, PrincipalId, RunId
from tools.outcomes import reference_of
from tools.ports import Unavailable

log = structlog.get_logger()

UNAVAILABLE = RunFailed(
    code="unavailable",
    message="The database could not be reached, so this was not answered to the end. Ask again in a moment.",
    retryable=True,
)

LEASE = 0.75
"""The share of `stale_after` for which a sign of life entitles this process: it lets go before another takes over."""


class TooManyRuns(DomainError):
    """So many runs of this principal are going in this process that another one has to wait."""

    code: ClassVar[str] = "too_many_runs"

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} runs of yours are going: wait for one of them to end, or cancel it")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHandle:
    """Where to follow what a message began; `replayed`: the message came twice, and this is the first one's run."""

    run_id: RunId
    conversation_id: ConversationId
    replayed: bool = False
    by_key: bool = False
    """The message came twice under one idempotency key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How patient runs are with processes, readers and shutdown."""

    heartbeat: timedelta = timedelta(seconds=3)
    stale_after: timedelta = timedelta(seconds=12)
    """Without a sign of life for so long, a run's process is taken for dead."""
    poll: timedelta = timedelta(milliseconds=250)
    """How often a run that another process carries is looked at for a follower."""
    cancel_wait: timedelta = timedelta(seconds=2)
    """How long whoever cancels a run waits to see it ended."""
    grace: timedelta = timedelta(seconds=10)
    """What running runs get to finish at shutdown."""
    most_of_a_principal: int | Callable[[], int] = 8
    """Runs that one principal may have going in this process."""
    history_limit: int = 200
    """Stored messages that a turn looks back over; the model's window may hold fewer."""


class Runs(AbstractAsyncContextManager["Runs"]):
    """All runs of this process; enter it before the first, leave it to shut down gracefully.

    Leaving gives what runs a grace period, then ends it as interrupted (retryable).
    """

    def __init__(
        self,
        *,
        orchestrator: Orchestrator,
        sessions: Sessions,
        run_log: RunLog,
        keeper: RunKeeper,
        clock: Clock,
        new_id: NewId,
        options: RunOptions | None = None,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._orchestrator = orchestrator
        self._sessions = sessions
        self._log = run_log
        self._keeper = keeper
        self._clock = clock
        self._new_id = new_id
        self._options = options or RunOptions()
        self._pause = pause
        self._opener = RunOpener(
            orchestrator, sessions, clock=clock, new_id=new_id, history_limit=self._options.history_limit
        )
        self._reader = RunReader(sessions, poll=self._options.poll, pause=pause)
        self._live: dict[RunId, LiveRun] = {}
        self._places = Places(self._options.most_of_a_principal)
        self._starting: dict[tuple[OrganizationId, PrincipalId, Claim], asyncio.Event] = {}
        self._tasks = asyncio.TaskGroup()
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._closing.enter_async_context(self._tasks)
        keeping = self._tasks.create_task(self._keep(), name="runs.keep")
        self._closing.callback(keeping.cancel)
        self._closing.push_async_callback(self._wind_down)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._closing.aclose()

    # Starting -------------------------------------------------------------------------------------------------------

    async def start(self, principal: Principal, asked: NewMessage) -> RunHandle:
        """Store the message and its run in one transaction, and carry the run from here on.

        Raises  InvalidMessage, UnknownAgent, ConversationNotFound, EngagementNotFound, ClientMessageReused.
                ConversationBusy: a run of the conversation is going. TooManyRuns: of other conversations.
                KeyMismatch, KeyInProgress: of the message's idempotency key.
                Unavailable: no database; nothing was stored.
        """
        agent = replace(principal, mode="agent")
        async with self._one_at_a_time(agent, asked):
            try:
                return await self._start(agent, asked)
            except AskedAgain as again:
                return RunHandle(run_id=again.run_id, conversation_id=again.conversation_id, replayed=True, by_key=True)

    @asynccontextmanager
    async def _one_at_a_time(self, agent: Principal, asked: NewMessage) -> AsyncGenerator[None]:
        """Messages under one key that come at once find the first one's run: waiting for it, they take no place."""
        claim = asked.claim(agent)
        if claim is None:
            yield
            return
        starting = (agent.organization_id, agent.principal_id, claim)
        while (first := self._starting.get(starting)) is not None:
            await first.wait()
        started = self._starting[starting] = asyncio.Event()
        try:
            yield
        finally:
            del self._starting[starting]
            started.set()

    async def _start(self, agent: Principal, asked: NewMessage) -> RunHandle:
        if not self._places.take(agent):
            # What came before takes no place of its own.
            await self._opener.refuse_again(agent, asked)
            raise TooManyRuns(self._places.most)
        carried = False
        try:
            opened = await self._opened(agent, asked)
            if isinstance(opened, RunHandle):
                return opened
            self._carry(agent, opened)
            carried = True
        finally:
            if not carried:
                self._places.leave(agent)
        return RunHandle(run_id=opened.run.run_id, conversation_id=opened.run.conversation_id)

    async def _opened(self, agent: Principal, asked: NewMessage) -> OpenedRun | RunHandle:
        """The run that the message begins, or the handle of the one that it began when it came before."""
        try:
            return await self._opener.open(agent, asked)
        except (ConversationBusy, ConversationTaken) as busy:
            earlier = await self._opener.asked_before(agent, busy.conversation_id, asked)
            if earlier is not None:
                return RunHandle(run_id=earlier, conversation_id=busy.conversation_id, replayed=True)
            if not await self.recover():
                raise ConversationBusy(busy.conversation_id) from busy
            return await self._opener.open(agent, asked)

    # Carrying -------------------------------------------------------------------------------------------------------

    def _carry(self, principal: Principal, opened: OpenedRun) -> None:
        journal = RunJournal(self._sessions, principal, opened, self._clock)
        live = LiveRun(principal, opened, self._log, journal, self._options.stale_after * LEASE)
        live.renew(asyncio.get_running_loop().time())
        self._live[opened.run.run_id] = live
        live.task = self._tasks.create_task(self._carried(live), name=f"run {opened.run.run_id}")

    async def _carried(self, live: LiveRun) -> None:
        """One run, from its first event to its last; whatever happens in it, the other runs go on."""
        run = live.opened.run
        structlog.contextvars.bind_contextvars(
            orgId=str(live.principal.organization_id),
            conversationId=str(run.conversation_id),
            runId=str(run.run_id),
        )
        place = ExitStack()
        place.callback(self._places.leave, live.principal)
        try:
            async with _writing(live.stream):
                await self._finish(live, await self._perform(live), place)
        except Exception as fault:
            log.error("run.abandoned", exc_info=fault)
        finally:
            del self._live[run.run_id]
            place.close()

    async def _perform(self, live: LiveRun) -> RunEnded | None:
        """Emit what the orchestrator tells, and give how the run is to end; None: it is no longer ours to end."""
        live.begin()
        run = live.opened.run
        try:
            live.stream.emit(RunStarted(conversation_id=run.conversation_id, agent=run.agent, model=run.model))
            if live.stopped is None and not live.lost:
                await self._emit_all(live)
            return live.stopped or RunCompleted()
        except asyncio.CancelledError:
            if live.stopped is None and not live.lost:
                raise
            _uncancel()
            return live.stopped
        except RunLost:
            live.lose()
            return None
        except Exception as fault:  # noqa: BLE001 - every fault has its words, and the unknown ones a reference
            return self._failed(fault)
        finally:
            live.settle()

    async def _emit_all(self, live: LiveRun) -> None:
        async with aclosing(self._orchestrator.run(live.principal, live.opened, live.journal)) as events:
            async for event in events:
                live.stream.emit(event)
                if isinstance(event, RunUsage):
                    live.usage = event

    async def _finish(self, live: LiveRun, ended: RunEnded | None, place: ExitStack) -> None:
        """All that was told, then the row, then the terminal frame: whoever sees the row ended can read the rest."""
        if ended is None or live.lost:
            log.warning("run.lost")
            return
        try:
            await live.stream.flush()
        except Unavailable:
            ended = UNAVAILABLE
        if await live.journal.finish(ending_of(ended, live.usage)):
            place.close()
            await live.stream.end(ended)
        else:
            log.warning("run.lost")

    def _failed(self, fault: Exception) -> RunFailed:
        match fault:
            case ModelFailed():
                log.warning("run.model_failed", code=fault.code, exc_info=fault)
                return RunFailed(code=fault.code, message=fault.message, retryable=fault.retryable)
            case Unavailable():
                log.warning("run.unavailable", exc_info=fault)
                return UNAVAILABLE
            case _:
                reference = reference_of(self._new_id())
                log.error("run.failed", reference=reference, exc_info=fault)
                words = f"Something went wrong inside the server; its log knows more under {reference}."
                return RunFailed(code="internal", message=words, retryable=False)

    # Following and cancelling -----------------------------------------------------------------------------------------

    async def find(self, principal: Principal, run_id: RunId) -> Run:
        """Raises  RunNotFound: no such run that this principal may see."""
        return await self._reader.find(principal, run_id)

    async def follow(self, principal: Principal, run_id: RunId, after: int = 0) -> AsyncGenerator[RunFrame, None]:
        """Every committed frame above `after`, then each as it is committed, to the terminal one.

        Raises  RunNotFound: no such run that this principal may see.
        """
        async with aclosing(self.pages(principal, run_id, after)) as pages:
            async for page in pages:
                for frame in page:
                    yield frame

    async def pages(self, principal: Principal, run_id: RunId, after: int = 0) -> AsyncGenerator[Frames, None]:
        """What `follow` tells, as many frames at a time as are there: none of them holds up another.

        Nothing when all was seen before. The run does not notice its followers, nor how slow they are.
        Raises  RunNotFound: no such run that this principal may see.
        """
        seen = after
        live = self._live.get(run_id)
        if live is not None and live.belongs_to(principal):
            async with aclosing(self._pages_live(live, principal, after)) as pages:
                async for page in pages:
                    yield page
                    seen = page[-1].sequence
                    if page[-1].terminal:
                        return
        async with aclosing(self._reader.pages(principal, run_id, seen)) as pages:
            async for page in pages:
                yield page

    async def _pages_live(self, live: LiveRun, principal: Principal, after: int) -> AsyncGenerator[Frames, None]:
        seen = after
        while True:
            changed, closed = live.stream.changed, live.stream.closed
            frames = live.stream.after(seen)
            if frames is None:
                frames = await self._reader.page(principal, live.opened.run.run_id, seen)
            if frames:
                yield frames
                seen = frames[-1].sequence
            elif closed:
                return
            else:
                await changed.wait()

    async def exhausted(self, principal: Principal, run_id: RunId, after: int) -> bool:
        """True when nothing follows `after`: the terminal frame was it, or came before it.

        Raises  RunNotFound.
        """
        last = last_sequence(await self._reader.find(principal, run_id))
        return last is not None and after >= last

    async def answer(self, principal: Principal, run_id: RunId) -> RunSummary:
        """The plain answer, once the run has ended.

        Raises  RunNotFound.
        """
        gathered = Fold()
        async with aclosing(self.follow(principal, run_id)) as frames:
            async for frame in frames:
                gathered.add(frame)
        return gathered.summary(run_id)

    async def summary(self, principal: Principal, run_id: RunId) -> RunSummary:
        """The plain answer as far as it has come, without waiting.

        Raises  RunNotFound.
        """
        gathered, seen = Fold(), 0
        run = await self._reader.find(principal, run_id)
        while frames := await self._reader.page(principal, run_id, seen):
            for frame in frames:
                gathered.add(frame)
            seen = frames[-1].sequence
        for frame in owed(run, seen):
            gathered.add(frame)
        return replace(gathered.summary(run_id), conversation_id=str(run.conversation_id))

    async def cancel(self, principal: Principal, run_id: RunId) -> Run:
        """Tell the run to end, wherever it is carried; it ends run.cancelled, or as it was about to.

        Returns once it has ended, or after a moment: a call that is under way is recorded first, and another process
        looks only at its next heartbeat.
        Raises  RunNotFound.
        """
        live = self._live.get(run_id)
        if live is not None and live.belongs_to(principal):
            live.stop(RunCancelled())
            await live.ended(self._options.cancel_wait)
        else:
            await self._reader.find(principal, run_id)
            async with self._sessions.session(principal, read_only=False) as store:
                await store.request_cancel(run_id)
        return await self._reader.find(principal, run_id)

    # Keeping ----------------------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """Say that this process's runs are alive, and hear which of them somebody cancelled or took away."""
        held = dict(self._live)
        if not held:
            return
        keys = [RunKey(organization_id=live.principal.organization_id, run_id=run_id) for run_id, live in held.items()]
        asked_at = asyncio.get_running_loop().time()
        pulse = await self._keeper.beat(keys)
        for run_id, live in held.items():
            if run_id in pulse.running:
                live.renew(asked_at)
            elif run_id in self._live and not live.settled:
                live.lose()
            if run_id in pulse.to_cancel:
                live.stop(RunCancelled())

    async def recover(self) -> bool:
        """End the runs whose process is gone as interrupted; True when there were any."""
        orphans = await self._keeper.end_orphans(self._options.stale_after, INTERRUPTED, self._clock())
        for orphan in orphans:
            frame = terminal_frame(INTERRUPTED, orphan.key.run_id, orphan.next_sequence)
            # Without it a reader still gets the same frame from the run's row.
            with contextlib.suppress(Unavailable):
                await self._log.append(orphan.key.organization_id, [frame], urgent=True)
            log.warning("run.interrupted", runId=str(orphan.key.run_id), orgId=str(orphan.key.organization_id))
        return bool(orphans)

    async def _keep(self) -> None:
        while True:
            try:
                await self.beat()
                await self.recover()
            except Unavailable as away:
                log.warning("runs.heartbeat_missed", exc_info=away)
            except Exception as fault:
                log.error("runs.heartbeat_failed", exc_info=fault)
            await self._pause(self._options.heartbeat.total_seconds())

    async def _wind_down(self) -> None:
        tasks = [live.task for live in self._live.values() if live.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._options.grace.total_seconds())
        for live in list(self._live.values()):
            live.stop(INTERRUPTED)


@asynccontextmanager
async def _writing(stream: RunStream) -> AsyncGenerator[None, None]:
    """The stream's writer runs for the length of the block."""
    async with asyncio.TaskGroup() as owned:
        owned.create_task(stream.write())
        try:
            yield
        finally:
            stream.close()


def _uncancel() -> None:
    """The cancellation was meant for what the run was doing and has done its work; writing down its end comes next."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
