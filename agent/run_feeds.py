"""Runs that other processes carry, as their followers here see them: woken when a run has grown, read once for all."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Generator
from contextlib import aclosing, contextmanager
from datetime import timedelta

import structlog

from agent.conversations.leases import RunKey
from agent.conversations.ports import RunKeeper
from agent.conversations.refusals import RunNotFound
from agent.frame_tail import FrameTail
from agent.run_reader import PAGE, Frames, Pause, RunReader
from domain.kernel import Principal, RunId
from tools.ports import Unavailable

log = structlog.get_logger()

READERS = 4
"""Reads at once, so that a thousand runs that grow together leave connections for everybody else."""


class RunFeed:
    """One run as its owner's followers see it; `principal` is in whose name it is read."""

    def __init__(self, principal: Principal, run_id: RunId, seen: int) -> None:
        self.principal = principal
        self.run_id = run_id
        self.tail = FrameTail(seen)
        self.followers = 0
        self.reading = asyncio.Lock()

    @property
    def key(self) -> RunKey:
        """The run, for whoever looks across organizations."""
        return RunKey(organization_id=self.principal.organization_id, run_id=self.run_id)

    def belongs_to(self, principal: Principal) -> bool:
        """True for the principal in whose name it is read."""
        own = self.principal
        return (own.organization_id, own.principal_id) == (principal.organization_id, principal.principal_id)


class RunFeeds:
    """The feeds of this process. `poll`: how often runs are looked at whose wake-up was lost, all in one question."""

    def __init__(self, reader: RunReader, keeper: RunKeeper, *, poll: timedelta, pause: Pause) -> None:
        self._reader = reader
        self._keeper = keeper
        self._poll = poll
        self._pause = pause
        self._feeds: dict[RunId, list[RunFeed]] = {}
        self._due: dict[RunFeed, None] = {}
        self._woken = asyncio.Event()

    async def keep(self) -> None:
        """Read what has grown, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep(), name="feeds.sweep")
            for _ in range(READERS):
                group.create_task(self._read_due(), name="feeds.read")

    def wake(self, run_ids: Collection[RunId] | None) -> None:
        """Look at these runs again; None: at every run that is followed here."""
        for run_id in self._feeds if run_ids is None else run_ids:
            for feed in self._feeds.get(run_id, ()):
                self._look_at(feed)

    async def pages(self, principal: Principal, run_id: RunId, after: int) -> AsyncGenerator[Frames, None]:
        """Every frame above `after` as it is stored, to the terminal one; nothing when that was seen before.

        Raises  RunNotFound: no such run that this principal may see.
        """
        seen = after
        while True:
            frames, over = await self._reader.look(principal, run_id, seen)
            if frames:
                yield frames
                seen = frames[-1].sequence
            if over:
                return
            if not frames:
                with self._joined(principal, run_id, seen) as feed:
                    async with aclosing(self._reader.tail(feed.tail, principal, run_id, seen)) as pages:
                        async for page in pages:
                            yield page
                            seen = page[-1].sequence
                            if page[-1].terminal:
                                return

    @contextmanager
    def _joined(self, principal: Principal, run_id: RunId, seen: int) -> Generator[RunFeed]:
        """The run's feed, which is looked at once for what came since `seen`; the last to leave takes it down."""
        feed = self._feed_of(principal, run_id, seen)
        feed.followers += 1
        self._look_at(feed)
        try:
            yield feed
        finally:
            feed.followers -= 1
            if not feed.followers:
                self._drop(feed)

    def _feed_of(self, principal: Principal, run_id: RunId, seen: int) -> RunFeed:
        feeds = self._feeds.setdefault(run_id, [])
        shared = next((each for each in feeds if each.belongs_to(principal)), None)
        if shared is None:
            shared = RunFeed(principal, run_id, seen)
            feeds.append(shared)
        return shared

    def _drop(self, feed: RunFeed) -> None:
        """Whoever comes next begins with a feed of its own."""
        self._due.pop(feed, None)
        feeds = self._feeds.get(feed.run_id, [])
        if feed in feeds:
            feeds.remove(feed)
        if not feeds:
            self._feeds.pop(feed.run_id, None)

    def _look_at(self, feed: RunFeed) -> None:
        self._due[feed] = None
        self._woken.set()

    async def _read_due(self) -> None:
        while True:
            await self._woken.wait()
            feed = next(iter(self._due), None)
            if feed is None:
                self._woken.clear()
                continue
            del self._due[feed]
            async with feed.reading:
                await self._read(feed)

    async def _read(self, feed: RunFeed) -> None:
        """What the run has grown by; a database that is away is asked again by the sweep."""
        try:
            frames, over = await self._reader.look(feed.principal, feed.run_id, feed.tail.sequence)
        except Unavailable as away:
            log.info("feeds.put_off", runId=str(feed.run_id), reason=str(away))
            return
        except RunNotFound:
            frames, over = (), True
        except Exception as fault:
            log.error("feeds.failed", runId=str(feed.run_id), exc_info=fault)
            return
        if over:
            self._drop(feed)
            feed.tail.add(frames)
            feed.tail.close()
        elif frames:
            feed.tail.add(frames)
            feed.tail.announce()
        if len(frames) == PAGE and not over:
            self._look_at(feed)

    async def _sweep(self) -> None:
        while True:
            await self._pause(self._poll.total_seconds())
            followed = {feed.key: feed.tail.sequence for feeds in self._feeds.values() for feed in feeds}
            if not followed:
                continue
            try:
                self.wake(await self._keeper.grown(followed))
            except Unavailable as away:
                log.info("feeds.sweep_missed", reason=str(away))
            except Exception as fault:
                log.error("feeds.sweep_failed", exc_info=fault)
