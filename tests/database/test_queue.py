"""The durable queue: one job a subject, put off, brought forward or followed; and what a crash left, in fair turns."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from domain.kernel import OrganizationId
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.queue import MOST_OF_A_KIND, PostgresJobs, consuming
from server.logins import Login
from tests.support.database import Database
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms
from tools.ports import Unavailable
from tools.work import Job

JOBS = """
SELECT dedupe_key, status::text AS status, attempts, execute_after > now() AS put_off FROM queue.pgqueuer ORDER BY id
"""
DOCUMENT = """
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, trust, status,
    size_bytes, content_sha256, uploaded_by, created_at, updated_at)
SELECT $1, gen_random_uuid(), 'Paper', 'glow:paper', 'text/plain', 'firm', 'internal', $2, 1, '', $3, at, at
FROM (SELECT now() - $4::interval + n * interval '1 ms' AS at FROM generate_series(1, $5) n) moments
RETURNING document_id
"""
NEVER = timedelta(days=1)


@pytest.fixture
async def jobs(pools: DatabasePools, owner_connection: Connection) -> PostgresJobs:
    """A queue beside two firms, each with a run under way that has no job; those are swept at first."""
    await seed_firms(owner_connection)
    return PostgresJobs(pools.service)


def run_of(firm: Firm = FIRM_A, subject_id: UUID | None = None) -> Job:
    return Job(
        kind="task_run", organization_id=OrganizationId(firm.organization_id), subject_id=subject_id or firm.id("thing")
    )


async def queued(service: Connection) -> list[tuple[str, bool]]:
    """The status of each job, and whether it was put off."""
    return [(row["status"], row["put_off"]) for row in await service.fetch(JOBS)]


async def put_off(service: Connection) -> None:
    await service.execute("UPDATE queue.pgqueuer SET execute_after = now() + interval '1 hour', attempts = 3")


async def take(service: Connection) -> None:
    await service.execute("UPDATE queue.pgqueuer SET status = 'picked'")


async def unindexed(
    owner: Connection, firm: Firm, count: int = 1, status: str = "queued", age: timedelta = timedelta(hours=1)
) -> list[UUID]:
    rows = await owner.fetch(DOCUMENT, firm.organization_id, status, firm.id("partner"), age, count)
    return [row["document_id"] for row in rows]


# What is enqueued -----------------------------------------------------------------------------------------------------


async def test_a_job_that_waits_its_turn_is_enough(jobs: PostgresJobs, service_connection: Connection) -> None:
    await jobs.enqueue([run_of(), run_of()])
    await jobs.enqueue([run_of()])
    assert await queued(service_connection) == [("queued", False)]


async def test_a_job_that_was_put_off_is_brought_forward_and_begins_anew(
    jobs: PostgresJobs, service_connection: Connection
) -> None:
    await jobs.enqueue([run_of()])
    await put_off(service_connection)
    await jobs.enqueue([run_of(), run_of(FIRM_B)])
    assert await queued(service_connection) == [("queued", False), ("queued", False)]
    assert [row["attempts"] for row in await service_connection.fetch(JOBS)] == [0, 0]


async def test_however_much_happens_while_a_job_is_under_way_one_job_follows_it(
    jobs: PostgresJobs, service_connection: Connection
) -> None:
    await jobs.enqueue([run_of()])
    await take(service_connection)
    for _ in range(3):
        await jobs.enqueue([run_of()])
    await asyncio.gather(*(jobs.enqueue([run_of(), run_of()]) for _ in range(3)))
    assert await queued(service_connection) == [("picked", False), ("queued", False)]
    await take(service_connection)
    for _ in range(3):
        await jobs.enqueue([run_of()])
    assert await queued(service_connection) == [("picked", False), ("picked", False), ("queued", False)]


async def test_a_job_under_way_is_followed_by_another_for_each_thing_that_happens_meanwhile(
    jobs: PostgresJobs, service_connection: Connection
) -> None:
    await jobs.enqueue([run_of()])
    await take(service_connection)
    await jobs.enqueue([run_of()])
    await take(service_connection)
    await jobs.enqueue([run_of()])
    assert await queued(service_connection) == [("picked", False), ("picked", False), ("queued", False)]


# What is swept --------------------------------------------------------------------------------------------------------


async def test_what_is_unfinished_and_has_no_job_gets_one(
    jobs: PostgresJobs, owner_connection: Connection, service_connection: Connection
) -> None:
    (document,) = await unindexed(owner_connection, FIRM_A)
    await unindexed(owner_connection, FIRM_A, status="ready")
    await unindexed(owner_connection, FIRM_A, status="failed")
    swept = await jobs.sweep(timedelta(0))
    assert {job.subject_id for job in swept} == {document, FIRM_A.id("thing"), FIRM_B.id("thing")}
    assert await queued(service_connection) == [("queued", False)] * 3


async def test_what_was_touched_just_now_is_left_to_whoever_touched_it(jobs: PostgresJobs) -> None:
    assert await jobs.sweep(timedelta(minutes=1)) == []


async def test_what_has_a_job_is_not_swept_be_it_waiting_put_off_or_under_way(
    jobs: PostgresJobs, service_connection: Connection
) -> None:
    assert await jobs.sweep(timedelta(0)) != []
    assert await jobs.sweep(timedelta(0)) == []
    await put_off(service_connection)
    assert await jobs.sweep(timedelta(0)) == []
    await service_connection.execute("UPDATE queue.pgqueuer SET execute_after = now()")
    await take(service_connection)
    assert await jobs.sweep(timedelta(0)) == []


async def test_what_is_followed_up_is_not_swept_though_its_first_job_has_ended(
    jobs: PostgresJobs, service_connection: Connection
) -> None:
    await jobs.sweep(timedelta(0))
    await take(service_connection)
    await jobs.enqueue([run_of()])
    await service_connection.execute("DELETE FROM queue.pgqueuer WHERE status = 'picked'")
    assert [job.subject_id for job in await jobs.sweep(timedelta(0))] == [FIRM_B.id("thing")]


async def test_however_much_one_organization_left_behind_another_has_its_turn(
    jobs: PostgresJobs, owner_connection: Connection
) -> None:
    await unindexed(owner_connection, FIRM_A, count=600)
    (other,) = await unindexed(owner_connection, FIRM_B, age=timedelta(minutes=1))
    swept = await jobs.sweep(timedelta(0))
    assert len(swept) == 500
    assert other in {job.subject_id for job in swept}


async def test_the_oldest_come_first(jobs: PostgresJobs, owner_connection: Connection) -> None:
    newer = await unindexed(owner_connection, FIRM_A, count=2, age=timedelta(hours=1))
    older = await unindexed(owner_connection, FIRM_A, count=2, age=timedelta(hours=2))
    swept = await jobs.sweep(timedelta(minutes=1))
    assert {job.subject_id for job in swept[:2]} == set(older)
    assert {job.subject_id for job in swept[2:]} == set(newer)


# What is taken --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def consumed(
    database: Database,
    handle: Callable[[Job, int], Awaitable[timedelta | None]],
    drain: timedelta = NEVER,
    kinds: Sequence[str] = ("task_run",),
) -> AsyncGenerator[None]:
    """Jobs are taken for the length of the block; then those under way have that long."""
    async with consuming(database.dsn(Login.SERVICE), kinds, handle) as consumer:
        taking = asyncio.create_task(consumer.run(drain))
        try:
            yield
        finally:
            taking.cancel()
            async with asyncio.timeout(30):
                await asyncio.wait([taking])


async def test_a_job_that_is_not_at_its_end_rests_and_knows_how_often_it_was_tried(
    jobs: PostgresJobs, service_connection: Connection, database: Database
) -> None:
    attempts: asyncio.Queue[int] = asyncio.Queue()

    async def handle(job: Job, tried: int) -> timedelta | None:
        await attempts.put(tried)
        return timedelta(0) if tried < 2 else timedelta(hours=1)

    await jobs.enqueue([run_of()])
    async with consumed(database, handle), asyncio.timeout(30):
        assert [await attempts.get() for _ in range(3)] == [0, 1, 2]
    assert await queued(service_connection) == [("queued", True)]


async def test_however_many_documents_wait_a_few_are_under_way_and_a_task_run_has_its_turn(
    jobs: PostgresJobs, database: Database
) -> None:
    ran, may_end = asyncio.Event(), asyncio.Event()
    under_way: Counter[str] = Counter()

    async def handle(job: Job, tried: int) -> timedelta | None:
        if job.kind == "task_run":
            ran.set()
            return None
        under_way[job.kind] += 1
        await may_end.wait()
        return None

    for kind in MOST_OF_A_KIND:
        waiting = [replace(run_of(subject_id=uuid4()), kind=kind) for _ in range(60)]
        await jobs.enqueue(waiting)
    await jobs.enqueue([run_of()])
    async with consumed(database, handle, kinds=("task_run", *MOST_OF_A_KIND)), asyncio.timeout(30):
        await ran.wait()
        assert under_way == MOST_OF_A_KIND
        may_end.set()


async def test_a_job_at_its_end_is_gone(jobs: PostgresJobs, service_connection: Connection, database: Database) -> None:
    done = asyncio.Event()

    async def handle(job: Job, tried: int) -> timedelta | None:
        done.set()
        return None

    await jobs.enqueue([run_of()])
    async with consumed(database, handle), asyncio.timeout(30):
        await done.wait()
    assert await queued(service_connection) == []


async def test_a_job_under_way_may_end_when_the_consumer_stops(
    jobs: PostgresJobs, service_connection: Connection, database: Database
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def handle(job: Job, tried: int) -> timedelta | None:
        begun.set()
        await may_end.wait()
        return None

    await jobs.enqueue([run_of()])
    async with consumed(database, handle), asyncio.timeout(30):
        await begun.wait()
        asyncio.get_running_loop().call_later(0.2, may_end.set)
    assert await queued(service_connection) == []


async def test_a_job_that_takes_longer_than_the_stop_may_last_goes_back_to_the_queue_for_another(
    jobs: PostgresJobs, service_connection: Connection, database: Database
) -> None:
    begun = asyncio.Event()

    async def handle(job: Job, tried: int) -> timedelta | None:
        begun.set()
        await asyncio.Event().wait()
        return None

    await jobs.enqueue([run_of(subject_id=uuid4())])
    async with consumed(database, handle, drain=timedelta(milliseconds=50)), asyncio.timeout(30):
        await begun.wait()
    assert await queued(service_connection) == [("queued", False)]


async def test_a_lost_connection_is_told_as_the_database_being_away(
    jobs: PostgresJobs, superuser_connection: Connection, database: Database
) -> None:
    async def handle(job: Job, tried: int) -> timedelta | None:
        return None

    async with consuming(database.dsn(Login.SERVICE), ("task_run",), handle) as consumer:
        taking = asyncio.create_task(consumer.run(NEVER))
        async with asyncio.timeout(60):
            while not taking.done():
                await superuser_connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'glow worker' AND datname = current_database()"
                )
                await asyncio.wait([taking], timeout=1)
        assert isinstance(taking.exception(), Unavailable)
