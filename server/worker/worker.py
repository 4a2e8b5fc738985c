"""Takes jobs from the durable queue for as long as the server runs, and sweeps up what a crash has left."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from domain.idempotency.ports import KeyExpiry
from domain.kernel import NewId
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable
from knowledge.embeddings.ports import Embedder
from server.database.queue import PostgresJobs, consuming
from server.worker.again import Again
from server.worker.documents import DocumentWorker
from server.worker.task_runs import TaskRunWorker
from tools.outcomes import reference_of
from tools.ports import Unavailable
from tools.work import Job

log = structlog.get_logger()

SWEEP_EVERY_S = 5.0
EXPIRE_EVERY_S = 60.0
UNQUEUED_FOR = timedelta(seconds=5)
RECONNECT_AFTER_S = 1.0
SPACE_WITHIN_S = 3.0
DRAIN = timedelta(seconds=10)


class Worker:
    """Runs until cancelled; a lost database is waited for."""

    def __init__(
        self,
        *,
        service_url: str,
        jobs: PostgresJobs,
        task_runs: TaskRunWorker,
        documents: DocumentWorker,
        keys: KeyExpiry,
        new_id: NewId,
        embedder: Embedder | None = None,
        drain: timedelta = DRAIN,
    ) -> None:
        """`embedder`: whose vectors documents should have.

        `drain`: how long jobs under way may go on once the worker is cancelled; then they go back to the queue."""
        self._service_url = service_url
        self._jobs = jobs
        self._handlers: dict[str, Callable[[Job], Awaitable[Again | None]]] = {
            "task_run": task_runs.work,
            "document_index": documents.work,
            "document_embed": documents.work,
        }
        self._keys = keys
        self._embedder = embedder
        self._new_id = new_id
        self._drain = drain
        self._alive = False

    @property
    def alive(self) -> bool:
        """True while jobs are being taken, for readiness."""
        return self._alive

    async def run(self) -> None:
        """Take jobs and sweep until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._over_and_over(self._take_jobs, RECONNECT_AFTER_S), name="worker.jobs")
            group.create_task(self._over_and_over(self._sweep, SWEEP_EVERY_S), name="worker.sweep")
            group.create_task(self._over_and_over(self._expire, EXPIRE_EVERY_S), name="worker.expire")

    async def _over_and_over(self, work: Callable[[], Awaitable[None]], pause_s: float) -> None:
        """No fault of one time ends it for good."""
        while True:
            try:
                await work()
            except Unavailable as away:
                log.warning("worker.lost_database", reason=str(away))
            except Exception as fault:
                log.error("worker.faulted", reference=reference_of(self._new_id()), exc_info=fault)
            await asyncio.sleep(pause_s)

    async def _take_jobs(self) -> None:
        try:
            async with consuming(self._service_url, tuple(self._handlers), self._handle) as consumer:
                self._alive = True
                await consumer.run(self._drain)
        finally:
            self._alive = False

    async def _sweep(self) -> None:
        await self._jobs.sweep(UNQUEUED_FOR, await self._embedding_model())

    async def _embedding_model(self) -> str | None:
        """The model that documents without vectors wait for; None: there is none, or nobody knows it yet."""
        if self._embedder is None:
            return None
        try:
            async with asyncio.timeout(SPACE_WITHIN_S):
                return (await self._embedder.space()).model_id
        except (TimeoutError, EmbeddingsUnavailable, EmbeddingsRefused):
            return None

    async def _expire(self) -> None:
        """Idempotency keys that nobody may rely on any more, a batch at a time."""
        while await self._keys.remove_expired():
            pass

    async def _handle(self, job: Job, attempts: int) -> timedelta | None:
        """One job, and how long it rests where it is not at its end."""
        again = await self._work(job)
        return None if again is None else again.pause(attempts)

    async def _work(self, job: Job) -> Again | None:
        """What goes wrong is logged here: the queue's own log must hold no more than ids."""
        try:
            return await self._handlers[job.kind](job)
        except Unavailable:
            log.warning("job.put_off", kind=job.kind, subjectId=str(job.subject_id))
        except Exception as fault:
            reference = reference_of(self._new_id())
            log.error("job.faulted", kind=job.kind, subjectId=str(job.subject_id), reference=reference, exc_info=fault)
        return Again()
