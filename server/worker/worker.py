"""Takes jobs from the durable queue for as long as the server runs, and sweeps up what a crash has left."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from domain.kernel import NewId
from server.database.queue import PostgresJobs, consuming
from server.worker.documents import DocumentWorker
from server.worker.task_runs import TaskRunWorker
from tools.outcomes import reference_of
from tools.ports import Unavailable
from tools.work import Job

log = structlog.get_logger()

SWEEP_EVERY_S = 5.0
UNQUEUED_FOR = timedelta(seconds=5)
SILENT_FOR = timedelta(seconds=30)
RECONNECT_AFTER_S = 1.0


class Worker:
    """Runs until cancelled; a lost database is waited for."""

    def __init__(
        self,
        *,
        service_url: str,
        jobs: PostgresJobs,
        task_runs: TaskRunWorker,
        documents: DocumentWorker,
        new_id: NewId,
    ) -> None:
        self._service_url = service_url
        self._jobs = jobs
        self._handlers: dict[str, Callable[[Job], Awaitable[None]]] = {
            "task_run": task_runs.work,
            "document_index": documents.work,
        }
        self._new_id = new_id
        self._alive = False

    @property
    def alive(self) -> bool:
        """True while jobs are being taken, for readiness."""
        return self._alive

    async def run(self) -> None:
        """Take jobs and sweep until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_jobs(), name="worker.jobs")
            group.create_task(self._sweep(), name="worker.sweep")

    async def _take_jobs(self) -> None:
        while True:
            try:
                async with consuming(self._service_url, tuple(self._handlers), self._handle) as consumer:
                    self._alive = True
                    await consumer.run()
            except Unavailable as away:
                log.warning("worker.lost_database", reason=str(away))
            finally:
                self._alive = False
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def _handle(self, job: Job) -> None:
        """One job. What goes wrong is logged here: the queue's own log must hold no more than ids."""
        try:
            await self._handlers[job.kind](job)
        except Unavailable:
            log.warning("job.left_to_sweep", kind=job.kind, subjectId=str(job.subject_id))
        except Exception as fault:
            reference = reference_of(self._new_id())
            log.error("job.faulted", kind=job.kind, subjectId=str(job.subject_id), reference=reference, exc_info=fault)

    async def _sweep(self) -> None:
        while True:
            try:
                left = await self._jobs.left_behind(UNQUEUED_FOR, SILENT_FOR)
                if left:
                    await self._jobs.enqueue(left)
            except Unavailable:
                log.warning("sweep.no_database")
            await asyncio.sleep(SWEEP_EVERY_S)
