"""Autonomy set through the gate: in force for the next call everywhere, never out of its range, and with a history."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from domain.autonomy.model import Setting, SettingQuery
from domain.kernel import Level, OrganizationId, Principal, PrincipalId, Role
from domain.paging import page_request
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.calls import add_member
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import CallOutcome, Json, decision_of

PARTNER = principal_of(who="partner", mode="person", door="rest")
AGENT = principal_of()
TASK = {"title": "Count the chairs"}


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools) as opened:
        yield opened


async def changed(gate: GateOnTest, by: Principal = PARTNER, **fields: object) -> CallOutcome:
    return await gate.call("autonomy_set", {"reason": "the partners' meeting", **fields}, by)


def setting_of(outcome: CallOutcome) -> Json:
    assert outcome.result is not None, outcome
    return cast(Json, outcome.result["setting"])


def code_of(outcome: CallOutcome) -> tuple[str, str | None]:
    return outcome.outcome, None if outcome.error is None else outcome.error.code


async def status_of(gate: GateOnTest, principal: Principal = AGENT) -> Json:
    asked = await gate.call("autonomy_query", {}, principal)
    assert asked.result is not None, asked
    return asked.result


async def test_a_level_holds_for_the_next_call_of_another_process_too(gate: GateOnTest, pools: DatabasePools) -> None:
    async with gate_on(pools) as other:
        assert (await other.call("task_create", TASK, AGENT)).outcome == "done"
        assert setting_of(await changed(gate, scope="organization", level="L1"))["level"] == "L1"
        assert (await other.call("task_create", TASK, AGENT)).outcome == "waiting"
        await changed(gate, scope="organization", level="L2")
        assert (await other.call("task_create", TASK, AGENT)).outcome == "done"


async def test_the_switch_holds_everybody_at_l1_and_leaves_the_level_as_it_is(gate: GateOnTest) -> None:
    await changed(gate, scope="organization", level="L3")
    off = setting_of(await changed(gate, scope="organization", autopilot_disabled=True))
    assert (off["level"], off["autopilot_disabled"]) == ("L3", True)
    status = await status_of(gate)
    assert (status["level"], status["organization_level"], status["autopilot_disabled"]) == ("L1", "L3", True)
    on = setting_of(await changed(gate, scope="organization", autopilot_disabled=False))
    assert (on["level"], on["autopilot_disabled"]) == ("L3", False)
    assert (await status_of(gate))["level"] == "L2", "the member's own ceiling"


async def test_two_changes_at_once_of_different_parts_both_stand(gate: GateOnTest) -> None:
    for _ in range(3):
        await changed(gate, scope="organization", level="L2", autopilot_disabled=False)
        await asyncio.gather(
            changed(gate, scope="organization", level="L0"),
            changed(gate, scope="organization", autopilot_disabled=True),
        )
        status = await status_of(gate)
        assert (status["organization_level"], status["autopilot_disabled"]) == ("L0", True)


async def test_a_tools_ceiling_holds_for_that_tool_until_it_is_lifted(gate: GateOnTest) -> None:
    await changed(gate, scope="tool", tool="task_create", level="L1")
    assert (await gate.call("task_create", TASK, AGENT)).outcome == "waiting"
    assert (await status_of(gate))["level"] == "L2"
    assert "level" not in setting_of(await changed(gate, scope="tool", tool="task_create", level=None))
    assert (await gate.call("task_create", TASK, AGENT)).outcome == "done"


@pytest.mark.parametrize("level", ["L0", "L1"])
async def test_what_is_told_of_jobs_is_what_starting_one_would_get(gate: GateOnTest, level: str) -> None:
    asked = await gate.call("task_create", {"title": "Refresh", "kind": "refresh_analytics"}, AGENT)
    assert asked.result is not None
    start = {"task_id": cast(Json, asked.result["task"])["task_id"]}
    await changed(gate, scope="tool", tool="task_run", level=level)
    await changed(gate, scope="tool", tool="autonomy_query", level="L0")

    status = await status_of(gate)

    started = await gate.call("task_run", start, AGENT, dry_run=True)
    assert started.verdict is not None
    (job,) = [job for job in cast("list[Json]", status["jobs"]) if job["kind"] == "refresh_analytics"]
    assert job["decision"] == decision_of(started.verdict)
    assert (status["level"], cast(Json, status["allowed"])["prepare"]) == ("L2", "allow"), "of tools without a ceiling"
    about = await gate.call("autonomy_query", {"tool": "task_run", "arguments": start}, AGENT)
    assert about.result is not None
    assert (about.result["level"], cast(Json, about.result["tool"])["decision"]) == (level, job["decision"])


async def test_a_members_range_holds_for_that_member_and_no_other(gate: GateOnTest) -> None:
    set_ = setting_of(await changed(gate, scope="member", member="EMPLOYEE@firm-1.example", ceiling="L1"))
    assert (set_["member"], set_["floor"], set_["ceiling"]) == ("employee@firm-1.example", "L0", "L1")
    assert (await gate.call("task_create", TASK, AGENT)).outcome == "waiting"
    assert (await status_of(gate, principal_of(who="partner")))["level"] == "L2"
    await changed(gate, scope="member", member="employee@firm-1.example", floor="L3", ceiling="L3")
    assert (await status_of(gate))["level"] == "L3"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"scope": "organization"}, "setting_does_not_fit"),
        ({"scope": "organization", "level": "L1", "floor": "L0"}, "setting_does_not_fit"),
        ({"scope": "organization", "level": "L1", "tool": "task_create"}, "setting_does_not_fit"),
        ({"scope": "tool", "level": "L1"}, "setting_does_not_fit"),
        ({"scope": "tool", "tool": "task_create"}, "setting_does_not_fit"),
        ({"scope": "tool", "tool": "no_such_tool", "level": "L1"}, "tool_not_found"),
        ({"scope": "member", "floor": "L1"}, "setting_does_not_fit"),
        ({"scope": "member", "member": "partner@firm-2.example", "floor": "L1"}, "member_not_found"),
        ({"scope": "member", "member": "employee@firm-1.example", "floor": "L3"}, "floor_above_ceiling"),
        (
            {"scope": "member", "member": "employee@firm-1.example", "floor": "L2", "ceiling": "L1"},
            "floor_above_ceiling",
        ),
        ({"scope": "organization", "level": "L4"}, "invalid_arguments"),
        ({"scope": "organization", "level": 3}, "invalid_arguments"),
        ({"scope": "organization", "level": "L1", "reason": "  "}, "invalid_arguments"),
        ({"scope": "moon", "level": "L1"}, "invalid_arguments"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_refused_and_leaves_nothing(
    gate: GateOnTest, superuser_connection: Connection, fields: Json, code: str
) -> None:
    before = await superuser_connection.fetchval("SELECT count(*) FROM autonomy_settings")
    ended = await gate.call("autonomy_set", {"reason": "the partners' meeting", **fields}, PARTNER)
    assert code_of(ended) == ("invalid", code)
    assert await superuser_connection.fetchval("SELECT count(*) FROM autonomy_settings") == before
    assert (await status_of(gate))["level"] == "L2"


async def test_nobody_below_a_partner_and_no_agent_sets_anything(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    manager = replace(PARTNER, principal_id=PrincipalId(await add_member(owner_connection, Role.MANAGER)))
    tried: tuple[tuple[Principal, str], ...] = (
        (manager, "role_too_low"),
        (principal_of(mode="person", door="rest"), "role_too_low"),
        (principal_of(who="partner"), "agent_may_not"),
        (principal_of(who="service", mode="person", door="rest"), "agent_may_not"),
    )
    for by, reason in tried:
        ended = await changed(gate, by, scope="organization", level="L3")
        assert ended.outcome == "denied"
        assert ended.verdict is not None
        assert reason in ended.verdict.reasons
    assert (await status_of(gate))["organization_level"] == "L2"


async def history(gate: GateOnTest, who: str = "partner") -> list[Setting]:

    organization, principal = OrganizationId(FIRM_A.organization_id), PrincipalId(FIRM_A.id(who))
    async with gate.transactions.session(organization, principal) as session:
        asked = SettingQuery(page=page_request(limit=100))
        return list((await session.work.autonomy.history(asked)).items)


async def test_the_history_says_who_when_and_why_and_a_client_reads_none_of_it(gate: GateOnTest) -> None:
    await changed(gate, scope="organization", level="L1", reason="an incident")
    await changed(gate, scope="tool", tool="task_run", level="L0")
    await changed(gate, scope="member", member="employee@firm-1.example", ceiling="L1")
    newest, tool, organization, *older = await history(gate)
    assert [each.scope for each in (newest, tool, organization)] == ["member", "tool", "organization"]
    assert (organization.level, organization.reason, organization.changed_by) == (
        Level.L1,
        "an incident",
        "partner@firm-1.example",
    )
    assert (tool.tool, tool.member, newest.member) == ("task_run", None, "employee@firm-1.example")
    assert newest.changed_at > tool.changed_at > organization.changed_at
    assert [each.changed_by for each in older] == ["partner@firm-1.example"], "the seed's own"
    assert await history(gate, "client") == []


async def test_the_newest_setting_is_in_force_though_a_servers_clock_is_behind(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await owner_connection.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at) "
        "VALUES ($1, gen_random_uuid(), 'organization', 0, $2, now() + interval '1 hour')",
        FIRM_A.organization_id,
        FIRM_A.id("partner"),
    )
    await changed(gate, scope="organization", level="L2")
    assert (await status_of(gate))["organization_level"] == "L2"


async def test_another_organizations_settings_stay_as_they_are(gate: GateOnTest) -> None:
    await changed(gate, scope="organization", level="L0", autopilot_disabled=True)
    other = await status_of(gate, principal_of(FIRM_B))
    assert (other["organization_level"], other["autopilot_disabled"]) == ("L2", False)
