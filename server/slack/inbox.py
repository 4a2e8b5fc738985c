"""Keeps what Slack delivers before it is acknowledged, and works it off: at least once, by one holder at a time.

Whoever takes a delivery in works on it at once. What a crash or a refusal by Slack leaves is taken over when its lease
runs out, by this process or another. Work begins as often as it must; that it is answered once is the work's own part.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from domain.kernel import Clock, NewId
from server.database.slack import EventKey, KeptEvent, PostgresSlack
from server.slack.web import SlackAway, SlackSaysNo
from tools.outcomes import reference_of
from tools.ports import Unavailable

log = structlog.get_logger()

AT_ONCE = 32
"""Deliveries under way in this process; the rest wait in the database."""
FORGOTTEN_AFTER = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """It cannot be finished now."""

    after: timedelta
    however_long: bool = False
    """It waits for people, and is not given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Nothing more is to be done; `outcome` is a word for the log."""

    outcome: str


class TakenOver(Exception):
    """Whoever works on it was taken for dead, and somebody else does by now."""


Ended = Done | Later
Work = Callable[[EventKey, KeptEvent], Awaitable[Ended]]
"""Raises  SlackAway, Unavailable: later. SlackSaysNo: never. TakenOver: no more of it here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long holders hold, and how long anything is tried."""

    lease: timedelta = timedelta(seconds=30)
    sweep: timedelta = timedelta(seconds=2)
    first_pause: timedelta = timedelta(seconds=2)
    longest_pause: timedelta = timedelta(seconds=60)
    given_up_after: timedelta = timedelta(hours=1)
    """Since it was received: what Slack has not taken by then is left to the conversation in the database."""
    faults: int = 5
    """Attempts of what fails by a fault of ours."""


class Inbox:
    """Enter `running()` before the first delivery; leaving it lets go of what is under way."""

    def __init__(
        self, store: PostgresSlack, work: Work, *, clock: Clock, new_id: NewId, patience: Patience | None = None
    ) -> None:
        self._store = store
        self._work = work
        self._clock = clock
        self._new_id = new_id
        self._patience = patience or Patience()
        self._tasks = set[asyncio.Task[None]]()
        self._faults = Counter[tuple[str, str]]()

    @property
    def patience(self) -> Patience:
        """How long holders hold, and how long anything is tried."""
        return self._patience

    async def take(self, key: EventKey, payload: str) -> bool:
        """Keep it and begin to work on it; False: it was delivered before.

        Raises  Unavailable: it is not kept, and must be delivered again.
        """
        if not await self._store.keep(key, payload, self._patience.lease):
            log.info("slack.delivered_again", eventId=key.event_id)
            return False
        if len(self._tasks) < AT_ONCE:
            self._begin(key)
        else:
            await self._store.renew(key, timedelta(0))
        return True

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Takes over what nobody holds, for the length of the block."""
        sweeping = asyncio.create_task(self._sweep(), name="slack inbox")
        try:
            yield
        finally:
            ending = [sweeping, *self._tasks]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def idle(self) -> None:
        """Returns once nothing is under way in this process."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def sweep(self) -> None:
        """Take over what nobody holds.

        Raises  Unavailable.
        """
        room = AT_ONCE - len(self._tasks)
        if room > 0:
            for key in await self._store.claim(room, self._patience.lease):
                self._begin(key)

    async def _sweep(self) -> None:
        forgotten = 0
        while True:
            try:
                await self.sweep()
                if forgotten == 0:
                    await self._store.forget(FORGOTTEN_AFTER)
                forgotten = (forgotten + 1) % 1000
            except Unavailable as away:
                log.warning("slack.lost_database", reason=str(away))
            except Exception as fault:
                log.error("slack.sweep_faulted", exc_info=fault)
            await asyncio.sleep(self._patience.sweep.total_seconds())

    def _begin(self, key: EventKey) -> None:
        task = asyncio.create_task(self._hold(key), name=f"slack {key.event_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hold(self, key: EventKey) -> None:
        """Work on it while the lease is renewed; drop it where somebody else has it."""
        structlog.contextvars.bind_contextvars(orgId=str(key.organization_id))
        working = asyncio.create_task(self._worked_off(key))
        keeping = asyncio.create_task(self._keep_hold(key, working))
        try:
            await asyncio.wait([working])
        finally:
            keeping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait([working])
                # Let go at once: whoever starts next need not wait for the lease.
                with suppress(Unavailable):
                    await self._store.renew(key, timedelta(0))

    async def _keep_hold(self, key: EventKey, working: asyncio.Task[None]) -> None:
        while True:
            await asyncio.sleep(self._patience.lease.total_seconds() / 3)
            try:
                held = await self._store.renew(key, self._patience.lease)
            except Unavailable:
                continue
            if not held:
                working.cancel()
                return

    async def _worked_off(self, key: EventKey) -> None:
        try:
            kept = await self._store.load(key)
            if kept is None:
                return
            ended = await self._ended(key, kept)
            if isinstance(ended, Done):
                log.info("slack.done", outcome=ended.outcome, eventId=key.event_id)
                await self._store.finish(key, ended.outcome)
            else:
                await self._store.renew(key, ended.after)
        except Unavailable as away:
            log.warning("slack.lost_database", reason=str(away))
        except TakenOver:
            log.warning("slack.taken_over", eventId=key.event_id)

    async def _ended(self, key: EventKey, kept: KeptEvent) -> Ended:
        try:
            ended = await self._work(key, kept)
            self._faults.pop((key.team_id, key.event_id), None)
        except (SlackAway, Unavailable) as away:
            log.warning("slack.put_off", reason=str(away), eventId=key.event_id)
            ended = self._later(key)
        except TakenOver:
            raise
        except SlackSaysNo as no:
            log.warning("slack.refused", method=no.method, code=no.code, eventId=key.event_id)
            return Done(outcome=f"refused:{no.code}")
        except Exception as fault:
            reference = reference_of(self._new_id())
            log.error("slack.faulted", reference=reference, eventId=key.event_id, exc_info=fault)
            ended = self._faulted(key)
        if (
            isinstance(ended, Later)
            and not ended.however_long
            and self._clock() - kept.received_at > self._patience.given_up_after
        ):
            return Done(outcome="given_up")
        return ended

    def _faulted(self, key: EventKey) -> Ended:
        """Faults are counted, not attempts: waiting for a busy conversation is none."""
        event = key.team_id, key.event_id
        self._faults[event] += 1
        if self._faults[event] < self._patience.faults:
            return self._later(key)
        del self._faults[event]
        return Done(outcome="faulted")

    def _later(self, key: EventKey) -> Later:
        pause = self._patience.first_pause * 2 ** min(key.attempt - 1, 10)
        return Later(after=min(pause, self._patience.longest_pause))
