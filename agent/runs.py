"""A run is not a connection: started by a message, carried by a task of this process, shown to whoever follows it."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, aclosing, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self

import structlog

from agent.conversations.leases import Lease, RunKey
from agent.conversations.model import GOING
from agent.conversations.ports import RunKeeper, RunLog, Sessions, Wakeups
from agent.conversations.refusals import ConversationBusy, ConversationTaken
from agent.conversations.runs import OpenedRun, Run
from agent.events import RunCancelled, RunFailed
from agent.live_run import LiveRun
from agent.one_at_a_time import OneAtATime
from agent.orchestrator import Orchestrator
from agent.places import Places
from agent.resuming import Resumed
from agent.run_feeds import RunFeeds
from agent.run_following import FollowedRuns
from agent.run_leases import CANNOT_GO_ON, RunLeases, gave_up, principal_of
from agent.run_opening import AskedAgain, NewMessage, RunOpener
from agent.run_options import RunOptions
from agent.run_performance import RunPerformance
from agent.run_reader import Pause, RunReader
from agent.titles import Naming, Titles
from domain.idempotency.model import Claim
from domain.kernel import Clock, ConversationId, DomainError, NewId, OrganizationId, Principal, PrincipalId, RunId
from tools.ports import JobQueue, Unavailable

log = structlog.get_logger()

HANDED_OVER_WITHIN_S = 5.0
"""For runs that are handed over to let go: a call that is under way is recorded first."""


class Questions(Protocol):
    """What runs have asked people."""

    async def withdraw(self, run: RunKey) -> None:
        """Cancel what a run waits for that is cancelled, or has failed, through the gate: nobody need answer any more.

        Raises  Unavailable: no database, or it is not done.
        """
        ...


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


class Runs(FollowedRuns, AbstractAsyncContextManager["Runs"]):
    """All runs of this process; enter it before the first, leave it to shut down gracefully.

    Leaving gives what runs a grace period, then hands it over: whoever takes jobs goes on with it.
    """

    def __init__(
        self,
        *,
        orchestrator: Orchestrator,
        sessions: Sessions,
        run_log: RunLog,
        keeper: RunKeeper,
        queue: JobQueue,
        questions: Questions,
        clock: Clock,
        new_id: NewId,
        options: RunOptions | None = None,
        pause: Pause = asyncio.sleep,
        wakeups: Wakeups | None = None,
        titles: Titles | None = None,
    ) -> None:
        """`wakeups`: say which runs of other processes have grown; without them followers see it at the next poll.

        `titles`: names conversations once their first message is answered.
        """
        options = options or RunOptions()
        reader = RunReader(sessions)
        super().__init__(reader, RunFeeds(reader, keeper, poll=options.poll, pause=pause))
        self._sessions = sessions
        self._log = run_log
        self._keeper = keeper
        self._questions = questions
        self._clock = clock
        self._options = options
        self._pause = pause
        self._opener = RunOpener(
            orchestrator, sessions, clock=clock, new_id=new_id, history_limit=options.history_limit
        )
        self._wakeups = wakeups
        self._leases = RunLeases(keeper, queue, options.stale_after)
        self._places = Places(options.most_of_a_principal)
        self._starting: OneAtATime[tuple[OrganizationId, PrincipalId, Claim | None]] = OneAtATime()
        self._taking: OneAtATime[RunId] = OneAtATime()
        self._tasks = asyncio.TaskGroup()
        self._naming = Naming(titles, self._tasks)
        self._performance = RunPerformance(orchestrator, self._naming, new_id)
        self._closing = AsyncExitStack()
        self._winding_down = False
        self._handing_over = False

    async def __aenter__(self) -> Self:
        await self._closing.enter_async_context(self._tasks)
        keeping = self._tasks.create_task(self._keep(), name="runs.keep")
        self._closing.callback(keeping.cancel)
        feeding = self._tasks.create_task(self._feeds.keep(), name="runs.feeds")
        self._closing.callback(feeding.cancel)
        if self._wakeups is not None:
            self._closing.enter_context(self._wakeups.hear(self._feeds.wake))
        self._closing.push_async_callback(self._wind_down)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._closing.aclose()

    async def start(self, principal: Principal, asked: NewMessage) -> RunHandle:
        """Store the message and its run in one transaction, and carry the run from here on.

        Raises  InvalidMessage, UnknownAgent, ConversationNotFound, EngagementNotFound, ClientMessageReused.
                ConversationBusy: a run of the conversation is going. TooManyRuns: of other conversations.
                KeyMismatch, KeyInProgress: of the message's idempotency key.
                Unavailable: no database; nothing was stored.
        """
        agent = replace(principal, mode="agent")
        claim = asked.claim(agent)
        key = (agent.organization_id, agent.principal_id, claim)
        # Messages under one key that come at once find the first one's run: waiting for it, they take no place.
        async with nullcontext() if claim is None else self._starting.of(key):
            try:
                return await self._start(agent, asked)
            except AskedAgain as again:
                return RunHandle(run_id=again.run_id, conversation_id=again.conversation_id, replayed=True, by_key=True)

    async def _start(self, agent: Principal, asked: NewMessage) -> RunHandle:
        if not self._places.take(agent):
            # What came before takes no place of its own.
            await self._opener.refuse_again(agent, asked)
            raise TooManyRuns(self._places.most)
        with ExitStack() as place:
            place.callback(self._places.leave, agent)
            opened = await self._opened(agent, asked)
            if isinstance(opened, RunHandle):
                return opened
            await self._carry(self._live_run(agent, opened), place.pop_all())
        return RunHandle(run_id=opened.run.run_id, conversation_id=opened.run.conversation_id)

    async def _opened(self, agent: Principal, asked: NewMessage) -> OpenedRun | RunHandle:
        """The run that the message begins, or the handle of the one that it began when it came before."""
        try:
            return await self._opener.open(agent, asked)
        except (ConversationBusy, ConversationTaken) as busy:
            earlier = await self._opener.asked_before(agent, busy.conversation_id, asked)
            if earlier is not None:
                return RunHandle(run_id=earlier, conversation_id=busy.conversation_id, replayed=True)
            # Should its process be gone, another goes on with it at once.
            await self.recover()
            raise ConversationBusy(busy.conversation_id) from busy

    async def go_on(self, key: RunKey) -> bool:
        """Take up a run whose process is gone or has let go of it, or that waited and need not any more.

        False: it is another's, or goes on waiting.

        Returns as soon as it is carried. What was asked before this process came keeps its place among the principal's.
        Of a run that is over, what it left open is withdrawn.
        Raises  Unavailable: no database.
        """
        async with self._taking.of(key.run_id):
            return await self._go_on(key)

    async def _go_on(self, key: RunKey) -> bool:
        if self._winding_down or key.run_id in self._live:
            return False
        await self._keeper.wake(key)
        taken = await self._keeper.take(key, self._options.stale_after)
        if taken is None:
            await self._withdraw_left(key)
            return False
        log.warning("run.taken_over", runId=str(key.run_id), epoch=taken.lease.epoch, lost=taken.lost_carriers)
        given_up = gave_up(taken.lost_carriers) if taken.lost_carriers > self._options.most_lost else None
        principal = principal_of(taken)
        try:
            if given_up is not None and taken.lost_carriers > self._options.most_lost + 1:
                # Closing it has taken a process down as well: nothing of what it holds is loaded any more.
                return await self._end_unopened(taken.lease, given_up)
            if taken.cancel_requested:
                await self._questions.withdraw(key)
            opened, resumed = await self._opener.reopen(principal, taken.lease)
        except Unavailable:
            # Nobody carries it, and nobody was lost with it: whoever reaches the database need not wait for the lease.
            await self._leases.let_go([taken.lease])
            raise
        except Exception as fault:
            log.error("run.cannot_go_on", runId=str(key.run_id), exc_info=fault)
            return await self._end_unopened(taken.lease, given_up or CANNOT_GO_ON)
        live = self._live_run(principal, opened, resumed)
        if given_up is not None:
            live.stop(given_up)
        elif resumed.cancel_requested:
            live.stop(RunCancelled())
        return await self._carry(live, ExitStack())

    async def _end_unopened(self, lease: Lease, error: RunFailed) -> bool:
        """False: the run has failed, and its followers are told so from its row."""
        await self._keeper.end(lease, error, self._clock())
        await self._withdraw_left(lease.key)
        return False

    def _live_run(self, principal: Principal, opened: OpenedRun, resumed: Resumed | None = None) -> LiveRun:
        return LiveRun(principal, opened, self._log, self._sessions, self._clock, resumed)

    async def _carry(self, live: LiveRun, place: ExitStack) -> bool:
        """Returns as soon as a task carries the run; False: this process hands its runs over, and this one too."""
        if self._handing_over:
            place.close()
            await self._leases.hand_over([live.lease])
            return False
        self._live[live.lease.key.run_id] = live
        live.task = self._tasks.create_task(self._carried(live, place), name=f"run {live.lease.key.run_id}")
        return True

    async def _carried(self, live: LiveRun, place: ExitStack) -> None:
        """One run, from its first event here to its last; whatever happens in it, the other runs go on."""
        run = live.opened.run
        structlog.contextvars.bind_contextvars(
            orgId=str(live.principal.organization_id),
            conversationId=str(run.conversation_id),
            runId=str(run.run_id),
        )
        ended = None
        try:
            ended = await self._performance.carry(live, place)
        except Exception as fault:
            log.error("run.abandoned", exc_info=fault)
        finally:
            if self._live.get(run.run_id) is live:
                del self._live[run.run_id]
            place.close()
        if live.waits is not None:
            await self._look_again(live)
        elif isinstance(ended, RunFailed | RunCancelled):
            await self._over(live.lease.key)

    async def _over(self, key: RunKey) -> None:
        """What the run asked, nobody need answer any more; what goes wrong is put right by the sweep."""
        try:
            await self._withdraw_left(key)
        except Unavailable as away:
            log.info("run.not_withdrawn", reason=str(away))
        except Exception as fault:
            log.error("run.not_withdrawn", exc_info=fault)

    async def _withdraw_left(self, key: RunKey) -> None:
        if await self._keeper.asked_in_vain(key):
            await self._questions.withdraw(key)

    async def _look_again(self, live: LiveRun) -> None:
        """Whatever was answered before the row said that the run waits has woken nobody.

        What goes wrong is put right later, when the run is found by its row; the other runs go on.
        """
        try:
            if live.stopped is not None:
                async with self._sessions.session(live.principal, read_only=False) as store:
                    await store.request_cancel(live.lease.key.run_id)
            await self.go_on(live.lease.key)
        except Unavailable as away:
            log.info("run.not_looked_at", reason=str(away))
        except Exception as fault:
            log.error("run.not_looked_at", exc_info=fault)

    async def titled(self) -> None:
        """Returns when no conversation is being named any more."""
        await self._naming.done()

    async def cancel(self, principal: Principal, run_id: RunId) -> Run:
        """Tell the run to end, wherever it is carried; it ends run.cancelled, or as it was about to.

        Returns once it has ended, or after a moment: a call that is under way is recorded first, and another process
        looks only at its next heartbeat. What was asked stands by then: whoever carries the run, or takes it over, ends
        it, whatever becomes of this process.
        Raises  RunNotFound. Unavailable: no database; a run that this process carries is ended all the same.
        """
        until = asyncio.get_running_loop().time() + self._options.cancel_wait.total_seconds()
        live = self._live.get(run_id)
        if live is not None and live.belongs_to(principal):
            live.stop(RunCancelled())
        run = await self._reader.find(principal, run_id)
        if run.status not in GOING:
            return run
        # Also of a run that is carried here: another may have taken it over, or will.
        async with self._sessions.session(principal, read_only=False) as store:
            await store.request_cancel(run_id)
        # One that nobody carries, since it waits or its process is gone, is ended from here, and what it waits for.
        await self.go_on(RunKey(organization_id=principal.organization_id, run_id=run_id))
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._see_ended(principal, run, self._live.get(run_id) or live)
        return await self._reader.find(principal, run_id)

    async def _see_ended(self, principal: Principal, run: Run, live: LiveRun | None) -> None:
        """Returns when the run has ended, wherever that was; of one that is carried here, when all of it is over."""
        async with aclosing(self._told(principal, run.run_id, run.last_sequence)) as pages:
            async for _ in pages:
                pass
        if live is not None and live.task is not None:
            await asyncio.wait([live.task])

    async def beat(self) -> None:
        """Say that this process's runs are alive, and hear which of them somebody cancelled or took away."""
        await self._leases.beat(self._live)

    async def recover(self) -> Sequence[RunKey]:
        """Have the runs whose process is gone gone on with, by whoever takes jobs; gives those there were."""
        return await self._leases.recover()

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
        self._winding_down = True
        self._naming.cancel()
        await self._ended(self._options.grace.total_seconds())
        # Whatever is begun or taken up from here on is handed over by whoever does so.
        self._handing_over = True
        handed_over = list(self._live.values())
        for live in handed_over:
            live.lose()
        await self._ended(HANDED_OVER_WITHIN_S)
        if handed_over:
            await self._leases.hand_over([live.lease for live in handed_over])

    async def _ended(self, within_s: float) -> None:
        tasks = [live.task for live in self._live.values() if live.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)
