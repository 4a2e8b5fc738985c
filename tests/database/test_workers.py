"""The heartbeats of workers: who is alive, whose row a kill has left, and which login may look."""

from uuid import UUID, uuid4

import asyncpg
import pytest

from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.workers import NO_KEY, RETIRED_KEY, PostgresWorkers, WorkersHeard
from server.health import ledger_of


@pytest.fixture
def workers(pools: DatabasePools) -> PostgresWorkers:
    return PostgresWorkers(pools.service)


async def silent_for(owner: Connection, worker_id: UUID, time: str) -> None:
    await owner.execute(
        "UPDATE queue.workers SET heartbeat_at = now() - $2::text::interval WHERE worker_id = $1", worker_id, time
    )


async def test_workers_count_for_as_long_as_they_are_heard(
    workers: PostgresWorkers, owner_connection: Connection
) -> None:
    assert await workers.heard(timeout_s=5) == WorkersHeard(alive=0, heard_s=None)
    first, second = uuid4(), uuid4()
    for worker_id in (first, second, first):
        await workers.beat(worker_id)
    assert (await workers.heard(timeout_s=5)).alive == 2
    await silent_for(owner_connection, first, "21 seconds")
    assert (await workers.heard(timeout_s=5)).alive == 1
    await workers.leave(second)
    left = await workers.heard(timeout_s=5)
    assert left.alive == 0
    assert left.heard_s is not None
    assert 21 <= left.heard_s < 200


async def test_what_a_killed_worker_left_goes_after_a_day_and_one_that_stood_still_comes_back(
    workers: PostgresWorkers, owner_connection: Connection
) -> None:
    killed, stalled = uuid4(), uuid4()
    for worker_id in (killed, stalled):
        await workers.beat(worker_id)
        await silent_for(owner_connection, worker_id, "25 hours")
    await workers.beat(stalled)
    kept = await owner_connection.fetch("SELECT worker_id FROM queue.workers")
    assert [UUID(str(row["worker_id"])) for row in kept] == [stalled]
    assert (await workers.heard(timeout_s=5)).alive == 1


async def test_workers_that_sign_the_ledger_by_different_keys_are_told_of(
    workers: PostgresWorkers, owner_connection: Connection
) -> None:
    first, second = uuid4(), uuid4()
    assert ledger_of(None).state == "unavailable"
    await workers.beat(first)
    assert ledger_of(await workers.heard(timeout_s=5)).state == "ok", "it has not begun yet"
    await workers.beat(first, NO_KEY)
    assert ledger_of(await workers.heard(timeout_s=5)).detail == "no worker seals the record, their keys are: none"
    await workers.beat(second, "a" * 64)
    assert ledger_of(await workers.heard(timeout_s=5)).state == "ok", "one of them does"
    await workers.beat(first, "b" * 64)
    heard = await workers.heard(timeout_s=5)
    assert (heard.signing, ledger_of(heard).state) == (["a" * 64, "b" * 64], "unavailable")
    assert "2 keys in turn" in ledger_of(heard).detail
    await workers.beat(first, RETIRED_KEY)
    assert ledger_of(await workers.heard(timeout_s=5)).state == "ok"
    await silent_for(owner_connection, second, "21 seconds")
    assert "retired" in ledger_of(await workers.heard(timeout_s=5)).detail


async def test_the_application_s_own_login_sees_no_worker(app_connection: Connection) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app_connection.execute("SELECT FROM queue.workers")
