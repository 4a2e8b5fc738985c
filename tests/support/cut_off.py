"""A process that is cut off from its database at one of its writes: it goes on for itself, and nothing of it stands."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agent.conversations.leases import Lease, Pulse, RunKey, TakenRun
from agent.conversations.ports import ConversationStore, RunKeeper, RunLog, Sessions
from agent.events import RunFailed, RunFrame
from domain.kernel import OrganizationId, Principal, RunId
from tools.ports import Unavailable


@dataclass(slots=True)
class Line:
    """The line to the database; `left` writes go through it, the next one's commit is not heard of or never comes."""

    left: int | None = None
    heard: bool = False
    """Whether the write at which it breaks stands all the same."""
    written: int = 0
    broken: bool = False

    def before(self) -> None:
        """A write begins."""
        if self.broken or (self.written == self.left and not self.heard):
            self.broken = True
            raise Unavailable("cut off")

    def after(self) -> None:
        """A write stands."""
        if self.written == self.left:
            self.broken = True
            raise Unavailable("cut off")
        self.written += 1


class CutSessions:
    """Sessions over that line; reads fail too, once it is broken."""

    def __init__(self, sessions: Sessions, line: Line) -> None:
        self._sessions = sessions
        self._line = line

    @asynccontextmanager
    async def session(self, principal: Principal, *, read_only: bool) -> AsyncGenerator[ConversationStore]:
        if read_only:
            if self._line.broken:
                raise Unavailable("cut off")
            async with self._sessions.session(principal, read_only=True) as store:
                yield store
            return
        self._line.before()
        async with self._sessions.session(principal, read_only=False) as store:
            yield store
        self._line.after()


class CutLog:
    """The run log over that line."""

    def __init__(self, run_log: RunLog, line: Line) -> None:
        self._log = run_log
        self._line = line

    async def append(self, organization_id: OrganizationId, frames: Sequence[RunFrame], **told: Any) -> None:
        self._line.before()
        await self._log.append(organization_id, frames, **told)
        self._line.after()


class CutKeeper:
    """The keeper of runs over that line."""

    def __init__(self, keeper: RunKeeper, line: Line) -> None:
        self._keeper = keeper
        self._line = line

    async def wake(self, run: RunKey) -> bool:
        self._line.before()
        woken = await self._keeper.wake(run)
        self._line.after()
        return woken

    async def take(self, run: RunKey, stale_after: timedelta) -> TakenRun | None:
        self._line.before()
        taken = await self._keeper.take(run, stale_after)
        self._line.after()
        return taken

    async def release(self, held: Sequence[Lease]) -> None:
        raise Unavailable("cut off: nobody is told that this process goes")

    async def beat(self, held: Sequence[Lease]) -> Pulse:
        return await self._unless_cut().beat(held)

    async def grown(self, seen: Mapping[RunKey, int]) -> Collection[RunId]:
        return await self._unless_cut().grown(seen)

    async def stale(self, stale_after: timedelta) -> Sequence[RunKey]:
        return await self._unless_cut().stale(stale_after)

    async def end(self, lease: Lease, error: RunFailed, now: datetime) -> None:
        await self._unless_cut().end(lease, error, now)

    async def asked_in_vain(self, run: RunKey) -> bool:
        return await self._unless_cut().asked_in_vain(run)

    def _unless_cut(self) -> RunKeeper:
        if self._line.broken:
            raise Unavailable("cut off")
        return self._keeper
