"""The heartbeats of workers: who is alive, whose row a kill has left, and which login may look."""

from uuid import UUID, uuid4

import asyncpg
import pytest

from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.workers import PostgresWorkers, WorkersHeard


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


async def test_the_application_s_own_login_sees_no_worker(app_connection: Connection) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app_connection.execute("SELECT FROM queue.workers")
