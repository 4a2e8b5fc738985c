"""Runs as they are shown: followed frame by frame, whoever carries them, or gathered to one answer."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from agent.conversations.runs import Run
from agent.events import RunFrame
from agent.frames import Fold, RunSummary
from agent.live_run import LiveRun
from agent.run_feeds import RunFeeds
from agent.run_reader import Frames, RunReader, last_sequence, owed
from domain.kernel import Principal, RunId


class FollowedRuns:
    """A principal's own runs; those that this process carries are shown from its memory."""

    def __init__(self, reader: RunReader, feeds: RunFeeds) -> None:
        self._reader = reader
        self._feeds = feeds
        self._live: dict[RunId, LiveRun] = {}
        """Those that this process carries."""

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

        Nothing when all was seen before. They end where the run waits for people, too; whoever has seen that, and asks
        for what follows, is told it once the run goes on. The run does not notice its followers, nor how slow they are.
        Raises  RunNotFound: no such run that this principal may see.
        """
        async with aclosing(self._told(principal, run_id, after)) as pages:
            async for page in pages:
                yield page
                if page[-1].type == "run.waiting" and await self._waits(principal, run_id, page[-1].sequence):
                    return

    async def _waits(self, principal: Principal, run_id: RunId, seen: int) -> bool:
        """Whether the run waits for people, and nothing more of it was told."""
        run = await self._reader.find(principal, run_id)
        return run.status == "waiting" and seen >= run.last_sequence

    async def _told(self, principal: Principal, run_id: RunId, after: int) -> AsyncGenerator[Frames, None]:
        seen = after
        live = self._live.get(run_id)
        if live is not None and live.belongs_to(principal):
            async with aclosing(self._reader.tail(live.stream.tail, principal, run_id, after)) as pages:
                async for page in pages:
                    yield page
                    seen = page[-1].sequence
                    if page[-1].terminal:
                        return
        async with aclosing(self._feeds.pages(principal, run_id, seen)) as pages:
            async for page in pages:
                yield page

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
