"""The durable queue on the same PostgreSQL, as glow_service: jobs in after a commit, and what a crash left swept up.

Payloads hold ids only, since the queue knows no organizations. A subject that is not at its end has a job: one that
waits its turn, is put off until later, or is under way; where it has none the sweep gives it one.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
import orjson
import structlog
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import PgqException, RetryRequested
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.settings import DBSettings

from domain.kernel import OrganizationId
from server.database.connection import AnyConnection, connect
from server.database.errors import DatabaseUnavailable
from server.database.pool import Pool
from server.logins import Login
from tools.work import Job

log = structlog.get_logger()

Handle = Callable[[Job, int], Awaitable[timedelta | None]]
"""Does a job that was tried so many times before; gives how long it rests where it is not at its end, else None."""

BATCH = 10
MOST_AT_ONCE = 2 * BATCH
"""Jobs that one worker has under way."""
MOST_OF_A_KIND: Mapping[str, int] = {
    "document_index": 4,
    "document_embed": 4,
    "document_analyse": 2,
    "document_purge": 1,
}
"""Jobs under way over all workers: what waits for one of the few places where files are read and vectors asked for must
not wait there for longer than its call may take, hold its file in memory meanwhile, or keep task runs out."""
HEARTBEAT_TIMEOUT = timedelta(seconds=20)
"""As long as glow.documents_parsing believes a worker to be at its job."""
DEQUEUE_TIMEOUT = timedelta(seconds=5)
CANCELLED_WITHIN = timedelta(seconds=5)

SWEPT_AT_ONCE = 500
OUTSIDE_FOR = timedelta(seconds=60)
"""How long whoever acts outside is left to say itself how it ended."""

LOST = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # A connection that is cut in the midst of one operation refuses the next with this.
    asyncpg.InternalClientError,
    PgqException,
    ExceptionGroup,
)
"""What the engine ends with when its connection is gone."""

# What is not at its end and has no job, neither waiting nor put off nor under way: a crash came before the job, or took
# it along. Oldest first, each organization in its turn: however much one has left behind, no other is kept waiting.
LEFT_BEHIND = """
WITH unfinished AS (
    SELECT 'task_run' AS kind, r.organization_id, r.task_run_id AS subject_id,
           coalesce(p.updated_at, r.created_at) AS since
    FROM task_runs r LEFT JOIN task_run_progress p USING (organization_id, task_run_id)
    WHERE p.status IS NULL OR p.status IN ('running', 'waiting')
    UNION ALL
    -- Past its time, however short a while ago: whoever waits for an answer is told within seconds that none comes.
    SELECT 'approval_expire', a.organization_id, a.approval_id, a.expires_at - $1::interval
    FROM approvals a
    WHERE a.state = 'pending' AND a.expires_at <= now()
    UNION ALL
    -- So long before its time is over, and not before half of it is; once.
    SELECT 'approval_remind', a.organization_id, a.approval_id, a.created_at
    FROM approvals a
    WHERE a.state = 'pending' AND a.reminded_at IS NULL AND a.expires_at > now()
      AND a.expires_at <= now() + $5::interval
      AND now() >= a.created_at + (a.expires_at - a.created_at) / 2
    UNION ALL
    -- What a run asked that is over: nobody need answer any more.
    SELECT DISTINCT 'task_run', a.organization_id, a.task_run_id, p.updated_at
    FROM approvals a JOIN task_run_progress p USING (organization_id, task_run_id)
    WHERE a.state = 'pending' AND a.expires_at > now() AND p.status IN ('failed', 'cancelled')
    UNION ALL
    SELECT DISTINCT 'run', a.organization_id, a.run_id, r.heartbeat_at
    FROM approvals a JOIN runs r USING (organization_id, run_id)
    WHERE a.state = 'pending' AND a.expires_at > now() AND r.status IN ('failed', 'cancelled')
    UNION ALL
    -- A call that is under way outside is given its time; then whoever made it has stopped.
    SELECT 'call_settle', i.organization_id, i.call_id, i.begun_at
    FROM call_intents i WHERE i.begun_at < now() - $4::interval
    UNION ALL
    SELECT 'call_settle', a.organization_id, a.call_id, a.decided_at
    FROM approvals a WHERE a.state = 'executing'
    UNION ALL
    -- Due now: nobody waits to see whether a job comes, since only the sweep brings one.
    SELECT 'schedule', s.organization_id, s.schedule_id, s.next_run_at - $1::interval
    FROM schedule_progress s
    WHERE s.next_run_at <= now()
    UNION ALL
    SELECT 'privacy_erase', e.organization_id, e.erasure_id, e.since FROM glow.erasures_due() e
    UNION ALL
    SELECT 'document_index', d.organization_id, d.document_id, d.updated_at
    FROM knowledge_documents d
    WHERE d.status IN ('queued', 'parsing') AND d.deleted_at IS NULL
    UNION ALL
    -- Deleted, and its time to be restored is over.
    SELECT 'document_purge', d.organization_id, d.document_id, d.purge_at - $1::interval
    FROM knowledge_documents d
    WHERE d.deleted_at IS NOT NULL AND coalesce(d.deleted_with, d.document_id) = d.document_id
      AND d.purge_at <= now()
    UNION ALL
    -- Found by the terms of another analysis: once all else is done, since they are found meanwhile.
    SELECT 'document_analyse', d.organization_id, d.document_id, now() - $1::interval - interval '1 second'
    FROM knowledge_documents d
    WHERE d.status IN ('embedding', 'ready') AND d.deleted_at IS NULL AND d.analysis_version < $6::int
    UNION ALL
    SELECT 'document_embed', d.organization_id, d.document_id, d.updated_at
    FROM knowledge_documents d
    WHERE d.status = 'embedding' AND d.deleted_at IS NULL
    UNION ALL
    -- What was indexed before there was this model; and, once a day, what its server would not embed.
    SELECT 'document_embed', d.organization_id, d.document_id, d.updated_at
    FROM knowledge_documents d
    WHERE d.status = 'ready' AND d.deleted_at IS NULL AND d.replaced_by IS NULL AND $3::text IS NOT NULL
      AND (d.embedding_model IS NULL OR d.embedding_model < $3 OR d.embedding_model > $3)
      -- Where processes are set to different models, what one has embedded last is still whole for the other.
      AND $3 <> ALL (d.embedding_models)
      AND (d.failure IS NULL OR d.updated_at < now() - interval '1 day')
    UNION ALL
    SELECT 'document_embed', d.organization_id, d.document_id, d.updated_at
    FROM knowledge_documents d
    WHERE d.status = 'ready' AND d.deleted_at IS NULL AND d.replaced_by IS NULL AND d.embedding_model = $3
      AND d.failure IS NOT NULL AND d.updated_at < now() - interval '1 day'
    UNION ALL
    -- What waits to take the place of what is found.
    SELECT 'document_embed', s.organization_id, s.document_id, s.staged_at FROM knowledge_staged s
    UNION ALL
    -- What was read and cut up otherwise than it would be now, and is found meanwhile.
    SELECT 'document_index', d.organization_id, d.document_id, d.updated_at
    FROM knowledge_documents d
    WHERE d.status = 'ready' AND d.deleted_at IS NULL AND d.replaced_by IS NULL AND $7::text IS NOT NULL
      AND d.prepared_as <> $7
      AND NOT EXISTS (SELECT FROM knowledge_staged s
                      WHERE s.organization_id = d.organization_id AND s.document_id = d.document_id)
), left_behind AS (
    SELECT u.*, row_number() OVER (PARTITION BY u.organization_id ORDER BY u.since, u.subject_id) AS turn
    FROM unfinished u
    WHERE u.since < now() - $1::interval AND NOT EXISTS (
        SELECT FROM queue.pgqueuer q
        WHERE q.status IN ('queued', 'picked') AND split_part(q.dedupe_key, '/', 1) = u.kind || ':' || u.subject_id)
)
SELECT kind, organization_id, subject_id FROM left_behind ORDER BY turn, since, subject_id LIMIT $2
"""

MOST_IN_A_ROW = 10
"""Jobs of one subject, each following another that is under way; what comes then, the sweep finds."""

# A job that is put off gives way to one that is to be done now. One that is under way may have read what has changed
# since: it stays, and is followed by another.
MAKE_WAY = """
WITH put_off AS (
    DELETE FROM queue.pgqueuer WHERE dedupe_key = ANY ($1) AND status = 'queued' AND execute_after > now()
    RETURNING dedupe_key
)
SELECT dedupe_key, NULL AS under_way FROM put_off
UNION ALL
SELECT dedupe_key, id::text FROM queue.pgqueuer WHERE dedupe_key = ANY ($1) AND status = 'picked'
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
        """Enqueue jobs to be done now, whatever is known of their subjects already.

        A job that waits its turn is enough; one that was put off is brought forward; one that is under way is followed
        by one other, since it may have looked too early.
        Raises  Unavailable: no database; the sweep finds the jobs by their rows.
        """
        async with self._connection() as connection:
            keyed = {key_of(job): job for job in jobs}
            # What follows a job may be under way itself by now: each time the key is that of a job further on.
            for _ in range(MOST_IN_A_ROW):
                skipped = await _insert(connection, keyed)
                if not skipped:
                    return
                rows = await connection.fetch(MAKE_WAY, list(skipped))
                keyed = {_key_after(row): skipped[row["dedupe_key"]] for row in rows}

    async def sweep(
        self,
        unqueued_for: timedelta,
        embedding_model: str | None = None,
        remind_before: timedelta | None = None,
        analysis_version: int | None = None,
        prepared_as: str | None = None,
    ) -> Sequence[Job]:
        """Enqueue what is unfinished and has had no job for that long, and say what it was; at most 500 at once.

        `embedding_model`: documents without its vectors are unfinished too.
        `prepared_as`: documents that were prepared otherwise are to be prepared anew; None: none is.
        `remind_before`: how long before its time is over a question is reminded of; None: none is.
        `analysis_version`: documents found by the terms of an earlier one are unfinished too.

        Raises  Unavailable: no database.
        """
        async with self._connection() as connection:
            rows = await connection.fetch(
                LEFT_BEHIND,
                unqueued_for,
                SWEPT_AT_ONCE,
                embedding_model,
                OUTSIDE_FOR,
                remind_before,
                analysis_version,
                prepared_as,
            )
            left = [
                Job(
                    kind=row["kind"],
                    organization_id=OrganizationId(row["organization_id"]),
                    subject_id=row["subject_id"],
                )
                for row in rows
            ]
            await _insert(connection, {key_of(job): job for job in left})
        return left

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[AnyConnection]:
        async with self._pool.acquire() as connection:
            try:
                yield connection
            except TimeoutError as late:
                raise DatabaseUnavailable(Login.SERVICE, "the queue did not answer") from late


async def _insert(connection: AnyConnection, jobs: Mapping[str, Job]) -> Mapping[str, Job]:
    """Enqueue the jobs by their keys, in one statement; gives those whose key has a job already."""
    if not jobs:
        return {}
    ids = await queue_on(connection).enqueue(
        [job.kind for job in jobs.values()],
        [payload_of(job) for job in jobs.values()],
        [0] * len(jobs),
        dedupe_key=list(jobs),
        on_conflict="skip",
    )
    return {key: job for (key, job), job_id in zip(jobs.items(), ids, strict=True) if job_id is None}


class Consumer:
    """Takes jobs on one connection of its own until cancelled."""

    def __init__(self, connection: "asyncpg.Connection[Any]", kinds: Sequence[str], handle: Handle) -> None:
        self._manager = QueueManager(queue_on(connection))

        async def take(queued: QueuedJob) -> None:
            pause = await _pause(queued, handle)
            if pause is not None:
                raise RetryRequested(pause)

        for kind in kinds:
            self._manager.entrypoint(kind, concurrency_limit=MOST_OF_A_KIND.get(kind, 0))(take)

    async def run(self, drain: timedelta) -> None:
        """Take jobs until cancelled; those under way then have `drain` to end, and go back to the queue otherwise.

        A job whose worker was silent for too long is taken by another.
        Raises  Unavailable: the connection was lost.
        """
        taking = asyncio.create_task(self._take(), name="queue.taking")
        taking.add_done_callback(_forget_fault)
        try:
            await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._manager.shutdown.set()
            await asyncio.wait([taking], timeout=drain.total_seconds())
            raise
        finally:
            await _cancelled(taking)

    async def _take(self) -> None:
        try:
            await self._manager.run(
                dequeue_timeout=DEQUEUE_TIMEOUT,
                batch_size=BATCH,
                max_concurrent_tasks=MOST_AT_ONCE,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
            )
        except LOST as fault:
            raise DatabaseUnavailable(Login.SERVICE, f"the queue was lost ({type(fault).__name__})") from fault


async def _pause(queued: QueuedJob, handle: Handle) -> timedelta | None:
    try:
        return await handle(job_of(str(queued.entrypoint), queued.payload), queued.attempts)
    except asyncio.CancelledError:
        # The worker stops. The cancellation ends here, or the engine would forget the job instead of passing it on.
        return timedelta(0)


def _forget_fault(taking: "asyncio.Task[None]") -> None:
    """What fails while the consumer is stopping has nobody left to be told."""
    if not taking.cancelled():
        taking.exception()


async def _cancelled(taking: "asyncio.Task[None]") -> None:
    """Cancel what still runs and see it end, in a time of its own: the connection closes after it."""
    taking.cancel()
    _, running = await asyncio.wait([taking], timeout=CANCELLED_WITHIN.total_seconds())
    if running:
        log.error("queue.jobs_hang")


@asynccontextmanager
async def consuming(service_url: str, kinds: Sequence[str], handle: Handle) -> AsyncGenerator[Consumer]:
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


def key_of(job: Job) -> str:
    """What a subject's one job is known by."""
    return f"{job.kind}:{job.subject_id}"


def _key_after(row: "asyncpg.Record") -> str:
    """The key of a job that takes another's place, or is the one that follows a job that is under way."""
    key, under_way = str(row["dedupe_key"]), row["under_way"]
    return key if under_way is None else f"{key}/{under_way}"


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
