"""Background work: a run brought to its end whatever stops a worker in between, and what cannot be done now put off."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID, uuid4

import orjson
import pytest

from domain.idempotency.postgres import PostgresKeyExpiry
from domain.kernel import OrganizationId, TaskRunId, new_id, utc_now
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from server.database.workers import PostgresWorkers, WorkersHeard
from server.ledger_keys import LedgerKeys
from server.logins import Login
from server.worker.again import PAUSES, Again
from server.worker.approvals import ApprovalWorker
from server.worker.documents import DocumentWorker
from server.worker.erasing import ErasureWorker
from server.worker.schedules import ScheduleWorker
from server.worker.sealing import SealWorker
from server.worker.settling import SettleWorker
from server.worker.steps import call_id_of
from server.worker.task_runs import TaskRunWorker
from server.worker.worker import Worker
from tests.support.database import Database
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.ledger import KEY
from tools.outcomes import Json
from tools.work import Job
from tools.workflows import Workflows

HAND = principal_of(mode="person", door="rest")
STEPS = ("by_tool", "by_day", "follow_up")
PROGRESS = "SELECT status, message, failure, steps FROM task_run_progress WHERE task_run_id = $1"
EVENTS = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY recorded_at, kind"
REVIEWS = "SELECT count(*) FROM tasks WHERE title LIKE 'Review the use of tools%'"
DENIED = "SELECT count(*) FROM activity_events WHERE tool = 'document_index' AND kind = 'tool.denied'"
JOBS = "SELECT status::text AS status, attempts, execute_after > now() AS put_off FROM queue.pgqueuer ORDER BY id"


@dataclass(slots=True)
class Faults:
    """What happens between the steps of a gate's calls, once it is armed."""

    stage: str = ""
    stays: bool = True
    """Whether a call that reaches the stage goes no further."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    meeting: asyncio.Barrier | None = None

    async def __call__(self, step: str) -> None:
        if self.meeting is not None and step == "parsed":
            async with asyncio.timeout(20):
                await self.meeting.wait()
        if step == self.stage:
            self.stage = ""
            self.reached.set()
            if self.stays:
                await asyncio.Event().wait()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection, faults: Faults) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools, fault=faults) as opened:
        yield opened


@pytest.fixture
def identities(pools: DatabasePools) -> PostgresIdentities:
    return PostgresIdentities(pools.app)


def worker_on(
    gate: GateOnTest,
    identities: PostgresIdentities,
    *,
    ahead: timedelta = timedelta(0),
    workflows: Workflows | None = None,
) -> TaskRunWorker:
    """A worker whose clock is that far ahead."""

    def clock() -> datetime:
        return utc_now() + ahead

    return TaskRunWorker(
        gate=gate.gate,
        transactions=gate.transactions,
        identities=identities,
        workflows=workflows or gate.workflows,
        clock=clock,
    )


def part(result: Json | None, name: str) -> Json:
    assert result is not None
    return cast(Json, result[name])


async def started(gate: GateOnTest, **given: object) -> Job:
    """A run of the workflow that ships, asked for by an employee's own hand; its job, which nobody has taken."""
    created = await gate.call("task_create", {"title": "Refresh", "kind": "refresh_analytics", "input": given}, HAND)
    task = part(created.result, "task")
    await gate.call("task_run", {"task_id": task["task_id"]}, HAND)
    return gate.queue.jobs.pop()


async def at_level(owner: Connection, level: int) -> None:
    await owner.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at) "
        "VALUES ($1, gen_random_uuid(), 'organization', $2, $3, clock_timestamp())",
        FIRM_A.organization_id,
        level,
        FIRM_A.id("partner"),
    )


async def status(inspector: Connection, job: Job) -> tuple[str, str | None]:
    row = await inspector.fetchrow(PROGRESS, job.subject_id)
    assert row is not None
    return row["status"], row["failure"]


async def steps(inspector: Connection, job: Job) -> list[tuple[object, object]]:
    row = await inspector.fetchrow(PROGRESS, job.subject_id)
    assert row is not None
    return [(step["status"], step["outcome"]) for step in cast("list[Json]", orjson.loads(row["steps"]))]


async def kinds(inspector: Connection, job: Job, step: str, attempt: int = 0) -> list[str]:
    """The events of a step's call."""
    rows = await inspector.fetch(EVENTS, call_id_of(TaskRunId(job.subject_id), step, attempt))
    return [row["kind"] for row in rows]


# Runs -----------------------------------------------------------------------------------------------------------------


async def test_the_reports_of_one_run_are_over_one_period(gate: GateOnTest, identities: PostgresIdentities) -> None:
    job = await started(gate, **{"from": "2026-11-01", "to": "2026-11-30"})
    await worker_on(gate, identities).work(job)
    listed = await gate.call("task_list", {"limit": 1}, HAND)
    assert listed.result is not None
    drafted = cast("list[Json]", listed.result["items"])[0]
    assert str(drafted["description"]).count("From 2026-11-01 to 2026-11-30:") == 2


async def test_a_run_makes_each_step_once_however_often_its_job_comes(
    gate: GateOnTest, identities: PostgresIdentities, superuser_connection: Connection
) -> None:
    job = await started(gate)
    worker = worker_on(gate, identities)
    assert [await worker.work(job), await worker.work(job)] == [None, None]
    assert await status(superuser_connection, job) == ("completed", None)
    assert await superuser_connection.fetchval(REVIEWS) == 1
    assert [await kinds(superuser_connection, job, step) for step in STEPS] == [
        ["tool.completed"],
        ["tool.completed"],
        ["tool.allowed", "tool.completed"],
    ]


async def test_two_workers_on_one_run_complete_it_once(
    gate: GateOnTest, identities: PostgresIdentities, faults: Faults, superuser_connection: Connection
) -> None:
    """Each finds, at every step, that the other makes the very same call at the same time."""
    job = await started(gate)
    faults.meeting = asyncio.Barrier(2)
    ended = await asyncio.gather(*(worker_on(gate, identities).work(job) for _ in range(2)))
    assert ended == [None, None]
    assert await status(superuser_connection, job) == ("completed", None)
    assert await steps(superuser_connection, job) == [("done", "done")] * 3
    assert await superuser_connection.fetchval(REVIEWS) == 1
    assert await kinds(superuser_connection, job, "follow_up") == ["tool.allowed", "tool.completed"]


@pytest.mark.parametrize(
    ("stage", "cut_off"),
    [
        ("facts", "by_tool"),
        ("work", "by_tool"),
        ("ticket", "follow_up"),
        ("outcome", "follow_up"),
    ],
)
async def test_a_run_whose_worker_was_cancelled_in_a_step_is_taken_up_again_and_makes_no_step_twice(
    gate: GateOnTest,
    identities: PostgresIdentities,
    faults: Faults,
    superuser_connection: Connection,
    stage: str,
    cut_off: str,
) -> None:
    job = await started(gate)
    faults.stage = stage
    working = asyncio.create_task(worker_on(gate, identities).work(job))
    async with asyncio.timeout(20):
        await faults.reached.wait()
        working.cancel()
        await asyncio.wait([working])
    assert working.cancelled()
    assert (await kinds(superuser_connection, job, cut_off))[-1] == "tool.cancelled"
    assert (await status(superuser_connection, job))[0] == "running"

    assert await worker_on(gate, identities).work(job) is None
    assert await status(superuser_connection, job) == ("completed", None)
    assert (await kinds(superuser_connection, job, cut_off, attempt=1))[-1] == "tool.completed"
    assert await superuser_connection.fetchval(REVIEWS) == 1


async def test_a_step_that_was_committed_before_the_worker_was_cancelled_is_not_made_again(
    gate: GateOnTest, identities: PostgresIdentities, faults: Faults, superuser_connection: Connection
) -> None:
    job = await started(gate)
    working = asyncio.create_task(worker_on(gate, identities).work(job))
    faults.stage = "recorded"
    async with asyncio.timeout(20):
        await faults.reached.wait()
        working.cancel()
        await asyncio.wait([working])
    assert await worker_on(gate, identities).work(job) is None
    assert await kinds(superuser_connection, job, "by_tool") == ["tool.completed"]
    assert await kinds(superuser_connection, job, "by_tool", attempt=1) == []


# Approvals ------------------------------------------------------------------------------------------------------------


async def waiting(gate: GateOnTest, identities: PostgresIdentities, owner: Connection) -> tuple[Job, UUID]:
    """A run whose last step waits, and the approval that it waits for."""
    await at_level(owner, 1)
    job = await started(gate)
    again = await worker_on(gate, identities).work(job)
    assert again is not None
    assert again.after is not None
    assert timedelta(hours=23) < again.after <= timedelta(hours=24)
    approval = await owner.fetchval("SELECT approval_id FROM approvals WHERE task_run_id = $1", job.subject_id)
    assert isinstance(approval, UUID)
    return job, approval


async def test_a_run_that_waits_rests_until_its_approval_expires_and_fails_then(
    gate: GateOnTest, identities: PostgresIdentities, owner_connection: Connection, superuser_connection: Connection
) -> None:
    job, _ = await waiting(gate, identities, owner_connection)
    assert (await status(superuser_connection, job))[0] == "waiting"
    assert await worker_on(gate, identities, ahead=timedelta(hours=25)).work(job) is None
    assert await status(superuser_connection, job) == ("failed", "follow_up did not succeed: its approval expired.")
    assert (await steps(superuser_connection, job))[-1] == ("failed", "expired")


@pytest.mark.parametrize(
    ("answer", "ended"),
    [("approve", ("completed", None)), ("reject", ("failed", "follow_up did not succeed: rejected."))],
)
async def test_a_decision_brings_a_run_that_waits_to_its_end_at_once(
    gate: GateOnTest,
    identities: PostgresIdentities,
    owner_connection: Connection,
    superuser_connection: Connection,
    answer: str,
    ended: tuple[str, str | None],
) -> None:
    job, approval = await waiting(gate, identities, owner_connection)
    decided = await gate.call("approval_decide", {"approval_id": str(approval), "decision": answer}, HAND)
    assert decided.outcome == "done"
    assert gate.queue.jobs == [job]
    assert await worker_on(gate, identities).work(job) is None
    assert await status(superuser_connection, job) == ended
    assert await superuser_connection.fetchval(REVIEWS) == (1 if answer == "approve" else 0)


# What cannot be done --------------------------------------------------------------------------------------------------


async def test_a_run_of_a_workflow_that_is_no_more_ends_with_the_reason(
    gate: GateOnTest, identities: PostgresIdentities, superuser_connection: Connection
) -> None:
    job = await started(gate)
    assert await worker_on(gate, identities, workflows=Workflows([])).work(job) is None
    assert await status(superuser_connection, job) == ("failed", "There is no workflow refresh_analytics any more.")


async def test_a_run_that_is_not_to_be_found_is_looked_for_later(
    gate: GateOnTest, identities: PostgresIdentities
) -> None:
    job = Job(kind="task_run", organization_id=OrganizationId(FIRM_A.organization_id), subject_id=uuid4())
    assert await worker_on(gate, identities).work(job) == Again()


async def uploaded(gate: GateOnTest) -> Job:
    async with gate.staging.holding(HAND, b"a paper") as digest:
        asked = {"title": "Paper", "file_name": "a.txt", "content_sha256": digest, "size_bytes": 7}
        assert (await gate.call("document_upload", asked, HAND)).outcome == "done"
    return gate.queue.jobs.pop()


def indexing(gate: GateOnTest, identities: PostgresIdentities) -> DocumentWorker:
    return DocumentWorker(gate=gate.gate, identities=identities, new_id=new_id)


async def test_a_document_is_indexed_once_and_one_that_was_deleted_meanwhile_is_left_alone(
    gate: GateOnTest, identities: PostgresIdentities
) -> None:
    job = await uploaded(gate)
    assert await indexing(gate, identities).work(job) is None
    await gate.call("document_delete", {"document_id": str(job.subject_id)}, HAND)
    assert await indexing(gate, identities).work(job) is None


async def test_what_the_level_of_autonomy_forbids_is_tried_again_until_it_is_allowed(
    gate: GateOnTest, identities: PostgresIdentities, owner_connection: Connection
) -> None:
    job = await uploaded(gate)
    await at_level(owner_connection, 0)
    assert await indexing(gate, identities).work(job) == Again()
    await at_level(owner_connection, 2)
    assert await indexing(gate, identities).work(job) is None


def test_what_stands_in_the_way_is_tried_ever_more_seldom_but_for_ever() -> None:
    assert [Again().pause(attempts) for attempts in range(6)] == [*PAUSES, PAUSES[-1], PAUSES[-1]]
    assert list(PAUSES) == sorted(PAUSES)
    assert Again(after=timedelta(hours=3)).pause(7) == timedelta(hours=3)


# With the queue -------------------------------------------------------------------------------------------------------


async def stopped_at(reached: asyncio.Event, worker: Worker) -> None:
    """Run the worker until then, and see it stop."""
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(30):
        await reached.wait()
        running.cancel()
        await asyncio.wait([running])


def scheduling(gate: GateOnTest, identities: PostgresIdentities) -> ScheduleWorker:
    return ScheduleWorker(gate=gate.gate, transactions=gate.transactions, identities=identities, clock=utc_now)


def whole_worker(
    gate: GateOnTest,
    identities: PostgresIdentities,
    pools: DatabasePools,
    database: Database,
    drain: timedelta,
    documents: DocumentWorker | None = None,
) -> Worker:
    return Worker(
        service_url=database.dsn(Login.SERVICE),
        jobs=PostgresJobs(pools.service),
        heartbeats=PostgresWorkers(pools.service),
        task_runs=worker_on(gate, identities),
        schedules=scheduling(gate, identities),
        documents=documents or indexing(gate, identities),
        approvals=ApprovalWorker(gate=gate.gate, identities=identities, new_id=new_id),
        settling=SettleWorker(gate=gate.gate, identities=identities, new_id=new_id),
        erasing=ErasureWorker(gate=gate.gate, identities=identities, new_id=new_id),
        keys=PostgresKeyExpiry(pools.service.acquire),
        new_id=new_id,
        drain=drain,
        sealing=SealWorker(pools.service, lambda: LedgerKeys(KEY)),
    )


async def test_a_worker_that_is_stopped_gives_back_in_bounded_time_what_it_cannot_finish(
    gate: GateOnTest,
    identities: PostgresIdentities,
    faults: Faults,
    pools: DatabasePools,
    database: Database,
    superuser_connection: Connection,
) -> None:
    job = await started(gate)
    await PostgresJobs(pools.service).enqueue([job])
    faults.stage = "ticket"
    await stopped_at(faults.reached, whole_worker(gate, identities, pools, database, timedelta(milliseconds=50)))
    rows = await superuser_connection.fetch(JOBS)
    assert [(row["status"], row["put_off"]) for row in rows] == [("queued", False)]
    assert await kinds(superuser_connection, job, "follow_up") == ["tool.allowed", "tool.cancelled"]

    assert await worker_on(gate, identities).work(job) is None
    assert await status(superuser_connection, job) == ("completed", None)
    assert await superuser_connection.fetchval(REVIEWS) == 1


async def test_what_is_denied_is_put_off_and_neither_swept_nor_recorded_over_and_over(
    gate: GateOnTest,
    identities: PostgresIdentities,
    faults: Faults,
    pools: DatabasePools,
    database: Database,
    owner_connection: Connection,
    superuser_connection: Connection,
) -> None:
    job = await uploaded(gate)
    await at_level(owner_connection, 0)
    jobs = PostgresJobs(pools.service)
    await jobs.enqueue([job])
    faults.stage, faults.stays = "undone", False
    worker = whole_worker(gate, identities, pools, database, timedelta(seconds=20))
    await stopped_at(faults.reached, worker)
    assert await superuser_connection.fetchval(DENIED) == 1
    (row,) = await superuser_connection.fetch(JOBS)
    assert (row["status"], row["attempts"], row["put_off"]) == ("queued", 1, True)
    assert job not in await jobs.sweep(timedelta(0))


async def test_a_job_that_faults_is_put_off_and_the_queue_learns_nothing_of_the_fault(
    gate: GateOnTest,
    identities: PostgresIdentities,
    pools: DatabasePools,
    database: Database,
    superuser_connection: Connection,
) -> None:
    job, reached = await uploaded(gate), asyncio.Event()
    await PostgresJobs(pools.service).enqueue([job])

    def faulty() -> UUID:
        reached.set()
        raise RuntimeError("a secret of the firm")

    documents = DocumentWorker(gate=gate.gate, identities=identities, new_id=faulty)
    await stopped_at(reached, whole_worker(gate, identities, pools, database, timedelta(seconds=20), documents))
    (row,) = await superuser_connection.fetch(JOBS)
    assert (row["status"], row["attempts"], row["put_off"]) == ("queued", 1, True)
    logged = await superuser_connection.fetch("SELECT traceback::text AS text FROM queue.pgqueuer_log")
    assert not any("secret" in (row["text"] or "") for row in logged)


class FaultySweep(PostgresJobs):
    """A queue whose sweep never works."""

    async def sweep(
        self,
        unqueued_for: timedelta,
        embedding_model: str | None = None,
        remind_before: timedelta | None = None,
        analysis_version: int | None = None,
        prepared_as: str | None = None,
    ) -> Sequence[Job]:
        raise RuntimeError("out of order")


async def test_a_fault_of_the_sweep_keeps_no_job_from_being_done(
    gate: GateOnTest,
    identities: PostgresIdentities,
    faults: Faults,
    pools: DatabasePools,
    database: Database,
    superuser_connection: Connection,
) -> None:
    job = await uploaded(gate)
    jobs = FaultySweep(pools.service)
    faults.stage, faults.stays = "committed", False
    worker = Worker(
        service_url=database.dsn(Login.SERVICE),
        jobs=jobs,
        heartbeats=PostgresWorkers(pools.service),
        task_runs=worker_on(gate, identities),
        schedules=scheduling(gate, identities),
        documents=indexing(gate, identities),
        approvals=ApprovalWorker(gate=gate.gate, identities=identities, new_id=new_id),
        settling=SettleWorker(gate=gate.gate, identities=identities, new_id=new_id),
        erasing=ErasureWorker(gate=gate.gate, identities=identities, new_id=new_id),
        keys=PostgresKeyExpiry(pools.service.acquire),
        new_id=new_id,
    )
    await jobs.enqueue([job])
    await stopped_at(faults.reached, worker)
    assert await superuser_connection.fetch(JOBS) == []


async def test_a_worker_is_heard_of_while_it_takes_jobs_and_no_more_when_it_has_left(
    gate: GateOnTest, identities: PostgresIdentities, pools: DatabasePools, database: Database
) -> None:
    workers = PostgresWorkers(pools.service)
    working = asyncio.create_task(whole_worker(gate, identities, pools, database, drain=timedelta(seconds=1)).run())
    async with asyncio.timeout(30):
        # Each look is a round trip to the database, and lets the worker go on.
        while (await workers.heard(timeout_s=5)).alive == 0:
            pass
        working.cancel()
        await asyncio.wait([working])
    assert await workers.heard(timeout_s=5) == WorkersHeard(alive=0, heard_s=None)


async def test_a_worker_seals_what_is_recorded_while_it_runs(
    gate: GateOnTest,
    identities: PostgresIdentities,
    pools: DatabasePools,
    database: Database,
    superuser_connection: Connection,
) -> None:
    await started(gate)
    running = asyncio.create_task(whole_worker(gate, identities, pools, database, timedelta(0)).run())
    async with asyncio.timeout(30):
        while await superuser_connection.fetchval(UNSEALED):
            await asyncio.wait([running], timeout=0.02)
    running.cancel()
    await asyncio.wait([running])
    assert await superuser_connection.fetchval("SELECT count(*) FROM ledger_heads") >= 1


UNSEALED = """
SELECT count(*) FROM activity_events e WHERE NOT EXISTS (
    SELECT FROM ledger_leaves l WHERE (l.organization_id, l.event_id) = (e.organization_id, e.event_id))
"""
