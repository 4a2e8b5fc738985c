"""One connection of this process that listens for runs that have grown in any other, and comes back by itself."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import structlog

from agent.conversations.ports import Heard
from agent.conversations.postgres.frames import GROWN_CHANNEL, grown_runs
from domain.kernel import RunId
from server.database.connection import Connection, connect

log = structlog.get_logger()

RECONNECT_AFTER_S = 0.5
CHECK_EVERY_S = 10.0
"""A connection whose other end is gone without a word is found out by asking."""
CHECK_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class RunWakeups:
    """Satisfies the agent's Wakeups; `running` must be entered first.

    `url` must lead to PostgreSQL itself: a pooler that lends connections by the transaction passes no notifications on.
    """

    def __init__(self, url: str, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._url = url
        self._pause = pause
        self._ears: list[Heard] = []
        self.listening = asyncio.Event()
        """Set while wake-ups arrive."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Listens for the length of the block."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen_on(), name="wakeups")
            try:
                yield
            finally:
                listening.cancel()

    @contextmanager
    def hear(self, heard: Heard) -> Generator[None]:
        """Have `heard` called for each wake-up, until the block ends."""
        self._ears.append(heard)
        try:
            yield
        finally:
            self._ears.remove(heard)

    async def _listen_on(self) -> None:
        while True:
            try:
                await self._listen()
            except _LOST as lost:
                log.warning("wakeups.lost", reason=type(lost).__name__)
            await self._pause(RECONNECT_AFTER_S)

    async def _listen(self) -> None:
        """Returns or raises when the connection is lost."""
        connection = await connect(self._url, application_name="glow wakeups")
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        try:
            await connection.add_listener(GROWN_CHANNEL, self._notified)
            # What grew while nobody listened was told to nobody.
            self._tell(None)
            self.listening.set()
            await _lost(connection, ended)
        finally:
            self.listening.clear()
            await connection.close(timeout=CLOSE_TIMEOUT_S)

    def _notified(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            grown = grown_runs(str(payload))
        except ValueError:
            # Any login of this database may notify.
            log.warning("wakeups.odd_payload")
            return
        self._tell(grown)

    def _tell(self, grown: Sequence[RunId] | None) -> None:
        for heard in self._ears:
            heard(grown)


async def _lost(connection: Connection, ended: asyncio.Event) -> None:
    """Returns when the connection has ended, or raises when it answers no more."""
    while not ended.is_set():
        try:
            await asyncio.wait_for(ended.wait(), CHECK_EVERY_S)
        except TimeoutError:
            await connection.execute("SELECT 1", timeout=CHECK_TIMEOUT_S)
