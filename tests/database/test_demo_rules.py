"""What the demo's people have set: by calls of their own hands, once, and in nobody's way."""

from dataclasses import replace
from pathlib import Path

import pytest

from domain.budgets.model import BudgetState
from domain.kernel import CallId, OrganizationId, Principal, PrincipalId
from domain.resources import resource_folder
from server.database.connection import Connection
from server.demo.firm import load_firm
from server.demo.rules import DEMO_RULES, RuleFailed, set_rules
from server.hub import Hub
from tests.support.database import Database
from tests.support.doors import opened_hub
from tools.outcomes import CallOutcome, CallRequest, Json

FOLDER = resource_folder("demo")
ACME, BOREALIS = load_firm(FOLDER).organizations
RULE = "released_only_attended"
RECORDED = """
SELECT tool, door, mode, outcome FROM activity_events WHERE request_id = $1 AND outcome IS NOT NULL ORDER BY tool
"""
RELEASE: Json = {
    "control": "report_release",
    "engagement_id": str(ACME.id("engagement", "ostrivane-audit-2026")),
    "evidence": [{"subject": "Report", "version": "1"}],
}


def acme(role: str) -> Principal:
    """One of the firm's people, by their own hand at the command line."""
    return Principal(
        organization_id=OrganizationId(ACME.id("organization")),
        principal_id=PrincipalId(ACME.id("user", f"{role}@acme.example")),
        kind="person",
        mode="person",
        door="cli",
    )


async def call(hub: Hub, who: Principal, tool: str, arguments: Json) -> CallOutcome:
    return await hub.gate.call(CallRequest(call_id=CallId(hub.new_id()), tool=tool, arguments=arguments), who)


async def budgets(hub: Hub) -> list[BudgetState]:
    partner = acme("partner")
    async with hub.transactions.session(partner.organization_id, partner.principal_id) as session:
        return list(await session.work.budgets.states())


async def policies(hub: Hub) -> list[str]:
    partner = acme("partner")
    async with hub.transactions.session(partner.organization_id, partner.principal_id) as session:
        return [each.policy_id for each in await session.work.policies.listed()]


async def test_a_budget_and_a_rule_are_set_by_hand_at_the_first_start_and_never_again(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    said: list[str] = []
    async with opened_hub(database) as hub:
        await set_rules(hub, owner_connection, FOLDER, said.append)
        (budget,) = await budgets(hub)
        assert (budget.scope, budget.measure, budget.most, budget.used) == (
            "organization",
            "calls:irreversible",
            100,
            0,
        )
        assert await policies(hub) == [RULE]
        made = [tuple(row) for row in await superuser_connection.fetch(RECORDED, DEMO_RULES)]
        assert made == [("budget_set", "cli", "person", "done"), ("policy_add", "cli", "person", "done")]
        assert len(said) == 2

        await set_rules(hub, owner_connection, FOLDER, said.append)
        assert len(await budgets(hub)) == 1
        taken = await call(hub, acme("admin"), "policy_remove", {"policy_id": RULE, "reason": "tried"})
        assert taken.outcome == "done", taken
        await set_rules(hub, owner_connection, FOLDER, said.append)
        assert await policies(hub) == [], "what somebody took back stays so"
        assert len(said) == 2


async def test_the_rule_forbids_what_nobody_attends_and_stands_in_no_other_way(
    database: Database, owner_connection: Connection
) -> None:
    async with opened_hub(database) as hub:
        await set_rules(hub, owner_connection, FOLDER, lambda _: None)
        attended = await call(hub, acme("partner"), "release_submit", RELEASE)
        scheduled = await call(hub, replace(acme("partner"), mode="agent", scheduled=True), "release_submit", RELEASE)
        for outcome in (attended, scheduled):
            assert outcome.outcome == "denied"
            assert outcome.verdict is not None
        assert attended.verdict is not None
        assert scheduled.verdict is not None
        assert "control_not_satisfied" in attended.verdict.reasons
        assert RULE not in attended.verdict.reasons
        assert RULE in scheduled.verdict.reasons
        asked = replace(acme("employee"), mode="agent", door="chat")
        assert (await call(hub, asked, "task_create", {"title": "Ask for the lease"})).outcome == "done"
        (budget,) = await budgets(hub)
        assert (budget.used, budget.reserved) == (0, 0), "what is refused takes nothing of the budget"
        assert BOREALIS.rules == (), "so that it can be seen that rules are an organization's own"


async def test_a_rule_that_cannot_be_set_stops_the_start_and_is_named(
    database: Database, owner_connection: Connection, tmp_path: Path
) -> None:
    text = (FOLDER / "firm.yaml").read_text(encoding="utf-8")
    (tmp_path / "firm.yaml").write_text(text.replace("forbid (principal", "permit (principal"), encoding="utf-8")
    async with opened_hub(database) as hub:
        with pytest.raises(RuleFailed, match="nothing is released unattended: invalid"):
            await set_rules(hub, owner_connection, tmp_path, lambda _: None)
