"""Questions that nobody answers: expired within seconds of their time, cancelled with their run, settled only once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import orjson
import pytest

from domain.kernel import CallId, Door, OrganizationId, RunId, new_id
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from server.worker.approvals import ApprovalWorker
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import CallOutcome, CallRequest
from tools.work import Job

HAND = principal_of(who="partner", mode="person", door="rest")
HUB = principal_of(who="service", door="worker")
KINDS = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY recorded_at, kind"
STATES = "SELECT state FROM approvals WHERE call_id = ANY ($1) ORDER BY array_position($1, call_id)"
LAPSE = "UPDATE approvals SET expires_at = now() - interval '1 second' WHERE call_id = $1"
LEVEL = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', $2, $3, clock_timestamp())
"""


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    await owner_connection.execute(LEVEL, FIRM_A.organization_id, 1, FIRM_A.id("partner"))
    async with gate_on(pools) as opened:
        yield opened


async def waiting(gate: GateOnTest, run_id: UUID | None = None) -> CallOutcome:
    """A call that waits, of a run of a conversation or of none."""
    request = CallRequest(
        call_id=CallId(uuid4()),
        tool="task_create",
        arguments={"title": "Ask for the bank letter"},
        run_id=None if run_id is None else RunId(run_id),
    )
    asked = await gate.gate.call(request, principal_of())
    assert asked.outcome == "waiting", asked
    return asked


def job_of(asked: CallOutcome) -> Job:
    return Job(
        kind="approval_expire", organization_id=OrganizationId(FIRM_A.organization_id), subject_id=approval_of(asked)
    )


def approval_of(asked: CallOutcome) -> UUID:
    assert asked.approval is not None
    return asked.approval.approval_id


async def decide(gate: GateOnTest, asked: CallOutcome, decision: str) -> CallOutcome:
    return await gate.call("approval_decide", {"approval_id": str(approval_of(asked)), "decision": decision}, HAND)


async def kinds(inspector: Connection, asked: CallOutcome) -> list[str]:
    return [row["kind"] for row in await inspector.fetch(KINDS, asked.call_id)]


async def states(inspector: Connection, *asked: CallOutcome) -> list[str]:
    return [row["state"] for row in await inspector.fetch(STATES, [each.call_id for each in asked])]


@pytest.mark.parametrize("level", [0, 1])
async def test_what_nobody_answered_in_time_is_swept_up_and_written_down_whatever_the_autonomy(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection, level: int
) -> None:
    lapsed, open_one = await waiting(gate), await waiting(gate)
    await owner_connection.execute(LAPSE, lapsed.call_id)
    await owner_connection.execute(LEVEL, FIRM_A.organization_id, level, FIRM_A.id("partner"))

    swept = await PostgresJobs(pools.service).sweep(timedelta(seconds=5))
    assert [job for job in swept if job.kind == "approval_expire"] == [job_of(lapsed)]
    worker = ApprovalWorker(gate=gate.gate, identities=PostgresIdentities(pools.app), new_id=new_id)
    assert await worker.work(job_of(lapsed)) is None
    assert await worker.work(job_of(lapsed)) is None  # there is nothing left to do

    assert await states(superuser_connection, lapsed, open_one) == ["expired", "pending"]
    assert await kinds(superuser_connection, lapsed) == ["tool.waiting", "tool.expired"]
    late = await decide(gate, lapsed, "approve")
    assert (late.outcome, late.error and late.error.code) == ("invalid", "approval_expired")


AGE = """
UPDATE approvals SET created_at = now() - interval '23 hours', expires_at = now() + interval '1 hour' WHERE call_id = $1
"""


@pytest.mark.parametrize("level", [0, 1])
async def test_those_who_may_decide_are_reminded_once_before_a_questions_time_is_over(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection, level: int
) -> None:
    old, new = await waiting(gate), await waiting(gate)
    await owner_connection.execute(AGE, old.call_id)
    await owner_connection.execute(LEVEL, FIRM_A.organization_id, level, FIRM_A.id("partner"))
    job = replace(job_of(old), kind="approval_remind")
    jobs, before = PostgresJobs(pools.service), timedelta(hours=4)

    for remind_before in (None, timedelta(minutes=30)):
        swept = await jobs.sweep(timedelta(0), None, remind_before)
        assert "approval_remind" not in [each.kind for each in swept]
    assert [each for each in await jobs.sweep(timedelta(0), None, before) if each.kind == "approval_remind"] == [job]
    worker = ApprovalWorker(gate=gate.gate, identities=PostgresIdentities(pools.app), new_id=new_id)
    assert await worker.work(job) is None
    assert await worker.work(job) is None  # once

    reminded = "SELECT call_id FROM approvals WHERE reminded_at IS NOT NULL"
    assert [row["call_id"] for row in await superuser_connection.fetch(reminded)] == [old.call_id]
    assert await states(superuser_connection, old, new) == ["pending", "pending"]
    told = await superuser_connection.fetch(
        "SELECT e.outcome, e.door, p.result FROM activity_events e LEFT JOIN activity_payloads p USING (event_id) "
        "WHERE e.tool = 'approval_remind' AND e.outcome IS NOT NULL ORDER BY e.recorded_at"
    )
    assert [(row["outcome"], row["door"]) for row in told] == [("done", "worker"), ("invalid", "worker")]
    assert orjson.loads(told[0]["result"])["may_decide"] == [
        {"email": "employee@firm-1.example"},
        {"email": "partner@firm-1.example"},
    ]
    await jobs.sweep(timedelta(0), None, before)
    early = await gate.call("approval_remind", {"approval_id": str(approval_of(old))}, HUB)
    assert (early.outcome, early.error and early.error.code) == ("invalid", "nothing_to_remind")
    assert (await decide(gate, old, "approve")).outcome == "done"


async def test_nothing_is_expired_before_its_time_or_in_another_organization(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    asked = await waiting(gate)
    arguments = {"approval_id": str(approval_of(asked))}
    early = await gate.call("approval_expire", arguments, HUB)
    await owner_connection.execute(LAPSE, asked.call_id)
    foreign = await gate.call("approval_expire", arguments, principal_of(FIRM_B, "service", door="worker"))
    for refused in (early, foreign):
        assert (refused.outcome, refused.error and refused.error.code) == ("invalid", "nothing_to_expire")
    assert await states(superuser_connection, asked) == ["pending"]


@pytest.mark.parametrize("tool", ["approval_expire", "approval_remind", "approval_cancel"])
async def test_only_the_worker_settles_what_nobody_answered(gate: GateOnTest, tool: str) -> None:
    arguments = {"run_id" if tool == "approval_cancel" else "approval_id": str(uuid4())}
    doors: tuple[Door, ...] = ("chat", "mcp", "rest", "cli", "widget", "slack")
    for door in doors:
        assert (await gate.call(tool, arguments, principal_of(who="partner", door=door))).outcome == "denied"
    assert (await gate.call(tool, arguments, HAND)).outcome == "denied"


async def test_a_cancelled_run_takes_its_questions_with_it_and_no_others(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    run, other = uuid4(), uuid4()
    first, second, lapsed, decided = [await waiting(gate, run) for _ in range(4)]
    elsewhere = await waiting(gate, other)
    await owner_connection.execute(LAPSE, lapsed.call_id)
    assert (await decide(gate, decided, "approve")).outcome == "done"
    # A PARTNER's question too, which the hub's own account may not see.
    await owner_connection.execute("UPDATE approvals SET needs_role = 'PARTNER' WHERE call_id = $1", second.call_id)

    foreign = await gate.call("approval_cancel", {"run_id": str(run)}, principal_of(FIRM_B, "service", door="worker"))
    assert foreign.result == {"run_id": str(run), "cancelled": [], "expired": []}
    ended = await gate.call("approval_cancel", {"run_id": str(run)}, HUB)
    assert ended.result is not None, ended
    assert ended.result["expired"] == [str(approval_of(lapsed))]

    assert await states(superuser_connection, first, second, lapsed, decided, elsewhere) == [
        "cancelled",
        "cancelled",
        "expired",
        "executed",
        "pending",
    ]
    assert await kinds(superuser_connection, first) == ["tool.waiting", "tool.cancelled"]
    assert await kinds(superuser_connection, lapsed) == ["tool.waiting", "tool.expired"]
    late = await decide(gate, first, "approve")
    assert (late.outcome, late.error and late.error.code) == ("invalid", "already_decided")


@pytest.mark.parametrize("lapsed", [False, True])
async def test_of_all_who_settle_a_question_at_once_one_does(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection, lapsed: bool
) -> None:
    await seed_firms(owner_connection)
    await owner_connection.execute(LEVEL, FIRM_A.organization_id, 1, FIRM_A.id("partner"))
    meeting = asyncio.Barrier(4)

    async def together(step: str) -> None:
        if step == "verdict" and meeting.n_waiting < 4 and not meeting.broken:
            async with asyncio.timeout(20):
                await meeting.wait()

    async with AsyncExitStack() as stack:
        asker = await stack.enter_async_context(gate_on(pools))
        one, two = [await stack.enter_async_context(gate_on(pools, fault=together)) for _ in range(2)]
        run = uuid4()
        asked = await waiting(asker, run)
        if lapsed:
            await owner_connection.execute(LAPSE, asked.call_id)
        before = await superuser_connection.fetchval("SELECT count(*) FROM tasks")
        await asyncio.gather(
            decide(one, asked, "approve"),
            decide(two, asked, "reject"),
            one.call("approval_cancel", {"run_id": str(run)}, HUB),
            two.call("approval_expire", {"approval_id": str(approval_of(asked))}, HUB),
        )
    (state,) = await states(superuser_connection, asked)
    made = await superuser_connection.fetchval("SELECT count(*) FROM tasks") - before
    recorded = await kinds(superuser_connection, asked)
    assert made == (1 if state == "executed" else 0)
    assert recorded[0] == "tool.waiting"
    assert len([kind for kind in recorded if kind not in ("tool.waiting", "tool.allowed")]) == 1, recorded
    assert state in ({"expired"} if lapsed else {"executed", "rejected", "cancelled"})
