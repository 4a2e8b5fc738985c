"""Takes jobs from the durable queue for as long as the server runs, and sweeps up what a crash has left."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from domain.budgets.ports import BudgetReturns
from domain.idempotency.ports import KeyExpiry
from domain.kernel import NewId
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable
from knowledge.embeddings.ports import Embedder
from knowledge.terms import ANALYSIS_VERSION
from server.database.queue import PostgresJobs, consuming
from server.database.workers import PostgresWorkers
from server.worker.again import Again
from server.worker.approvals import ApprovalWorker
from server.worker.documents import DocumentWorker
from server.worker.erasing import ErasureWorker
from server.worker.files import FileWorker
from server.worker.heads import HeadWorker
from server.worker.reviews import DueReviews, ReviewWorker
from server.worker.runs import RunWorker
from server.worker.schedules import ScheduleWorker
from server.worker.sealing import SealWorker
from server.worker.settling import SettleWorker
from server.worker.task_runs import TaskRunWorker
from tools.outcomes import reference_of
from tools.ports import Unavailable
from tools.work import Job

log = structlog.get_logger()

SWEEP_EVERY_S = 5.0
FILES_EVERY_S = 3600.0
EXPIRE_EVERY_S = 60.0
BEAT_EVERY_S = 5.0
SEAL_EVERY_S = 1.0
SEND_EVERY_S = 5.0
REVIEW_EVERY_S = 2.0
LEAVE_WITHIN_S = 2.0
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
        heartbeats: PostgresWorkers,
        task_runs: TaskRunWorker,
        schedules: ScheduleWorker,
        documents: DocumentWorker,
        approvals: ApprovalWorker,
        settling: SettleWorker,
        erasing: ErasureWorker,
        keys: KeyExpiry,
        new_id: NewId,
        runs: RunWorker | None = None,
        sealing: SealWorker | None = None,
        heads: HeadWorker | None = None,
        budgets: BudgetReturns | None = None,
        reviews: ReviewWorker | None = None,
        due_reviews: DueReviews | None = None,
        files: FileWorker | None = None,
        embedder: Embedder | None = None,
        prepared_as: str | None = None,
        remind_before: Callable[[], timedelta | None] = lambda: None,
        drain: timedelta = DRAIN,
    ) -> None:
        """`runs`: goes on with agent runs; None: others do. `sealing`, `heads`, `budgets`, `reviews`: the same of
        the ledger, of what is held of budgets by nobody any more, and of what the record says of autonomy.

        `files`: removes kept files that no document has; None: they are all in the database.

        `embedder`: whose vectors documents should have; `prepared_as`: how they should be read and cut up.

        `remind_before`: how long before its time is over a question is reminded of; None: none is.

        `drain`: how long jobs under way may go on once the worker is cancelled; then they go back to the queue."""
        self._service_url = service_url
        self._jobs = jobs
        self._heartbeats = heartbeats
        self._handlers: dict[str, Callable[[Job], Awaitable[Again | None]]] = {
            "task_run": task_runs.work,
            "schedule": schedules.work,
            "document_index": documents.work,
            "document_embed": documents.work,
            "document_analyse": documents.work,
            "document_purge": documents.work,
            "approval_expire": approvals.work,
            "approval_remind": approvals.work,
            "call_settle": settling.work,
            "privacy_erase": erasing.work,
        }
        if runs is not None:
            self._handlers["run"] = runs.work
        if reviews is not None:
            self._handlers["autonomy_review"] = reviews.work
        self._sealing = sealing
        self._heads = heads
        self._due_reviews = due_reviews
        self._files = files
        self._keys = keys
        self._budgets = budgets
        self._embedder = embedder
        self._prepared_as = prepared_as
        self._remind_before = remind_before
        self._new_id = new_id
        self._worker_id = new_id()
        self._drain = drain
        self._taking = asyncio.Event()

    @property
    def alive(self) -> bool:
        """True while jobs are being taken, for readiness."""
        return self._taking.is_set()

    async def run(self) -> None:
        """Take jobs and sweep until cancelled, and say meanwhile that there is a worker."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._over_and_over(self._take_jobs, RECONNECT_AFTER_S), name="worker.jobs")
                group.create_task(self._over_and_over(self._sweep, SWEEP_EVERY_S), name="worker.sweep")
                group.create_task(self._over_and_over(self._expire, EXPIRE_EVERY_S), name="worker.expire")
                group.create_task(self._over_and_over(self._beat, BEAT_EVERY_S), name="worker.beat")
                if self._due_reviews is not None:
                    group.create_task(
                        self._over_and_over(self._due_reviews.find, REVIEW_EVERY_S), name="worker.reviews"
                    )
                if self._sealing is not None:
                    group.create_task(self._over_and_over(self._sealing.seal, SEAL_EVERY_S), name="worker.seal")
                if self._files is not None:
                    group.create_task(self._over_and_over(self._files.sweep, FILES_EVERY_S), name="worker.files")
                if self._heads is not None:
                    group.create_task(self._over_and_over(self._heads.send, SEND_EVERY_S), name="worker.heads")
        finally:
            await self._leave()

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
                self._taking.set()
                await consumer.run(self._drain)
        finally:
            self._taking.clear()

    async def _beat(self) -> None:
        """A worker that takes no jobs is not heard of."""
        await self._taking.wait()
        await self._heartbeats.beat(self._worker_id, None if self._sealing is None else self._sealing.key_id)

    async def _leave(self) -> None:
        """One that cannot say so is missed after a while all the same."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await self._heartbeats.leave(self._worker_id)

    async def _sweep(self) -> None:
        model = await self._embedding_model()
        await self._jobs.sweep(UNQUEUED_FOR, model, self._remind_before(), ANALYSIS_VERSION, self._prepared_as)
        if self._budgets is not None:
            await self._budgets.take_back()

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
