"""An organization's own policies through the gate: in force for its next call everywhere and for nobody else's, each
change recorded and undone again, and what was decided beside them decided the same by the record alone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from domain.kernel import Principal, Role
from domain.paging import page_request
from domain.policies.model import POLICIES_KEPT, PolicyChangeQuery
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.calls import add_member
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.policies import firm_policies
from tools.outcomes import CallOutcome, decision_of

AGENT = principal_of()
HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
REPLAYS = principal_of(who="partner", mode="person", door="cli")
TASK = {"title": "Count the chairs"}
REASON = "the partners' meeting"


def policy(name: str, scope: str, when: str = "true", *, action: str = "call") -> str:
    head = f'principal, action == Action::"{action}", {scope}'
    return f'@id("{name}") @says("We want {name}.") forbid ({head}) when {{ {when} }};'


NO_TASKS = policy("no_tasks", 'resource == Tool::"task_create"', "!principal.by_hand")
ASK_READS = policy("ask_reads", 'resource == Tool::"task_list"', action="call_without_approval")


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    for firm in (FIRM_A, FIRM_B):
        await add_member(owner_connection, Role.SYSTEM_ADMIN, firm=firm)
    async with gate_on(pools) as opened:
        yield opened


def admin(firm: Firm = FIRM_A) -> Any:
    return principal_of(firm, Role.SYSTEM_ADMIN, mode="person", door="rest")


async def add(gate: GateOnTest, text: str, firm: Firm = FIRM_A, **more: object) -> CallOutcome:
    return await gate.call("policy_add", {"text": text, "reason": REASON, **more}, admin(firm))


async def remove(gate: GateOnTest, name: str, firm: Firm = FIRM_A) -> CallOutcome:
    return await gate.call("policy_remove", {"policy_id": name, "reason": "it was too much"}, admin(firm))


def result_of(outcome: CallOutcome) -> dict[str, Any]:
    assert outcome.result is not None, outcome
    return cast("dict[str, Any]", outcome.result)


def told(outcome: CallOutcome) -> tuple[str, str | None]:
    return outcome.outcome, None if outcome.error is None else outcome.error.code


async def test_a_policy_holds_for_the_next_call_of_another_process_and_of_no_other_firm(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection
) -> None:
    digests = "SELECT DISTINCT policy_digest FROM activity_events WHERE call_id = $1"
    async with gate_on(pools) as other:
        before = await other.call("task_create", TASK, AGENT)
        assert before.outcome == "done"
        added = result_of(await add(gate, NO_TASKS))["policy"]
        denied = await other.call("task_create", TASK, AGENT)
        assert denied.verdict is not None
        assert (denied.outcome, denied.verdict.reasons) == ("denied", ("no_tasks",))
        assert (await other.call("task_create", TASK, HAND)).outcome == "done"
        assert (await other.call("task_create", TASK, principal_of(FIRM_B))).outcome == "done"
        assert (await remove(gate, "no_tasks")).outcome == "done"
        after = await other.call("task_create", TASK, AGENT)
        assert after.outcome == "done"
    recorded = [await superuser_connection.fetchval(digests, each.call_id) for each in (before, denied, after)]
    firm = firm_policies().digest
    assert recorded == [firm, firm + bytes.fromhex(added["policies_digest"]), firm]


async def test_each_change_is_an_event_and_stays_in_the_history(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    first = await add(gate, NO_TASKS)
    changed = NO_TASKS.replace("We want no_tasks.", "Only by hand.")
    assert told(await add(gate, changed)) == ("invalid", "policy_exists")
    second = await add(gate, changed, replace=True)
    third = await remove(gate, "no_tasks")
    assert told(await remove(gate, "no_tasks")) == ("invalid", "policy_not_found")
    async with gate.transactions.session(HAND.organization_id, HAND.principal_id) as session:
        page = await session.work.policies.history(PolicyChangeQuery(page=page_request(limit=3)))
        assert await session.work.policies.listed() == ()
    entries = [(each.text, each.reason, each.changed_by, each.digest is None) for each in page.items]
    by = "system_admin@more-1.example"
    assert entries == [
        (None, "it was too much", by, True),
        (changed, REASON, by, False),
        (NO_TASKS, REASON, by, False),
    ]
    kinds = await superuser_connection.fetch(
        "SELECT kind FROM activity_events WHERE call_id = ANY($1) ORDER BY occurred_at",
        [first.call_id, second.call_id, third.call_id],
    )
    assert [row["kind"] for row in kinds] == ["tool.allowed", "tool.completed"] * 3


async def test_only_an_administrators_own_hand_changes_them(gate: GateOnTest, owner_connection: Connection) -> None:
    for tool, asked in (("policy_add", {"text": NO_TASKS}), ("policy_remove", {"policy_id": "no_tasks"})):
        for who in (PARTNER, HAND, principal_of(who=Role.SYSTEM_ADMIN), principal_of(who="service", door="worker")):
            ended = await gate.call(tool, {**asked, "reason": REASON}, who)
            assert ended.outcome == "denied", (tool, who)
    assert (await gate.call("policy_try", {"text": NO_TASKS}, HAND)).outcome == "denied"
    assert (await gate.call("policy_try", {"text": NO_TASKS}, PARTNER)).outcome == "done"


async def test_another_firms_policies_are_neither_seen_nor_taken_back(gate: GateOnTest) -> None:
    await add(gate, NO_TASKS)
    assert told(await remove(gate, "no_tasks", FIRM_B)) == ("invalid", "policy_not_found")
    theirs = principal_of(FIRM_B, mode="person", door="rest")
    async with gate.transactions.session(theirs.organization_id, theirs.principal_id) as session:
        assert await session.work.policies.listed() == ()
    # The same text of another firm's is that firm's own; what one takes back, the other keeps.
    assert (await add(gate, NO_TASKS, FIRM_B)).outcome == "done"
    assert (await remove(gate, "no_tasks")).outcome == "done"
    assert (await gate.call("task_create", TASK, principal_of(FIRM_B))).outcome == "denied"
    assert (await gate.call("task_create", TASK, AGENT)).outcome == "done"


REFUSED: list[tuple[str, str]] = [
    (policy("never", "resource").replace("forbid", "permit"), "it permits"),
    (policy("role_too_low", "resource"), "firm-wide policy's"),
    (policy("typo", 'resource == Tool::"task_craete"'), "names task_craete"),
    (policy("typo", "resource", 'principal.dor == Door::"slack"'), "dor"),
    (policy("sums", "resource", "principal.level + 1 > 2"), "`+`"),
    ("nothing at all", ""),
]


async def test_what_is_none_of_an_organizations_own_is_refused_and_recorded(gate: GateOnTest) -> None:
    for text, words in REFUSED:
        for tool, more in (("policy_add", {"reason": REASON}), ("policy_try", {})):
            ended = await gate.call(tool, {"text": text, **more}, admin())
            assert told(ended) == ("invalid", "policy_unusable"), text
            assert ended.error is not None
            assert words in ended.error.message
    assert (await gate.call("task_create", TASK, AGENT)).outcome == "done"


async def test_a_policy_that_forbids_everything_is_taken_back_all_the_same(gate: GateOnTest) -> None:
    assert (await add(gate, policy("never", "resource"))).outcome == "done"
    assert (await add(gate, policy("more", "resource"))).outcome == "denied"
    for tool, asked in (("task_list", {}), ("autonomy_query", {}), ("task_create", TASK)):
        assert (await gate.call(tool, asked, HAND)).outcome == "denied", tool
    assert (await remove(gate, "never")).outcome == "done"
    assert (await gate.call("task_list", {}, HAND)).outcome == "done"


async def test_a_read_that_a_person_is_to_be_asked_about_waits_and_is_made_once_approved(gate: GateOnTest) -> None:
    await add(gate, ASK_READS)
    asked = await gate.call("task_list", {}, AGENT)
    assert asked.outcome == "waiting"
    assert asked.approval is not None
    answer = {"approval_id": str(asked.approval.approval_id), "decision": "approve"}
    approved = result_of(await gate.call("approval_decide", answer, PARTNER))
    assert approved["call"]["outcome"] == "done"
    assert "items" in approved["call"]["result"]
    followed = result_of(await gate.call("call_get", {"call_id": str(asked.call_id)}, AGENT))
    assert followed["outcome"] == "done"
    # Only looked at, it is not asked about.
    assert (await gate.call("task_list", {}, AGENT, dry_run=True)).outcome == "dry_run"


@pytest.mark.parametrize(
    "who", [HAND, *(principal_of(door=door) for door in ("chat", "mcp", "slack", "widget", "cli", "rest"))]
)
async def test_whoever_asked_by_hand_or_by_their_agent_does_not_approve_it(gate: GateOnTest, who: Principal) -> None:
    await add(gate, policy("two_hands", 'resource == Tool::"task_create"', action="call_without_approval"))
    query = {"tool": "task_create", "explain": True, "suppose": {"mode": who.mode}}
    foreseen = result_of(await gate.call("autonomy_query", query, AGENT))["tool"]["explained"]
    assert foreseen["four_eyes"] is True
    asked = await gate.call("task_create", TASK, who)
    assert asked.approval is not None
    answer = {"approval_id": str(asked.approval.approval_id), "decision": "approve"}
    own = await gate.call("approval_decide", answer, HAND)
    assert own.verdict is not None
    assert own.verdict.reasons == ("four_eyes_needed",)
    assert (await gate.call("approval_decide", answer, PARTNER)).outcome == "done"


async def test_an_approved_call_is_refused_where_a_policy_forbids_it_by_then(gate: GateOnTest) -> None:
    await add(gate, policy("ask_tasks", 'resource == Tool::"task_create"', action="call_without_approval"))
    asked = await gate.call("task_create", TASK, AGENT)
    assert asked.approval is not None
    await add(gate, NO_TASKS)
    answer = {"approval_id": str(asked.approval.approval_id), "decision": "approve"}
    decided = result_of(await gate.call("approval_decide", answer, PARTNER))
    assert decided["call"]["outcome"] == "denied"


async def test_what_would_happen_and_why_counts_them_in(gate: GateOnTest) -> None:
    await add(gate, NO_TASKS)
    query = {"tool": "task_create", "explain": True, "arguments": TASK}
    found = result_of(await gate.call("autonomy_query", query, AGENT))["tool"]
    assert (found["decision"], found["reasons"]) == ("deny", ["no_tasks"])
    because = {"policy": "no_tasks", "says": "We want no_tasks.", "file": "organization"}
    assert found["explained"]["because"] == [because]
    lifted = [change for change in found["explained"]["would_change"] if change["fact"] == "mode"]
    assert [change["to"] for change in lifted] == [["person"]]
    plain = result_of(await gate.call("autonomy_query", {"tool": "task_create"}, AGENT))["tool"]
    assert plain["decision"] == "deny"
    await add(gate, policy("no_drafts", "resource", 'resource.effect == Effect::"prepare"'))
    assert result_of(await gate.call("autonomy_query", {}, AGENT))["allowed"]["prepare"] == "deny"


async def test_two_changes_at_once_are_both_in_force_and_the_room_is_bounded(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    texts = [policy(f"ours_{n}", 'resource == Tool::"task_run"', "false") for n in range(3)]
    added = await asyncio.gather(*(add(gate, text) for text in texts))
    assert [each.outcome for each in added] == ["done"] * 3
    async with gate.transactions.session(HAND.organization_id, HAND.principal_id) as session:
        assert len((await session.work.policies.in_force()).policies) == 3
    await owner_connection.execute(
        """INSERT INTO organization_policies
               (organization_id, change_id, policy_id, text, reason, changed_by, changed_at)
           SELECT $1, gen_random_uuid(), 'more_' || n, replace($2, 'ours_0', 'more_' || n), '', $3, now()
           FROM generate_series(1, $4) n""",
        FIRM_A.organization_id,
        texts[0],
        FIRM_A.id("partner"),
        POLICIES_KEPT - 3,
    )
    assert told(await add(gate, NO_TASKS)) == ("invalid", "too_many_policies")


async def test_a_set_that_somebody_bent_in_the_database_decides_nothing_and_is_taken_back(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection
) -> None:
    await add(gate, NO_TASKS)
    await owner_connection.execute("UPDATE organization_policies SET text = replace(text, 'forbid', 'permit')")
    async with gate_on(pools) as other:
        denied = await other.call("task_list", {}, AGENT)
        assert denied.verdict is not None
        assert denied.verdict.reasons == ("policy_error",)
        assert (await other.call("task_list", {}, principal_of(FIRM_B))).outcome == "done"
        assert (await remove(other, "no_tasks")).outcome == "done"
        assert (await other.call("task_list", {}, AGENT)).outcome == "done"


async def replayed(gate: GateOnTest, **asked: object) -> dict[str, Any]:
    return result_of(await gate.call("policy_replay", asked, REPLAYS))


async def a_changing_firm(gate: GateOnTest) -> dict[str, CallOutcome]:
    """Calls before a policy, under one, under two, under one changed, and after all were taken back."""
    made: dict[str, CallOutcome] = {}

    async def some(name: str) -> None:
        made[f"{name} task"] = await gate.call("task_create", TASK, AGENT)
        made[f"{name} hand"] = await gate.call("task_create", TASK, HAND)
        made[f"{name} list"] = await gate.call("task_list", {}, AGENT)
        made[f"{name} other"] = await gate.call("task_create", TASK, principal_of(FIRM_B))

    await some("before")
    await add(gate, NO_TASKS)
    await some("one")
    await add(gate, ASK_READS)
    await some("two")
    await add(gate, NO_TASKS.replace('call",', 'call_without_approval",'), replace=True)
    await some("changed")
    await remove(gate, "no_tasks")
    await remove(gate, "ask_reads")
    await some("after")
    return made


async def test_replaying_what_is_in_force_differs_in_nothing_though_the_policies_changed_all_along(
    gate: GateOnTest,
) -> None:
    made = await a_changing_firm(gate)
    decisions = {name: None if each.verdict is None else decision_of(each.verdict) for name, each in made.items()}
    assert (decisions["one task"], decisions["two list"], decisions["changed task"]) == (
        "deny",
        "needs_approval",
        "needs_approval",
    )
    found = await replayed(gate)
    assert found["same"] == found["verdicts"] > 15
    assert (found["changed"], found["reasons_changed"], found["differences"]) == (0, 0, [])
    # Firm-wide alone, and beside each of the four sets of its own.
    assert len(found["recorded_under"]) == 5
    assert [under["in_force"] for under in found["recorded_under"]].count(True) == 1


async def test_an_edit_of_their_own_changes_exactly_what_it_would_have(gate: GateOnTest) -> None:
    made = await a_changing_firm(gate)
    named = {str(each.call_id): name for name, each in made.items()}

    added = await replayed(
        gate, add=policy("no_lists", 'resource == Tool::"task_list"', 'principal.door == Door::"chat"')
    )
    changed = {(named.get(each["call_id"]), each["after"]["decision"]) for each in added["differences"]}
    assert changed == {(f"{name} list", "deny") for name in ("before", "one", "two", "changed", "after")}

    await add(gate, ASK_READS)
    made["again"] = await gate.call("task_list", {}, AGENT)
    named[str(made["again"].call_id)] = "again"
    removed = await replayed(gate, remove="ask_reads")
    changed = {(named.get(each["call_id"]), each["after"]["decision"]) for each in removed["differences"]}
    assert changed == {(name, "allow") for name in ("two list", "changed list", "again")}
    assert told(await gate.call("policy_replay", {"remove": "nobody"}, REPLAYS)) == ("invalid", "policy_not_found")


async def test_what_was_tried_is_what_adding_it_then_tells(gate: GateOnTest) -> None:
    for _ in range(3):
        await gate.call("task_create", TASK, AGENT)
    tried = result_of(await gate.call("policy_try", {"text": NO_TASKS, "limit": 2}, PARTNER))
    assert (tried["changed"], len(tried["differences"]), tried["differences_left_out"]) == (3, 2, 1)
    assert tried["by_tool_and_role"] == [
        {"tool": "task_create", "role": "EMPLOYEE", "from": "allow", "to": "deny", "verdicts": 3}
    ]
    newest = result_of(await gate.call("policy_try", {"text": NO_TASKS, "calls": 2}, PARTNER))
    assert (newest["calls"], newest["changed"]) == (2, 1)
    added = result_of(await add(gate, NO_TASKS))
    assert (added["tried"]["changed"], added["policy"]["decision"]) == (3, "deny")


async def test_a_record_of_a_set_that_there_never_was_is_told_apart(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    made = await gate.call("task_create", TASK, AGENT)
    await superuser_connection.execute(
        "UPDATE activity_events SET policy_digest = policy_digest || $2 WHERE call_id = $1", made.call_id, b"\1" * 32
    )
    found = await replayed(gate)
    assert (found["not_decided"]["unreadable"], found["changed"]) == (1, 0)
