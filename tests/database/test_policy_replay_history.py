"""A long history of real calls, decided again: zero differences for what is in force, the predicted ones for an edit.

Every event is the gate's own, and what an edit changes is foretold by SQL from decisions and reasons, not by the
engine.
`make test` makes a sample of the history, `make replay` 10,000 calls and says what it took.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any, cast

import pytest

from domain.kernel import Door, Role
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.calls import add_member
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.policies import shipped_files, without_rule
from tools.outcomes import CallOutcome, Json

CALLS = int(os.environ.get("GLOW_TEST_REPLAY", "400"))
AT_ONCE = 8
A_SEASON = 10
"""Of the history: how often in it a level is set or a policy of the organization's own put in force or taken back."""
RULE = "autonomy_needs_approval_prepare"
DOORS: tuple[Door, ...] = ("chat", "mcp", "slack", "rest", "widget", "cli")
PEOPLE = ("employee", "client", Role.READONLY, Role.MANAGER, "partner", Role.EQR)
PARTNER = principal_of(who="partner", mode="person", door="cli")
ADMIN = principal_of(who=Role.SYSTEM_ADMIN, mode="person", door="cli")


def own(name: str, action: str, when: str) -> str:
    return (
        f'@id("{name}") @says("So we want it.") forbid (principal, action == Action::"{action}", '
        f'resource == Tool::"task_create") when {{ {when} }};'
    )


OURS = {
    "no_tasks_by_mcp": own("no_tasks_by_mcp", "call", 'principal.door == Door::"mcp"'),
    "ask_in_slack": own("ask_in_slack", "call_without_approval", 'principal.door == Door::"slack"'),
}
NO_LISTS_IN_SLACK = """@id("no_lists_in_slack") @says("No lists in channels.")
forbid (principal, action == Action::"call", resource == Tool::"task_list") when { principal.door == Door::"slack" };"""

ASKED: list[tuple[str, Json]] = [
    ("task_list", {}),
    ("task_list", {"status": "open"}),
    ("task_create", {"title": "Count the chairs"}),
    ("task_create", {"title": "Count the chairs"}),
    ("task_create", {"title": "For you", "assignee": "partner@firm-1.example"}),
    ("release_check", {"control": "plan_freeze", "engagement_id": str(FIRM_A.id("engagement"))}),
    ("document_delete", {"document_id": str(FIRM_A.id("other_engagement"))}),
    ("task_create", {"titel": 1}),
]

# Who would have been asked by nothing but the rule, in a call that waited, and when such a call was made once approved.
FORETOLD_WITHOUT_RULE = """
SELECT e.call_id, e.opens, CASE WHEN e.decision = 'needs_approval' AND e.reasons = ARRAY[$2] THEN 'decision'
                                ELSE 'reasons' END AS differs
FROM activity_events e
WHERE e.organization_id = $1 AND (
    (e.opens AND e.decision = 'needs_approval' AND $2 = ANY (e.reasons))
    OR (e.kind = 'tool.allowed' AND NOT e.opens AND e.reasons = '{approved}' AND EXISTS (
        SELECT FROM activity_events o WHERE o.organization_id = $1 AND o.call_id = e.call_id AND o.opens
          AND o.reasons = ARRAY[$2])))
"""
FORETOLD_WITH_NO_LISTS = """
SELECT e.call_id, e.opens, CASE WHEN e.decision = 'deny' THEN 'reasons' ELSE 'decision' END AS differs
FROM activity_events e
WHERE e.organization_id = $1 AND e.opens AND e.tool = 'task_list' AND e.door = 'slack'
"""


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    for role in (Role.READONLY, Role.MANAGER, Role.EQR, Role.SYSTEM_ADMIN):
        await add_member(owner_connection, role)
    async with gate_on(pools) as opened:
        yield opened


async def one_call(gate: GateOnTest, random: Random) -> None:
    """A call of somebody's agent or own hand; where it waits, most are answered."""
    who = principal_of(
        who=random.choice(PEOPLE), mode=random.choice(["agent", "agent", "person"]), door=random.choice(DOORS)
    )
    tool, arguments = random.choice(ASKED)
    ended = await gate.call(tool, arguments, who, dry_run=random.random() < 0.05)
    if ended.approval is not None and random.random() < 0.8:
        answer = {
            "approval_id": str(ended.approval.approval_id),
            "decision": random.choice(["approve", "approve", "reject"]),
        }
        await gate.call("approval_decide", answer, PARTNER)


async def a_change(gate: GateOnTest, season: int) -> None:
    """Levels go up and down, and policies of the organization's own come and go."""
    level = ("L1", "L2", "L3", "L0")[season % 4]
    changed = await gate.call("autonomy_set", {"scope": "organization", "level": level, "reason": "season"}, PARTNER)
    assert changed.outcome == "done", changed
    name = list(OURS)[season % 2]
    if season % 4 < 2:
        changed = await gate.call("policy_add", {"text": OURS[name], "reason": "season"}, ADMIN)
    else:
        changed = await gate.call("policy_remove", {"policy_id": name, "reason": "season"}, ADMIN)
    assert changed.outcome == "done", changed


async def a_history(gate: GateOnTest) -> None:
    random = Random(20261129)
    for season in range(A_SEASON):
        await a_change(gate, season)
        for _ in range(CALLS // A_SEASON // AT_ONCE):
            await asyncio.gather(*(one_call(gate, Random(random.random())) for _ in range(AT_ONCE)))
    await gate.call("task_list", {}, principal_of(FIRM_B))


def say(words: str) -> None:
    print(words)  # noqa: T201 - what `make replay` is run for


async def timed(what: str, doing: Callable[[], Awaitable[Any]]) -> Any:
    began = time.perf_counter()
    found = await doing()
    say(f"{what}: {time.perf_counter() - began:.1f} s")
    return found


async def replayed(gate: GateOnTest, **asked: object) -> dict[str, Any]:
    ended: CallOutcome = await gate.call("policy_replay", {"limit": 10_000, **asked}, PARTNER)
    assert ended.result is not None, ended
    return cast("dict[str, Any]", ended.result)


def differences(found: dict[str, Any]) -> set[tuple[str, bool, str]]:
    """Each by its call, whether it is of the opening, and in what it differs."""
    assert found["differences_left_out"] == 0
    return {
        (
            each["call_id"],
            not each["at_execution"],
            "reasons" if each["before"]["decision"] == each["after"]["decision"] else "decision",
        )
        for each in found["differences"]
    }


async def foretold(connection: Connection, sql: str, *more: str) -> set[tuple[str, bool, str]]:
    rows = await connection.fetch(sql, FIRM_A.organization_id, *more)
    return {(str(row["call_id"]), row["opens"], row["differs"]) for row in rows}


@pytest.mark.timeout(900)
async def test_a_history_of_real_calls_is_decided_as_it_was_and_an_edit_changes_what_was_foretold(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    await timed(f"{CALLS:,} calls made", lambda: a_history(gate))
    without = {"policies": without_rule(shipped_files(), RULE)}
    expected = await foretold(superuser_connection, FORETOLD_WITHOUT_RULE, RULE)
    lists = await foretold(superuser_connection, FORETOLD_WITH_NO_LISTS)

    again = await timed("replayed under what is in force", lambda: replayed(gate))
    assert again["same"] == again["verdicts"] >= CALLS * 0.8
    assert (again["changed"], again["reasons_changed"], again["differences"]) == (0, 0, [])
    assert again["not_decided"]["lacking"] == []
    assert len(again["recorded_under"]) >= 4

    edited = await timed(f"replayed without {RULE}", lambda: replayed(gate, **without))
    assert differences(edited) == expected
    assert {differs for _, _, differs in expected} == {"decision", "reasons"}

    added = await timed("replayed with one more of its own", lambda: replayed(gate, add=NO_LISTS_IN_SLACK))
    assert differences(added) == lists
    assert any(differs == "decision" for _, _, differs in lists)
    say(
        f"{again['verdicts']:,} verdicts, under {len(again['recorded_under'])} sets of policies: 0 differ as they stand"
    )
    say(f"{len(expected):,} and {len(lists):,} differ under the two edits, each as foretold")
