"""Idempotency keys in the database: a principal's own, bounded in time, removed by nobody but the sweep."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from domain.idempotency.model import IdempotencyKey, KeyInProgress, KeyMismatch
from domain.idempotency.postgres import REMOVED_AT_ONCE, PostgresKeyExpiry, PostgresKeys
from server.database.connection import Connection, connected
from server.database.pool import DatabasePools
from server.logins import Login
from tests.support.database import Database
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms, stand_in

KEY = IdempotencyKey(route="POST /v1/tasks", key="key-1")
CLAIM, OTHER = KEY.claim("person", {"title": "x"}), KEY.claim("person", {"title": "y"})


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    await seed_firms(owner_connection)
    await owner_connection.execute("DELETE FROM idempotency_keys")
    return app_connection


@pytest.fixture
async def second(database: Database) -> AsyncIterator[Connection]:
    async with connected(database.dsn(Login.APP)) as connection:
        yield connection


async def taken(app: Connection) -> None:
    async with app.transaction():
        await stand_in(app, FIRM_A, "employee")
        assert await PostgresKeys(app).claim(CLAIM) is None
        await PostgresKeys(app).keep(CLAIM, "{}")


async def test_a_taken_key_gives_its_answer_and_takes_no_other_content(app: Connection) -> None:
    await taken(app)
    for asked in (PostgresKeys(app).claim, PostgresKeys(app).found):
        async with app.transaction():
            await stand_in(app, FIRM_A, "employee")
            assert await asked(CLAIM) == "{}"
            with pytest.raises(KeyMismatch):
                await asked(OTHER)


async def test_a_key_goes_with_the_transaction_that_took_it(app: Connection) -> None:
    transaction = app.transaction()
    await transaction.start()
    await stand_in(app, FIRM_A, "employee")
    assert await PostgresKeys(app).claim(CLAIM) is None
    await transaction.rollback()
    async with app.transaction():
        await stand_in(app, FIRM_A, "employee")
        assert await PostgresKeys(app).found(CLAIM) is None
        assert await PostgresKeys(app).claim(OTHER) is None


async def test_who_holds_a_key_is_waited_for_only_so_long(app: Connection, second: Connection) -> None:
    async with app.transaction():
        await stand_in(app, FIRM_A, "employee")
        await PostgresKeys(app).claim(CLAIM)
        waiting = second.transaction()
        await waiting.start()
        await stand_in(second, FIRM_A, "employee")
        with pytest.raises(KeyInProgress):
            await PostgresKeys(second).claim(CLAIM)
        await waiting.rollback()


async def test_the_patience_of_the_transaction_is_given_back(app: Connection) -> None:
    async with app.transaction():
        await stand_in(app, FIRM_A, "employee")
        await app.execute("SET LOCAL lock_timeout = '7s'")
        await PostgresKeys(app).claim(CLAIM)
        assert await app.fetchval("SHOW lock_timeout") == "7s"


@pytest.mark.parametrize(("firm", "who"), [(FIRM_A, "partner"), (FIRM_B, "employee")])
async def test_a_key_is_its_principals_alone(app: Connection, firm: Firm, who: str) -> None:
    await taken(app)
    async with app.transaction():
        await stand_in(app, firm, who)
        assert await app.fetchval("SELECT count(*) FROM idempotency_keys") == 0
        assert await PostgresKeys(app).claim(OTHER) is None
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(
                "INSERT INTO idempotency_keys (organization_id, principal_id, mode, route, key, part, content_digest) "
                "VALUES ($1, $2, 'person', '', 'planted', 0, '')",
                FIRM_A.organization_id,
                FIRM_A.id("employee"),
            )


async def test_the_application_removes_no_key(app: Connection) -> None:
    await taken(app)
    async with app.transaction():
        await stand_in(app, FIRM_A, "employee")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("DELETE FROM idempotency_keys")


async def test_the_sweep_removes_what_has_expired_and_nothing_else(
    app: Connection, owner_connection: Connection, pools: DatabasePools
) -> None:
    await taken(app)
    await owner_connection.execute(
        "INSERT INTO idempotency_keys"
        " (organization_id, principal_id, mode, route, key, part, content_digest, created_at)"
        " SELECT $1, $2, 'person', '', n::text, 0, '', now() - interval '24 hours 1 second'"
        " FROM generate_series(1, $3) n",
        FIRM_B.organization_id,
        FIRM_B.id("employee"),
        REMOVED_AT_ONCE + 1,
    )
    expiry = PostgresKeyExpiry(pools.service.acquire)

    assert [await expiry.remove_expired() for _ in range(3)] == [REMOVED_AT_ONCE, 1, 0]

    left = await owner_connection.fetch("SELECT key FROM idempotency_keys")
    assert [row["key"] for row in left] == ["key-1"]


async def test_the_sweep_reads_no_answer_and_touches_no_key_that_counts(app: Connection, database: Database) -> None:
    await taken(app)
    async with connected(database.dsn(Login.SERVICE)) as service:
        assert await service.fetchval("SELECT count(created_at) FROM idempotency_keys") == 0
        assert await service.execute("DELETE FROM idempotency_keys") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.fetch("SELECT answer FROM idempotency_keys")
