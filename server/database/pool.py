"""The pools that lend connections to requests: one a login, bounded in size and in waiting."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg

from agent.run_options import RunOptions
from server.database.connection import PooledConnection, use_plain_ids
from server.database.errors import DatabaseMisconfigured, DatabaseUnavailable
from server.logins import DatabaseUrls, Login

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
CLOSE_TIMEOUT_S = 10.0

_RUNS = RunOptions()

_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""What connecting raises while the database is away, restarting or full: trying again may help."""

_REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""What connecting raises when the URL is wrong: trying again does not help."""

_LOGIN = "SELECT session_user AS login, rolsuper OR rolbypassrls AS unbound FROM pg_roles WHERE rolname = session_user"


class PooledSession(asyncpg.Connection):
    """A connection that is not reset when it comes back to its pool, which spares a round trip.

    Safe because nothing is left to reset: whatever a request sets it sets for its transaction (set_config(..., true),
    SET LOCAL), and asyncpg itself still rolls back a transaction left open. LISTEN, session advisory locks and
    temporary tables have no place on these connections.
    """

    __slots__ = ()

    def get_reset_query(self) -> str:
        """Nothing."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How large a pool may grow and how long anything may wait for it."""

    max_size: int = 20
    acquire_timeout_s: float = 5.0
    """For a free connection, connecting included; then DatabaseUnavailable."""
    command_timeout_s: float = 60.0
    """For one statement, however long its caller would wait."""
    idle_timeout_s: float = (_RUNS.stale_after - 2 * _RUNS.heartbeat).total_seconds()
    """Between two statements of one transaction: what a process that stands still has locked is free again then, and
    another may go on with its runs. Heartbeats skip what is locked: two of them are left to those that live, before
    they are taken for dead."""
    open_timeout_s: float = 30.0
    """For a database that is still starting when the server starts."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the server's, for these connections."""


RECORDER = PoolOptions(max_size=4, settings={"enable_seqscan": "off"})
"""The recorder reads nothing itself; a foreign key's check that was planned while its table was empty would scan it for
as long as the connection lives."""


class Pool:
    """Connections of one login, lent one at a time."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", login: Login, options: PoolOptions) -> None:
        self.login = login
        self._pool = pool
        self._options = options

    @asynccontextmanager
    async def acquire(self, *, timeout_s: float | None = None) -> AsyncGenerator[PooledConnection]:
        """A connection for the length of the block.

        Raises  DatabaseUnavailable: none was to be had in time, or the connection was lost inside the block; then
                nobody knows whether a COMMIT that was under way took hold.
        """
        connection = await self._borrow(self._options.acquire_timeout_s if timeout_s is None else timeout_s)
        try:
            yield connection
        except (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError) as error:
            raise DatabaseUnavailable(self.login, "the connection was lost") from error
        except asyncpg.InternalClientError as error:
            # The server has said that it ends the connection, and the end itself is still on its way: the driver knows
            # that something came which nobody asked for, and refuses to send.
            discard(connection)
            raise DatabaseUnavailable(self.login, "the connection was lost") from error
        except (asyncpg.InterfaceError, OSError) as error:
            if _is_lost(connection):
                raise DatabaseUnavailable(self.login, "the connection was lost") from error
            raise
        finally:
            await self._pool.release(connection)

    @property
    def lent(self) -> int:
        """Connections that somebody holds now."""
        return self._pool.get_size() - self._pool.get_idle_size()

    async def close(self) -> None:
        """Waits for what is lent, not for ever, and closes."""
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_TIMEOUT_S)
        except TimeoutError:
            self._pool.terminate()

    async def check(self) -> None:
        """Returns if the database answers as this login, waiting a while for one that is still starting.

        Raises  DatabaseUnavailable, DatabaseMisconfigured: also for a login that Row Level Security would not bind.
        """
        async with self.acquire(timeout_s=self._options.open_timeout_s) as connection:
            row = await connection.fetchrow(_LOGIN)
        if row is None or row["login"] != self.login or row["unbound"]:
            found = row["login"] if row else "nobody"
            raise DatabaseMisconfigured(self.login, f"its URL logs in as {found}, which may be more than {self.login}")

    async def _borrow(self, timeout_s: float) -> PooledConnection:
        clock = asyncio.get_running_loop().time
        deadline, pause = clock() + timeout_s, FIRST_PAUSE_S
        while True:
            try:
                return await self._pool.acquire(timeout=max(deadline - clock(), 0.001))
            except TimeoutError as error:
                raise DatabaseUnavailable(self.login, f"no connection within {timeout_s:g} s") from error
            except _REFUSED as error:
                raise DatabaseMisconfigured(self.login, str(error)) from error
            except _AWAY as error:
                if clock() + pause >= deadline:
                    raise DatabaseUnavailable(self.login, str(error) or type(error).__name__) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePools:
    """The pools of a server process; the owner has none, it migrates over a connection of its own."""

    app: Pool
    recorder: Pool
    service: Pool


@asynccontextmanager
async def open_pools(
    urls: DatabaseUrls,
    *,
    app: PoolOptions = PoolOptions(),
    recorder: PoolOptions = RECORDER,
    service: PoolOptions = PoolOptions(max_size=4),
) -> AsyncGenerator[DatabasePools]:
    """The three pools for the length of the block, each checked to be what its name says.

    Raises  DatabaseUnavailable, DatabaseMisconfigured: see Pool.check.
    """
    async with AsyncExitStack() as stack:
        opened = DatabasePools(
            app=await _open(stack, urls.app, Login.APP, app),
            recorder=await _open(stack, urls.recorder, Login.RECORDER, recorder),
            service=await _open(stack, urls.service, Login.SERVICE, service),
        )
        for pool in (opened.app, opened.recorder, opened.service):
            await pool.check()
        yield opened


async def _open(stack: AsyncExitStack, url: str, login: Login, options: PoolOptions) -> Pool:
    milliseconds = f"{options.command_timeout_s * 1000:.0f}"
    pool = await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=options.max_size,
        command_timeout=options.command_timeout_s,
        connection_class=PooledSession,
        init=use_plain_ids,
        server_settings={
            "application_name": f"glow {login.removeprefix('glow_')}",
            # The server ends what a client that died can no longer cancel.
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": f"{options.idle_timeout_s * 1000:.0f}",
            **options.settings,
        },
    )
    opened = Pool(pool, login, options)
    stack.push_async_callback(opened.close)
    return opened


def discard(connection: PooledConnection) -> None:
    """Close a lost connection without a word; its pool may have taken it back by itself already."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


def _is_lost(connection: PooledConnection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # A lost connection is taken back by its pool at once, and what was lent answers nothing any more.
        return True
