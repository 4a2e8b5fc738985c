"""autonomy_query told what to suppose: what would happen if, and why, by the facts that the database has now."""

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

import pytest

from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import Json

AGENT = principal_of()
HAND = principal_of(mode="person", door="rest")


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools) as opened:
        yield opened


async def told(gate: GateOnTest, tool: str, suppose: Json | None = None, **asked: object) -> dict[str, Any]:
    given = {} if suppose is None else {"suppose": suppose}
    outcome = await gate.call("autonomy_query", {"tool": tool, **given, **asked}, AGENT)
    assert outcome.result is not None, outcome
    return cast("dict[str, Any]", outcome.result["tool"])


SUPPOSED: list[tuple[Json, str, list[str]]] = [
    ({}, "allow", ["within_role_and_autonomy"]),
    ({"level": "L1"}, "needs_approval", ["autonomy_needs_approval_prepare"]),
    ({"level": "L1", "approved": True}, "allow", ["approved"]),
    ({"level": "L1", "mode": "person"}, "allow", ["within_role_and_autonomy"]),
    ({"role": "READONLY"}, "deny", ["role_too_low"]),
    ({"level": "L0", "door": "worker"}, "deny", ["autonomy_l0_unattended"]),
    ({"level": "L0", "attended": False}, "deny", ["autonomy_l0_unattended"]),
    ({"level": "L0", "role": "SERVICE_ACCOUNT"}, "deny", ["autonomy_l0_unattended"]),
]


async def test_what_would_happen_if_is_told_and_nothing_is_done(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    for suppose, decision, reasons in SUPPOSED:
        found = await told(gate, "task_create", suppose, arguments={"title": "T"})
        assert (found["decision"], found["reasons"]) == (decision, reasons), suppose
    assert await superuser_connection.fetchval("SELECT count(*) FROM tasks WHERE title = 'T'") == 0


async def test_why_is_told_in_the_policies_own_words_with_what_it_would_take(gate: GateOnTest) -> None:
    explained = (await told(gate, "task_create", {"level": "L1"}))["explained"]
    assert explained["because"] == [
        {
            "policy": "autonomy_needs_approval_prepare",
            "says": "Below L2 a person approves what the agent prepares.",
            "file": "autonomy.cedar",
        }
    ]
    assert (explained["needs_role"], explained["four_eyes"]) == ("EMPLOYEE", False)
    lifted = {change["fact"]: change["to"] for change in explained["would_change"] if change["decision"] == "allow"}
    assert lifted == {"mode": ["person"], "level": ["L2", "L3"], "approved": [True]}
    assert (explained["saw"]["level"], explained["saw"]["door"]) == ("L1", "chat")
    assert "run_cancelled" not in explained["mattered"], "it is no step of a run"


async def test_the_facts_of_the_arguments_count_as_the_database_has_them(gate: GateOnTest) -> None:
    given = {"title": "T", "assignee": "partner@firm-1.example"}
    found = await told(gate, "task_create", {}, arguments=given)
    assert found["reasons"] == ["assigning_others_needs_manager"]
    assert found["explained"]["arguments_fit"]
    assert {"assigns_other", "role"} <= set(found["explained"]["mattered"])
    assert (await told(gate, "task_create", {"role": "MANAGER"}, arguments=given))["decision"] == "allow"


async def test_arguments_that_would_be_invalid_are_said_to_be(gate: GateOnTest) -> None:
    odd = (await told(gate, "task_create", {}, arguments={"titel": "T"}))["explained"]
    assert odd["arguments_fit"] is False
    absent = (await told(gate, "task_get", {}, arguments={"task_id": str(uuid4())}))["explained"]
    assert (absent["arguments_fit"], absent["missing"]) == (True, ["task"])


async def test_why_may_be_asked_of_things_as_they_stand_and_is_not_told_unasked(gate: GateOnTest) -> None:
    assert "explained" not in await told(gate, "task_create")
    assert "explained" in await told(gate, "task_create", explain=True)
    assert await told(gate, "made_up", explain=True) == {"name": "made_up", "known": False}


async def test_what_is_supposed_is_held_to_its_words(gate: GateOnTest) -> None:
    for odd in ({"level": "L4"}, {"role": "KING"}, {"door": "window"}, {"hat": "red"}, {"approved": "yes"}):
        outcome = await gate.call("autonomy_query", {"tool": "task_create", "suppose": odd}, HAND)
        assert outcome.outcome == "invalid", odd


BUDGET = """
INSERT INTO budget_settings (organization_id, setting_id, scope, measure, most, changed_by, changed_at, reason)
VALUES ($1, gen_random_uuid(), 'run', 'calls:prepare', 2, $2, now(), 'To try it.')
"""
TAKEN = """
INSERT INTO budget_use (organization_id, scope, subject, measure, period, begun_on, used, reserved)
VALUES ($1, 'run', $2, 'calls:prepare', 'run', now(), 1, 1)
"""


async def test_what_is_left_of_a_runs_budget_is_foreseen_for_a_call_in_it(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    run_id = FIRM_A.id("thing")
    await owner_connection.execute(BUDGET, FIRM_A.organization_id, FIRM_A.id("partner"))
    of_run: Json = {"run_id": str(run_id)}
    assert (await told(gate, "task_create", of_run))["decision"] == "allow"
    await owner_connection.execute(TAKEN, FIRM_A.organization_id, run_id)
    found = await told(gate, "task_create", of_run)
    assert (found["decision"], found["reasons"]) == ("deny", ["budget_exhausted"])
    assert "budget_exhausted" in found["explained"]["mattered"]
    assert (await told(gate, "task_create", {}))["decision"] == "allow", "in no run, or in the next"
    assert (await told(gate, "task_list", of_run))["decision"] == "allow", "of another effect"


async def test_of_a_run_that_is_not_ones_own_nothing_is_told(gate: GateOnTest, owner_connection: Connection) -> None:
    await owner_connection.execute(BUDGET, FIRM_A.organization_id, FIRM_A.id("partner"))
    for another in (FIRM_B.id("thing"), uuid4()):
        found = await told(gate, "task_create", {"run_id": str(another)})
        assert (found["decision"], found["explained"]["missing"]) == ("allow", ["run"])
