"""The pools under a real database: what comes back clean, what is refused, and what a lost database looks like."""

import asyncio
import dataclasses

import asyncpg
import pytest

from server.database.connection import Connection
from server.database.errors import DatabaseMisconfigured, DatabaseUnavailable
from server.database.pool import DatabasePools, Pool, PoolOptions, discard, open_pools
from server.database.unit_of_work import is_lost
from server.logins import DatabaseUrls, Login
from tests.support.database import Database
from tests.support.half_closed import half_closed


async def test_each_pool_logs_in_as_its_own_role(pools: DatabasePools) -> None:
    for pool in (pools.app, pools.recorder, pools.service):
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT session_user") == pool.login


async def test_what_a_transaction_set_is_gone_when_the_connection_is_lent_again(database: Database) -> None:
    async with open_pools(database.urls(), app=PoolOptions(max_size=1)) as pools:
        async with pools.app.acquire() as connection:
            async with connection.transaction():
                await connection.execute("SELECT set_config('glow.organization_id', 'x', true)")
            first = await connection.fetchval("SELECT pg_backend_pid()")
        async with pools.app.acquire() as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") == first
            assert not await connection.fetchval("SELECT current_setting('glow.organization_id', true)")


async def test_a_transaction_left_open_is_rolled_back_when_the_connection_comes_back(database: Database) -> None:
    # asyncpg reports such a leak to the loop as well; here it is provoked.
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with open_pools(database.urls(), app=PoolOptions(max_size=1)) as pools:
        async with pools.app.acquire() as connection:
            await connection.execute("BEGIN")
        async with pools.app.acquire() as connection:
            assert not connection.is_in_transaction()


async def test_waiting_for_a_free_connection_ends(database: Database) -> None:
    narrow = PoolOptions(max_size=1, acquire_timeout_s=0.05)
    async with open_pools(database.urls(), app=narrow) as pools, pools.app.acquire():
        with pytest.raises(DatabaseUnavailable, match=r"no connection within 0\.05 s"):
            async with pools.app.acquire():
                pass


async def test_a_connection_lost_in_the_work_says_that_the_database_is_unavailable(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async def work() -> None:
        async with pools.app.acquire() as connection:
            process = await connection.fetchval("SELECT pg_backend_pid()")
            await superuser_connection.execute("SELECT pg_terminate_backend($1, 5000)", process)
            await connection.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailable, match="lost"):
        await work()
    async with pools.app.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_connection_that_was_ended_but_not_closed_yet_is_lost_too(
    database: Database, superuser_connection: Connection
) -> None:
    async with (
        half_closed(database.address.host, database.address.port) as port,
        open_pools(dataclasses.replace(database.urls(), app=_at_port(database, port))) as pools,
    ):
        async with pools.app.acquire() as connection:
            process = await connection.fetchval("SELECT pg_backend_pid()")
        await superuser_connection.execute("SELECT pg_terminate_backend($1, 5000)", process)
        with pytest.raises(DatabaseUnavailable, match="lost"):
            await _transaction_on(pools.app)
        assert await _transaction_on(pools.app) == 1


async def _transaction_on(pool: Pool) -> int:
    async with pool.acquire() as connection, connection.transaction():
        return await connection.fetchval("SELECT 1")


async def test_an_error_of_the_work_passes_through_unchanged(pools: DatabasePools) -> None:
    with pytest.raises(FileNotFoundError):
        async with pools.app.acquire():
            raise FileNotFoundError


async def test_a_database_that_is_away_is_unavailable_after_a_bounded_wait(database: Database) -> None:
    nowhere = DatabaseUrls(app=_at_port(database, 1), recorder="", service="")
    with pytest.raises(DatabaseUnavailable, match="glow_app"):
        async with open_pools(nowhere, app=PoolOptions(open_timeout_s=0.2)):
            pass


async def test_a_wrong_password_is_said_at_once(database: Database) -> None:
    wrong = dataclasses.replace(database.urls(), app=database.dsn(Login.APP).replace("glow_app:", "glow_app:x"))
    with pytest.raises(DatabaseMisconfigured, match="glow_app"):
        async with open_pools(wrong):
            pass


@pytest.mark.parametrize("role", ["postgres", Login.OWNER, Login.SERVICE])
async def test_the_application_never_runs_as_another_login(database: Database, role: str) -> None:
    wrong = dataclasses.replace(database.urls(), app=database.dsn(role))
    with pytest.raises(DatabaseMisconfigured, match=role):
        async with open_pools(wrong):
            pass


def _at_port(database: Database, port: int) -> str:
    return dataclasses.replace(database.address, port=port).dsn(Login.APP)


async def test_a_lost_connection_that_its_pool_took_back_is_discarded_without_a_word(pools: DatabasePools) -> None:
    async with pools.app.acquire() as connection:
        kept = connection
    assert pools.app.lent == 0
    discard(kept)


@pytest.mark.parametrize(
    ("fault", "away"),
    [
        (asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.InterfaceError("cannot call Connection.fetch(): connection has been released back to the pool"), True),
        (asyncpg.InterfaceError("cannot perform operation: another operation is in progress"), False),
        (asyncpg.DataError("invalid input for query argument $1"), False),
    ],
)
def test_what_the_driver_says_of_a_lost_connection_is_told_from_its_callers_faults(
    fault: Exception, *, away: bool
) -> None:
    assert is_lost(fault) is away
