"""Schedules: each due time is one call, however many workers there are and whatever stops them; and what people see."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from domain.kernel import Level, Mode
from domain.schedules.model import ScheduleId
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from server.worker.schedules import ScheduleWorker, call_id_of
from server.worker.task_runs import TaskRunWorker
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import CallOutcome, Json
from tools.work import Job
from tools.workflows import Step, Workflow, Workflows

PARTNER = principal_of(who="partner", mode="person", door="rest")
DUE = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
"""07:00 in Malta, in winter."""
RUNS = "SELECT count(*) FROM task_runs WHERE task_id = $1"
BACKENDS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
"""
EVENTS = """
SELECT kind, door, mode, attended, principal_kind FROM activity_events WHERE call_id = $1 ORDER BY recorded_at, kind
"""


@dataclass(slots=True)
class Clock:
    now: datetime = DUE - timedelta(minutes=1)

    def __call__(self) -> datetime:
        return self.now


@dataclass(slots=True)
class Held:
    """A gate's call that comes so far goes no further."""

    stage: str = ""
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, step: str) -> None:
        if step == self.stage:
            self.stage = ""
            self.reached.set()
            await asyncio.Event().wait()


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection, held: Held) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools, fault=held) as opened:
        yield opened


@pytest.fixture
def worker(gate: GateOnTest, pools: DatabasePools, clock: Clock) -> ScheduleWorker:
    return ScheduleWorker(
        gate=gate.gate, transactions=gate.transactions, identities=PostgresIdentities(pools.app), clock=clock
    )


def result(outcome: CallOutcome, name: str) -> Json:
    assert outcome.outcome == "done", outcome
    assert outcome.result is not None
    return cast(Json, outcome.result[name])


async def scheduled(gate: GateOnTest, owner: Connection, kind: str = "refresh_analytics", **given: object) -> Json:
    """A task of a workflow that ships, every day at seven in Malta; due for the first time at DUE."""
    task = result(await gate.call("task_create", {"title": "R", "kind": kind}, PARTNER), "task")
    asked = {"task_id": task["task_id"], "cron": "0 7 * * *", "time_zone": "Europe/Malta", **given}
    schedule = result(await gate.call("schedule_create", asked, PARTNER), "schedule")
    await owner.execute(
        "UPDATE schedule_progress SET next_run_at = $1 WHERE schedule_id = $2", DUE, UUID(str(schedule["schedule_id"]))
    )
    return schedule


def job_of(schedule: Json, firm: Firm = FIRM_A) -> Job:
    return Job(
        kind="schedule",
        organization_id=principal_of(firm).organization_id,
        subject_id=UUID(str(schedule["schedule_id"])),
    )


async def shown(gate: GateOnTest, schedule: Json) -> Json:
    listed = await gate.call("schedule_list", {"task_id": schedule["task_id"]}, PARTNER)
    assert listed.result is not None
    (found,) = cast("list[Json]", listed.result["items"])
    return found


def last_run(schedule: Json) -> Json:
    return cast(Json, schedule["last_run"])


async def runs(inspector: Connection, schedule: Json) -> int:
    return int(await inspector.fetchval(RUNS, UUID(str(schedule["task_id"]))))


async def test_a_due_time_is_a_call_of_the_service_account_that_nobody_waits_for(
    gate: GateOnTest,
    worker: ScheduleWorker,
    clock: Clock,
    owner_connection: Connection,
    superuser_connection: Connection,
) -> None:
    schedule = await scheduled(gate, owner_connection)
    clock.now = DUE
    assert await worker.work(job_of(schedule)) is None
    (run,) = [job for job in gate.queue.jobs if job.kind == "task_run"]
    now = await shown(gate, schedule)
    last = last_run(now)
    assert now["next_run_at"] == "2026-03-03T06:00:00+00:00"
    assert (last["due_at"], last["outcome"], last["missed"]) == (DUE.isoformat(), "done", 0)
    assert (last["task_run_id"], last["task_run_status"]) == (str(run.subject_id), "queued")
    rows = await superuser_connection.fetch(EVENTS, UUID(str(last["call_id"])))
    assert [tuple(row) for row in rows] == [
        (kind, "worker", "agent", False, "service_account") for kind in ("tool.allowed", "tool.completed")
    ]


@pytest.mark.parametrize("level", [2, 1])
async def test_the_day_of_a_run_is_that_of_its_schedules_zone_also_where_a_person_agreed_first(
    gate: GateOnTest,
    worker: ScheduleWorker,
    clock: Clock,
    pools: DatabasePools,
    owner_connection: Connection,
    superuser_connection: Connection,
    level: int,
) -> None:
    zone = "Etc/GMT-14" if datetime.now(UTC).hour >= 12 else "Etc/GMT+12"
    schedule = await scheduled(gate, owner_connection, kind="remind_pbc", time_zone=zone)
    await at_level(owner_connection, level, FIRM_A)
    clock.now = DUE
    await worker.work(job_of(schedule))
    if level == 1:
        (approval,) = await superuser_connection.fetch(
            "SELECT approval_id FROM approvals WHERE tool = 'task_run' AND state = 'pending'"
        )
        answer = {"approval_id": str(approval["approval_id"]), "decision": "approve"}
        assert (await gate.call("approval_decide", answer, PARTNER)).outcome == "done"
    (job,) = [job for job in gate.queue.jobs if job.kind == "task_run"]
    dated = Step(name="note", tool="task_create", arguments={"title": {"$text": "Dated {run.date}"}})
    tasks = TaskRunWorker(
        gate=gate.gate,
        transactions=gate.transactions,
        identities=PostgresIdentities(pools.app),
        workflows=Workflows(
            [Workflow(name="remind_pbc", title="R", description="", minimum_autonomy=Level.L1, steps=(dated,))]
        ),
        clock=clock,
    )
    await tasks.work(job)
    begun = await superuser_connection.fetchval(
        "SELECT created_at FROM task_runs WHERE task_run_id = $1", job.subject_id
    )
    asked = await superuser_connection.fetchval(
        "SELECT arguments FROM activity_payloads p JOIN activity_events e "
        "USING (event_id) WHERE e.task_run_id = $1 AND e.tool = 'task_create' AND opens",
        job.subject_id,
    )
    assert f"Dated {begun.astimezone(ZoneInfo(zone)).date()}" in asked


async def test_before_it_is_due_nothing_is_started(
    gate: GateOnTest, worker: ScheduleWorker, owner_connection: Connection, superuser_connection: Connection
) -> None:
    schedule = await scheduled(gate, owner_connection)
    assert await worker.work(job_of(schedule)) is None
    assert await runs(superuser_connection, schedule) == 0


async def test_what_was_missed_while_nothing_ran_is_started_once_and_said(
    gate: GateOnTest,
    worker: ScheduleWorker,
    clock: Clock,
    owner_connection: Connection,
    superuser_connection: Connection,
) -> None:
    schedule = await scheduled(gate, owner_connection)
    clock.now = DUE + timedelta(days=3, hours=1)
    for _ in range(3):
        await worker.work(job_of(schedule))
    now = await shown(gate, schedule)
    assert await runs(superuser_connection, schedule) == 1
    assert (last_run(now)["due_at"], last_run(now)["missed"]) == (DUE.isoformat(), 3)
    assert now["next_run_at"] == "2026-03-06T06:00:00+00:00"


async def test_of_workers_that_race_one_starts_it(
    gate: GateOnTest,
    worker: ScheduleWorker,
    clock: Clock,
    owner_connection: Connection,
    superuser_connection: Connection,
) -> None:
    schedule = await scheduled(gate, owner_connection)
    clock.now = DUE
    await asyncio.gather(*(worker.work(job_of(schedule)) for _ in range(4)))
    assert await runs(superuser_connection, schedule) == 1
    assert last_run(await shown(gate, schedule))["outcome"] == "done"


@pytest.mark.parametrize("stage", ["facts", "ticket", "outcome", "committed"])
async def test_whenever_a_worker_is_killed_another_starts_it_once(
    gate: GateOnTest,
    worker: ScheduleWorker,
    clock: Clock,
    held: Held,
    owner_connection: Connection,
    superuser_connection: Connection,
    stage: str,
) -> None:
    schedule = await scheduled(gate, owner_connection)
    clock.now, held.stage = DUE, stage
    killed = asyncio.create_task(worker.work(job_of(schedule)))
    async with asyncio.timeout(30):
        await held.reached.wait()
    # What PostgreSQL sees of a killed process: its connections are gone, and with them what was not committed.
    await superuser_connection.fetch(BACKENDS)
    await worker.work(job_of(schedule))
    assert await runs(superuser_connection, schedule) == 1
    now = await shown(gate, schedule)
    assert (last_run(now)["outcome"], now["next_run_at"]) == ("done", "2026-03-03T06:00:00+00:00")
    assert last_run(now)["call_id"] == str(call_id_of(ScheduleId(UUID(str(schedule["schedule_id"]))), DUE))
    killed.cancel()
    await asyncio.wait([killed])


async def test_a_due_time_whose_call_is_denied_starts_nothing_and_says_so(
    gate: GateOnTest,
    worker: ScheduleWorker,
    clock: Clock,
    owner_connection: Connection,
    superuser_connection: Connection,
) -> None:
    schedule = await scheduled(gate, owner_connection)
    await at_level(owner_connection, 0, FIRM_A)
    clock.now = DUE
    await worker.work(job_of(schedule))
    assert last_run(await shown(gate, schedule))["outcome"] == "denied"
    assert await runs(superuser_connection, schedule) == 0


async def test_a_task_that_was_called_off_is_not_started_and_the_schedule_says_why(
    gate: GateOnTest, worker: ScheduleWorker, clock: Clock, owner_connection: Connection
) -> None:
    schedule = await scheduled(gate, owner_connection)
    await gate.call("task_update", {"task_id": schedule["task_id"], "status": "cancelled"}, PARTNER)
    clock.now = DUE
    await worker.work(job_of(schedule))
    now = await shown(gate, schedule)
    assert now["task_status"] == "cancelled"
    assert (last_run(now)["outcome"], last_run(now)["error_code"]) == ("invalid", "not_runnable")
    assert now["next_run_at"] == "2026-03-03T06:00:00+00:00"


async def test_a_paused_schedule_is_not_due_and_what_fell_due_meanwhile_is_not_made_up_for(
    gate: GateOnTest,
    worker: ScheduleWorker,
    clock: Clock,
    owner_connection: Connection,
    superuser_connection: Connection,
) -> None:
    schedule = await scheduled(gate, owner_connection)
    one = {"schedule_id": schedule["schedule_id"]}
    paused = result(await gate.call("schedule_update", {**one, "paused": True}, PARTNER), "schedule")
    assert (paused["paused"], paused["next_run_at"]) == (True, None)
    clock.now = DUE
    await worker.work(job_of(schedule))
    assert await runs(superuser_connection, schedule) == 0
    again = result(await gate.call("schedule_update", {**one, "paused": False}, PARTNER), "schedule")
    assert str(again["next_run_at"]) > datetime.now(UTC).isoformat()


async def test_a_deleted_schedule_starts_nothing_more(
    gate: GateOnTest,
    worker: ScheduleWorker,
    clock: Clock,
    owner_connection: Connection,
    superuser_connection: Connection,
) -> None:
    schedule = await scheduled(gate, owner_connection)
    await gate.call("schedule_delete", {"schedule_id": schedule["schedule_id"]}, PARTNER)
    clock.now = DUE
    assert await worker.work(job_of(schedule)) is None
    assert await runs(superuser_connection, schedule) == 0


async def test_the_sweep_brings_what_is_due_of_every_organization_and_nothing_else(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection
) -> None:
    schedule = await scheduled(gate, owner_connection)
    await scheduled(gate, owner_connection)
    later = "UPDATE schedule_progress SET next_run_at = now() + interval '1 hour' WHERE schedule_id <> $1"
    await owner_connection.execute(later, UUID(str(schedule["schedule_id"])))
    swept = [job for job in await PostgresJobs(pools.service).sweep(timedelta(seconds=5)) if job.kind == "schedule"]
    assert swept == [job_of(schedule)]
    assert [job for job in await PostgresJobs(pools.service).sweep(timedelta(0)) if job.kind == "schedule"] == []


async def test_only_a_managers_own_hand_says_what_runs_unattended(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    schedule = await scheduled(gate, owner_connection)
    members: tuple[tuple[str, Mode], ...] = (("employee", "person"), ("client", "person"), ("partner", "agent"))
    for who, mode in members:
        principal = principal_of(who=who, mode=mode, door="rest")
        for tool, arguments in changes_of(schedule):
            assert (await gate.call(tool, arguments, principal)).outcome == "denied"


def changes_of(schedule: Json) -> tuple[tuple[str, Json], ...]:
    return (
        ("schedule_create", {"task_id": schedule["task_id"], "cron": "0 7 * * *"}),
        ("schedule_update", {"schedule_id": schedule["schedule_id"], "paused": True}),
        ("schedule_delete", {"schedule_id": schedule["schedule_id"]}),
    )


async def test_another_organizations_schedules_and_a_clients_view_of_ones_own_are_empty(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    schedule = await scheduled(gate, owner_connection)
    other = principal_of(FIRM_B, "partner", mode="person", door="rest")
    client = principal_of(who="client", mode="person", door="rest")
    for principal in (other, client):
        listed = await gate.call("schedule_list", {}, principal)
        assert str(schedule["schedule_id"]) not in str(listed.result)
    for tool, arguments in changes_of(schedule):
        outcome = await gate.call(tool, arguments, other)
        assert outcome.outcome == "invalid"
        assert outcome.error is not None
        assert outcome.error.code.endswith("not_found")


async def at_level(owner: Connection, level: int, firm: Firm) -> None:
    await owner.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at) "
        "VALUES ($1, gen_random_uuid(), 'organization', $2, $3, clock_timestamp())",
        firm.organization_id,
        level,
        firm.id("partner"),
    )
