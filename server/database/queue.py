"""The durable queue on the same PostgreSQL, as glow_service: jobs in after a commit, and what a crash left swept up.

Payloads hold ids only, since the queue knows no organizations. One job a subject at a time: a second one is skipped by
its dedupe key, so that the sweep may be generous.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
import orjson
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.settings import DBSettings

from domain.kernel import OrganizationId
from server.database.connection import AnyConnection, connect
from server.database.errors import DatabaseUnavailable
from server.database.pool import Pool
from server.logins import Login
from tools.work import Job

BATCH = 10
HEARTBEAT_TIMEOUT = timedelta(seconds=20)
DEQUEUE_TIMEOUT = timedelta(seconds=5)

# A run without progress, or whose worker went away and took its job along; a document nobody has begun to read. Waiting
# runs are looked at again too: the decision they wait for may have come while their last job was still ending.
LEFT_BEHIND = """
SELECT 'task_run' AS kind, r.organization_id, r.task_run_id AS subject_id
FROM task_runs r LEFT JOIN task_run_progress p USING (organization_id, task_run_id)
WHERE (p.status IS NULL AND r.created_at < now() - $1::interval)
   OR (p.status IN ('running', 'waiting') AND p.updated_at < now() - $2::interval)
UNION ALL
SELECT 'document_index', d.organization_id, d.document_id
FROM knowledge_documents d
WHERE d.status IN ('queued', 'parsing') AND d.deleted_at IS NULL AND d.updated_at < now() - $1::interval
LIMIT 500
"""


def queue_on(connection: AnyConnection) -> Queries:
    """pgqueuer's queries on a connection of ours, in the schema of the migration."""
    settings = DBSettings(db_schema="queue")
    return Queries(
        AsyncpgDriver(cast("asyncpg.Connection[Any]", connection)),
        qbe=QueryBuilderEnvironment(settings=settings),
        qbq=QueryQueueBuilder(settings=settings),
        qbs=QuerySchedulerBuilder(settings=settings),
    )


class PostgresJobs:
    """Takes jobs after a commit; satisfies tools.ports.JobQueue."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def enqueue(self, jobs: Sequence[Job]) -> None:
        """Enqueue the jobs in one statement; one that waits or is under way already is skipped.

        Raises  Unavailable: no database; the sweep finds the jobs by their rows.
        """
        async with self._pool.acquire() as connection:
            try:
                await queue_on(connection).enqueue(
                    [job.kind for job in jobs],
                    [payload_of(job) for job in jobs],
                    [0] * len(jobs),
                    dedupe_key=[f"{job.kind}:{job.subject_id}" for job in jobs],
                    on_conflict="skip",
                )
            except TimeoutError as late:
                raise DatabaseUnavailable(Login.SERVICE, "the queue did not answer") from late

    async def left_behind(self, unqueued_for: timedelta, silent_for: timedelta) -> Sequence[Job]:
        """What a crash between commit and enqueue, or in the midst of a job, has left; at most 500."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(LEFT_BEHIND, unqueued_for, silent_for)
        return [
            Job(kind=row["kind"], organization_id=OrganizationId(row["organization_id"]), subject_id=row["subject_id"])
            for row in rows
        ]


class Consumer:
    """Takes jobs on one connection of its own until cancelled."""

    def __init__(
        self, connection: "asyncpg.Connection[Any]", kinds: Sequence[str], handle: Callable[[Job], Awaitable[None]]
    ) -> None:
        self._manager = QueueManager(queue_on(connection))

        async def take(queued: QueuedJob) -> None:
            await handle(job_of(str(queued.entrypoint), queued.payload))

        for kind in kinds:
            self._manager.entrypoint(kind)(take)

    async def run(self) -> None:
        """Take jobs; a job whose worker was silent for too long is taken by another.

        Raises  Unavailable: the connection was lost.
        """
        try:
            await self._manager.run(
                dequeue_timeout=DEQUEUE_TIMEOUT,
                batch_size=BATCH,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ExceptionGroup) as fault:
            raise DatabaseUnavailable(Login.SERVICE, f"the queue was lost ({type(fault).__name__})") from fault


@asynccontextmanager
async def consuming(
    service_url: str, kinds: Sequence[str], handle: Callable[[Job], Awaitable[None]]
) -> AsyncGenerator[Consumer]:
    """A consumer of these kinds of jobs, on a connection that lasts as long as the block.

    Raises  Unavailable: no database.
    """
    try:
        connection = await connect(service_url, application_name="glow worker")
    except (OSError, TimeoutError, asyncpg.PostgresError) as fault:
        raise DatabaseUnavailable(Login.SERVICE, type(fault).__name__) from fault
    try:
        yield Consumer(connection, kinds, handle)
    finally:
        await connection.close()


def payload_of(job: Job) -> bytes:
    """The job's ids, as the queue keeps them."""
    return orjson.dumps({"organization_id": str(job.organization_id), "subject_id": str(job.subject_id)})


def job_of(kind: str, payload: bytes | None) -> Job:
    """The job that a payload of ours stands for."""
    ids = orjson.loads(payload or b"{}")
    return Job(
        kind=cast("Any", kind),
        organization_id=OrganizationId(UUID(ids["organization_id"])),
        subject_id=UUID(ids["subject_id"]),
    )
