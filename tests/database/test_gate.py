"""The gate on the real database: each way a call can end, what it changed, and what the record says of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
import pytest

from domain.kernel import CallId, DomainError, Principal
from server.database.connection import Connection
from server.database.pool import DatabasePools, PoolOptions, open_pools
from tests.support.database import Database
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, failing, gate_on, principal_of
from tools.outcomes import Allow, CallOutcome, CutOff, Deny, NeedsApproval
from tools.policy import situation_from_json
from tools.ports import Unavailable
from tools.work import CallContext, Job

EVENTS = """
SELECT kind, opens, outcome, decision, reasons, error_code, error_reference, tool, effect, writes, role, level, door,
       mode, attended, facts, approval_id, manifest_digest, policy_digest, arguments_digest, result_digest,
       p.arguments, p.result, p.salt
FROM activity_events e LEFT JOIN activity_payloads p USING (organization_id, event_id)
WHERE call_id = $1 ORDER BY recorded_at, kind
"""
TASK = {"title": "Ask for the bank letter"}


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools) as opened:
        yield opened


async def kinds(inspector: Connection, call: CallOutcome | CallId) -> list[str]:
    call_id = call.call_id if isinstance(call, CallOutcome) else call
    return [row["kind"] for row in await inspector.fetch(EVENTS, call_id)]


async def tasks_of(inspector: Connection) -> int:
    count = await inspector.fetchval("SELECT count(*) FROM tasks WHERE organization_id = $1", FIRM_A.organization_id)
    assert isinstance(count, int)
    return count


def inner(ended: CallOutcome, name: str) -> dict[str, object]:
    assert ended.result is not None, ended
    return cast("dict[str, object]", ended.result[name])


def approval_state(decided: CallOutcome) -> object:
    return inner(decided, "approval")["state"]


async def at_level(owner: Connection, level: int, *, disabled: bool = False) -> None:
    await owner.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, autopilot_disabled, changed_by, "
        "changed_at) VALUES ($1, gen_random_uuid(), 'organization', $2, $3, $4, clock_timestamp())",
        FIRM_A.organization_id,
        level,
        disabled,
        FIRM_A.id("partner"),
    )


async def test_a_writing_call_leaves_its_ticket_its_outcome_and_its_effect(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    before = await tasks_of(superuser_connection)
    ended = await gate.call("task_create", TASK, principal_of())
    assert ended.outcome == "done"
    assert isinstance(ended.verdict, Allow)
    assert await tasks_of(superuser_connection) == before + 1
    ticket, outcome = await superuser_connection.fetch(EVENTS, ended.call_id)
    assert (ticket["kind"], ticket["opens"], ticket["decision"]) == ("tool.allowed", True, "allow")
    assert (outcome["kind"], outcome["opens"], outcome["outcome"]) == ("tool.completed", False, "done")
    assert ticket["writes"] == ["tasks"]
    assert ticket["role"] == "EMPLOYEE"
    assert ticket["level"] == 2
    assert orjson.loads(ticket["arguments"]) == TASK
    assert orjson.loads(outcome["result"]) == ended.result
    assert all(ticket[name] for name in ("manifest_digest", "policy_digest", "arguments_digest"))


async def test_a_read_leaves_one_event_that_is_committed_before_the_result_is_given(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    ended = await gate.call("task_list", {}, principal_of())
    assert ended.outcome == "done"
    (event,) = await superuser_connection.fetch(EVENTS, ended.call_id)
    assert (event["kind"], event["opens"], event["outcome"]) == ("tool.completed", True, "done")
    assert event["arguments"] == "{}"
    assert orjson.loads(event["result"]) == ended.result


async def test_a_denied_call_is_recorded_and_changes_nothing(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    before = await tasks_of(superuser_connection)
    ended = await gate.call("task_create", TASK, principal_of(who="client"))
    assert ended.outcome == "denied"
    assert isinstance(ended.verdict, Deny)
    assert ended.verdict.reasons
    assert await tasks_of(superuser_connection) == before
    (event,) = await superuser_connection.fetch(EVENTS, ended.call_id)
    assert (event["kind"], event["decision"], event["role"]) == ("tool.denied", "deny", "CLIENT")
    assert event["reasons"] == list(ended.verdict.reasons)


async def test_a_principal_without_a_membership_is_denied_and_recorded_without_a_role(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    stranger = principal_of()
    stranger = Principal(
        organization_id=stranger.organization_id,
        principal_id=principal_of(FIRM_B).principal_id,
        kind="person",
        mode="person",
        door="rest",
    )
    ended = await gate.call("task_list", {}, stranger)
    assert ended.outcome == "denied"
    assert ended.verdict == Deny(reasons=("not_a_member",))
    (event,) = await superuser_connection.fetch(EVENTS, ended.call_id)
    assert event["role"] is None


@pytest.mark.parametrize(
    "arguments",
    [{}, {"title": ""}, {"title": "x", "spare": 1}, {"title": 7}, [], "text", None, {"title": float("nan")}],
)
async def test_arguments_that_do_not_hold_to_the_schema_are_invalid_and_recorded(
    gate: GateOnTest, superuser_connection: Connection, arguments: object
) -> None:
    ended = await gate.call("task_create", arguments, principal_of())
    assert ended.outcome == "invalid"
    assert ended.error is not None
    assert ended.error.code == "invalid_arguments"
    assert ended.error.details
    assert await kinds(superuser_connection, ended) == ["tool.invalid"]


@pytest.mark.parametrize("odd", ["\ud800", "\x00", 10**40, {"deep": [[[[1]]]]}, b"bytes"])
async def test_arguments_that_no_database_could_store_are_recorded_as_far_as_they_go(
    gate: GateOnTest, superuser_connection: Connection, odd: object
) -> None:
    ended = await gate.call("task_create", {"title": odd}, principal_of())
    assert ended.outcome == "invalid"
    assert await kinds(superuser_connection, ended) == ["tool.invalid"]


@pytest.mark.parametrize("name", ["no_such_tool", "", "x" * 5000, "a\x00b", "\ud800"])
async def test_an_unknown_tool_is_invalid_and_recorded(
    gate: GateOnTest, superuser_connection: Connection, name: str
) -> None:
    ended = await gate.call(name, {}, principal_of())
    assert ended.outcome == "invalid"
    assert ended.error is not None
    assert ended.error.code == "unknown_tool"
    assert await kinds(superuser_connection, ended) == ["tool.invalid"]


async def test_a_dry_run_does_nothing_and_is_recorded(gate: GateOnTest, superuser_connection: Connection) -> None:
    before = await tasks_of(superuser_connection)
    ended = await gate.call("task_create", TASK, principal_of(), dry_run=True)
    assert ended.outcome == "dry_run"
    assert isinstance(ended.verdict, Allow)
    assert await tasks_of(superuser_connection) == before
    assert await kinds(superuser_connection, ended) == ["tool.previewed"]


async def test_another_organizations_subject_gets_the_same_answer_as_none(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    foreign = await gate.call("task_get", {"task_id": str(FIRM_B.id("thing"))}, principal_of())
    missing = await gate.call("task_get", {"task_id": str(uuid4())}, principal_of())
    assert foreign.outcome == missing.outcome == "invalid"
    assert foreign.error == missing.error
    assert await kinds(superuser_connection, foreign) == ["tool.invalid"]


class Refusal(DomainError):
    """A rule says no."""

    code = "rule_says_no"


async def refuse(arguments: Any, context: CallContext) -> dict[str, object]:
    raise Refusal("the rule says no")


async def crash(arguments: Any, context: CallContext) -> dict[str, object]:
    raise ZeroDivisionError("the password is hunter2")


async def hang(arguments: Any, context: CallContext) -> dict[str, object]:
    await asyncio.Event().wait()
    return {}


async def give_nonsense(arguments: Any, context: CallContext) -> dict[str, object]:
    return {"nonsense": True}


async def test_a_domain_refusal_is_invalid_with_its_code(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    async with gate_on(pools, failing("task_create", refuse)) as gate:
        ended = await gate.call("task_create", TASK, principal_of())
    assert (ended.outcome, ended.error and ended.error.code) == ("invalid", "rule_says_no")
    assert await kinds(superuser_connection, ended) == ["tool.invalid"]


async def test_an_unknown_exception_is_recorded_with_a_reference_and_never_shown(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    async with gate_on(pools, failing("task_create", crash)) as gate:
        ended = await gate.call("task_create", TASK, principal_of())
    assert ended.outcome == "failed"
    assert ended.error is not None
    assert ended.error.code == "internal"
    assert ended.error.reference
    assert "hunter2" not in repr(ended)
    ticket, failed = await superuser_connection.fetch(EVENTS, ended.call_id)
    assert (ticket["kind"], ticket["opens"]) == ("tool.allowed", True)
    assert (failed["kind"], failed["opens"]) == ("tool.failed", False)
    assert failed["error_reference"] == ended.error.reference
    assert "hunter2" not in repr(dict(failed))


async def test_a_result_that_breaks_its_schema_does_not_leave_and_its_work_is_undone(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    before = await tasks_of(superuser_connection)
    async with gate_on(pools, failing("task_create", give_nonsense)) as gate:
        ended = await gate.call("task_create", TASK, principal_of())
    assert (ended.outcome, ended.error and ended.error.code) == ("failed", "result_invalid")
    assert ended.result is None
    assert await tasks_of(superuser_connection) == before
    assert await kinds(superuser_connection, ended) == ["tool.allowed", "tool.failed"]


async def test_a_call_that_takes_too_long_is_undone_and_recorded(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    async with gate_on(pools, failing("task_create", hang), timeout=timedelta(milliseconds=50)) as gate:
        ended = await gate.call("task_create", TASK, principal_of())
    assert (ended.outcome, ended.error and ended.error.code) == ("failed", "timeout")
    assert await kinds(superuser_connection, ended) == ["tool.allowed", "tool.failed"]


async def test_a_cancelled_call_is_recorded_and_undone(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    reached = asyncio.Event()
    call_id = CallId(uuid4())

    async def hang_in_the_midst(arguments: Any, context: CallContext) -> dict[str, object]:
        reached.set()
        await asyncio.Event().wait()
        return {}

    async with gate_on(pools, failing("task_create", hang_in_the_midst)) as gate:
        task = asyncio.create_task(gate.call("task_create", TASK, principal_of(), call_id=call_id))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await kinds(superuser_connection, call_id) == ["tool.allowed", "tool.cancelled"]


async def test_a_cancel_during_the_commit_leaves_exactly_what_was_committed(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    before = await tasks_of(superuser_connection)
    call_id = CallId(uuid4())
    holder: list[asyncio.Task[CallOutcome]] = []

    async def cancel_at_outcome(step: str) -> None:
        if step == "outcome":
            asyncio.get_running_loop().call_soon(holder[0].cancel)

    async with gate_on(pools, fault=cancel_at_outcome) as gate:
        holder.append(asyncio.create_task(gate.call("task_create", TASK, principal_of(), call_id=call_id)))
        await asyncio.wait(holder)
    recorded = await kinds(superuser_connection, call_id)
    made = await tasks_of(superuser_connection) - before
    assert (recorded, made) in [
        (["tool.allowed", "tool.completed"], 1),
        (["tool.allowed", "tool.cancelled"], 0),
    ]


async def test_the_same_call_twice_does_its_work_once(gate: GateOnTest, superuser_connection: Connection) -> None:
    before = await tasks_of(superuser_connection)
    call_id = CallId(uuid4())
    both = await asyncio.gather(*(gate.call("task_create", TASK, principal_of(), call_id=call_id) for _ in range(2)))
    assert sorted(ended.outcome for ended in both) == ["done", "invalid"]
    assert await tasks_of(superuser_connection) == before + 1


async def test_below_its_level_a_call_waits_with_a_durable_question(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await at_level(owner_connection, 1)
    before = await tasks_of(superuser_connection)
    ended = await gate.call("task_create", TASK, principal_of())
    assert ended.outcome == "waiting"
    assert isinstance(ended.verdict, NeedsApproval)
    assert ended.approval is not None
    assert await tasks_of(superuser_connection) == before
    (event,) = await superuser_connection.fetch(EVENTS, ended.call_id)
    assert (event["kind"], event["approval_id"]) == ("tool.waiting", ended.approval.approval_id)
    row = await superuser_connection.fetchrow(
        "SELECT * FROM approvals WHERE approval_id = $1", ended.approval.approval_id
    )
    assert row is not None
    assert (row["state"], orjson.loads(row["arguments"])) == ("pending", TASK)
    assert row["arguments_digest"] == event["arguments_digest"]


async def test_the_switch_holds_for_the_next_call(gate: GateOnTest, owner_connection: Connection) -> None:
    assert (await gate.call("task_create", TASK, principal_of())).outcome == "done"
    await at_level(owner_connection, 3, disabled=True)
    assert (await gate.call("task_create", TASK, principal_of())).outcome == "waiting"


async def waiting(gate: GateOnTest, owner: Connection) -> CallOutcome:
    await at_level(owner, 1)
    ended = await gate.call("task_create", TASK, principal_of())
    assert ended.approval is not None
    return ended


async def decide(
    gate: GateOnTest, ended: CallOutcome, principal: Principal, decision: str = "approve", comment: str | None = None
) -> CallOutcome:
    assert ended.approval is not None
    arguments = {"approval_id": str(ended.approval.approval_id), "decision": decision}
    if comment is not None:
        arguments["comment"] = comment
    return await gate.call("approval_decide", arguments, principal)


OWN_HAND = principal_of(mode="person", door="rest")


async def test_an_approved_call_is_executed_once_in_the_decisions_transaction(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    before = await tasks_of(superuser_connection)
    asked = await waiting(gate, owner_connection)
    decided = await decide(gate, asked, OWN_HAND)
    assert decided.outcome == "done", decided
    assert approval_state(decided) == "executed"
    assert await tasks_of(superuser_connection) == before + 1
    assert await kinds(superuser_connection, asked) == ["tool.waiting", "tool.allowed", "tool.completed"]
    transactions = await superuser_connection.fetch(
        "SELECT DISTINCT xact_id::text FROM activity_events WHERE call_id = ANY ($1) AND kind <> 'tool.waiting'",
        [asked.call_id, decided.call_id],
    )
    assert len(transactions) == 1


@pytest.mark.parametrize("first", ["approve", "reject"])
async def test_of_many_answers_exactly_one_wins(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection, first: str
) -> None:
    before = await tasks_of(superuser_connection)
    asked = await waiting(gate, owner_connection)
    answers = [first if n % 2 == 0 else "approve" for n in range(6)]
    ended = await asyncio.gather(*(decide(gate, asked, OWN_HAND, answer) for answer in answers))
    assert sorted(one.outcome for one in ended) == ["done"] + ["invalid"] * 5
    assert {one.error.code for one in ended if one.error} == {"already_decided"}
    state = await superuser_connection.fetchval("SELECT state FROM approvals WHERE call_id = $1", asked.call_id)
    made = await tasks_of(superuser_connection) - before
    assert (state, made) in [("executed", 1), ("rejected", 0)]


async def test_a_rejection_is_recorded_with_its_comment_and_makes_nothing(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    before = await tasks_of(superuser_connection)
    asked = await waiting(gate, owner_connection)
    decided = await decide(gate, asked, OWN_HAND, "reject", "not this month")
    assert decided.outcome == "done"
    assert await tasks_of(superuser_connection) == before
    assert await kinds(superuser_connection, asked) == ["tool.waiting", "tool.rejected"]
    comment = await superuser_connection.fetchval("SELECT comment FROM approvals WHERE call_id = $1", asked.call_id)
    assert comment == "not this month"


@pytest.mark.parametrize(
    ("decider", "outcome"),
    [
        (principal_of(mode="agent", door="rest"), "denied"),
        (principal_of(mode="agent", door="mcp"), "denied"),
        (principal_of(mode="agent", door="chat"), "denied"),
        (principal_of(mode="person", door="mcp"), "denied"),
        (principal_of(mode="person", door="worker"), "denied"),
        (principal_of(who="service", mode="person", door="rest"), "denied"),
        (principal_of(who="client", mode="person", door="rest"), "denied"),
        (principal_of(FIRM_B, "partner", mode="person", door="rest"), "invalid"),
        (principal_of(who="partner", mode="person", door="rest"), "done"),
    ],
)
async def test_who_may_decide(
    gate: GateOnTest,
    owner_connection: Connection,
    superuser_connection: Connection,
    decider: Principal,
    outcome: str,
) -> None:
    asked = await waiting(gate, owner_connection)
    decided = await decide(gate, asked, decider)
    assert decided.outcome == outcome, decided
    state = await superuser_connection.fetchval("SELECT state FROM approvals WHERE call_id = $1", asked.call_id)
    assert state == ("executed" if outcome == "done" else "pending")
    assert await kinds(superuser_connection, decided) != []


async def test_an_expired_approval_is_refused(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    asked = await waiting(gate, owner_connection)
    await superuser_connection.execute("ALTER TABLE approvals DISABLE TRIGGER ALL")
    await superuser_connection.execute("UPDATE approvals SET expires_at = now() - interval '1 minute'")
    await superuser_connection.execute("ALTER TABLE approvals ENABLE TRIGGER ALL")
    decided = await decide(gate, asked, OWN_HAND)
    assert (decided.outcome, decided.error and decided.error.code) == ("invalid", "approval_expired")


async def test_a_policy_that_now_forbids_is_obeyed_at_execution(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    before = await tasks_of(superuser_connection)
    asked = await waiting(gate, owner_connection)
    await owner_connection.execute("UPDATE memberships SET role = 'READONLY' WHERE user_id = $1", FIRM_A.id("employee"))
    decided = await decide(gate, asked, principal_of(who="partner", mode="person", door="rest"))
    assert approval_state(decided) == "failed"
    assert inner(decided, "call")["outcome"] == "denied"
    assert await tasks_of(superuser_connection) == before
    assert await kinds(superuser_connection, asked) == ["tool.waiting", "tool.denied"]


async def test_if_the_approved_work_fails_only_the_work_is_undone(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)

    async def leave_a_job_and_crash(arguments: Any, context: CallContext) -> dict[str, object]:
        context.jobs.append(Job(kind="task_run", organization_id=context.principal.organization_id, subject_id=uuid4()))
        return await crash(arguments, context)

    async with gate_on(pools, failing("task_create", leave_a_job_and_crash)) as gate:
        asked = await waiting(gate, owner_connection)
        decided = await decide(gate, asked, OWN_HAND)
        assert gate.queue.jobs == []
    assert decided.outcome == "done", decided
    assert approval_state(decided) == "failed"
    assert await kinds(superuser_connection, asked) == ["tool.waiting", "tool.allowed", "tool.failed"]
    assert await kinds(superuser_connection, decided) == ["tool.allowed", "tool.completed"]


async def test_a_run_is_enqueued_after_its_commit_and_only_then(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    created = await gate.call("task_create", {"title": "Refresh", "kind": "refresh_analytics"}, principal_of())
    task_id = str(inner(created, "task")["task_id"])
    started = await gate.call("task_run", {"task_id": task_id}, principal_of())
    assert started.outcome == "done", started
    (job,) = gate.queue.jobs
    assert job.kind == "task_run"
    run = await superuser_connection.fetchval("SELECT task_run_id FROM task_runs WHERE task_id = $1", UUID(task_id))
    assert run == job.subject_id


async def test_what_policy_saw_can_be_decided_again_from_the_record(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    for tool, arguments, who in (("task_create", TASK, "employee"), ("task_create", TASK, "client")):
        ended = await gate.call(tool, arguments, principal_of(who=who))
        event = (await superuser_connection.fetch(EVENTS, ended.call_id))[0]
        assert gate.policies.decide(situation_from_json(event["facts"])) == ended.verdict


async def cancelled_at(
    pools: DatabasePools, step: str, tool: str, arguments: Mapping[str, object], call_id: CallId
) -> CallOutcome:
    """How a call ended whose caller was cancelled as soon as it had come to a step."""
    holder: list[asyncio.Task[CallOutcome]] = []

    async def cancel(reached: str) -> None:
        if reached == step:
            holder[0].cancel()
            await asyncio.sleep(0)

    async with gate_on(pools, fault=cancel) as gate:
        holder.append(asyncio.create_task(gate.call(tool, arguments, principal_of(), call_id=call_id)))
        with pytest.raises(CutOff) as cut:
            await holder[0]
    return cut.value.ended


@pytest.mark.parametrize("step", ["facts", "verdict", "ticket", "work", "outcome"])
async def test_a_caller_cancelled_before_the_commit_is_told_so_and_nothing_stands(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection, step: str
) -> None:
    await seed_firms(owner_connection)
    before, call_id = await tasks_of(superuser_connection), CallId(uuid4())
    ended = await cancelled_at(pools, step, "task_create", TASK, call_id)
    assert ended.outcome == "cancelled"
    assert await tasks_of(superuser_connection) == before
    assert (await kinds(superuser_connection, call_id))[-1] == "tool.cancelled"


async def test_a_caller_cancelled_after_the_commit_is_told_that_the_call_was_done(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    before, call_id = await tasks_of(superuser_connection), CallId(uuid4())
    ended = await cancelled_at(pools, "committed", "task_create", TASK, call_id)
    assert ended.outcome == "done"
    assert await tasks_of(superuser_connection) == before + 1
    assert await kinds(superuser_connection, call_id) == ["tool.allowed", "tool.completed"]


async def test_a_read_whose_caller_goes_while_it_is_recorded_has_one_event_and_one_ending(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    call_id = CallId(uuid4())
    ended = await cancelled_at(pools, "recorded", "task_list", {}, call_id)
    assert ended.outcome == "done"
    assert await kinds(superuser_connection, call_id) == ["tool.completed"]


async def test_a_call_made_again_leaves_the_first_ones_record_as_it_was(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    for tool, arguments in (("task_create", TASK), ("task_list", dict[str, object]())):
        call_id = CallId(uuid4())
        first = await gate.call(tool, arguments, principal_of(), call_id=call_id)
        again = await gate.call(tool, arguments, principal_of(), call_id=call_id)
        refused = await gate.call(tool, {"spare": 1}, principal_of(), call_id=call_id)
        assert [one.outcome for one in (first, again, refused)] == ["done", "invalid", "invalid"]
        assert again.error is not None
        assert again.error.code == "duplicate_call"
        assert (await kinds(superuser_connection, call_id))[-1] == "tool.completed"
        attempts = await superuser_connection.fetch(
            "SELECT error_code FROM activity_events WHERE kind = 'tool.invalid' AND call_id <> $1", call_id
        )
        assert {row["error_code"] for row in attempts} == {"duplicate_call", "invalid_arguments"}


async def test_a_database_too_busy_for_a_call_is_unavailable_and_no_fault_of_anybody(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    hasty = PoolOptions(command_timeout_s=0.2)
    async with open_pools(database.urls(), app=hasty) as pools, gate_on(pools) as gate:
        async with superuser_connection.transaction():
            await superuser_connection.execute("LOCK TABLE memberships IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable):
                await gate.call("task_list", {}, principal_of())
        assert (await gate.call("task_list", {}, principal_of())).outcome == "done"
