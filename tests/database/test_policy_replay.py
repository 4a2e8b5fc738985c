"""The time machine on a real history: nothing differs under the policies in force, and an edit changes what it must."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
import pytest

from domain.activity.model import ActivityEvent
from domain.activity.postgres import insert_events
from domain.kernel import CallId, Door, Level, Role, utc_now
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.worker.task_runs import TaskRunWorker
from tests.support.calls import NOW, add_member, event, followed
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.policies import firm_policies, shipped_files, situation, verdict_on, without_rule
from tools.outcomes import CallOutcome, CallRequest, Json, decision_of
from tools.policy import Situation

Found = dict[str, Any]

HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="cli")
AGENT = principal_of()
HUB = principal_of(who="service", door="worker")
TITLE = {"title": "Ask for the bank letter"}
LEVEL = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', $2, $3, clock_timestamp())
"""
LAPSE = "UPDATE approvals SET expires_at = now() - interval '1 second' WHERE call_id = $1"
ROLE = "UPDATE memberships SET role = $3 WHERE organization_id = $1 AND user_id = $2"
RECORDED = "SELECT call_id, decision, reasons, facts FROM activity_events WHERE organization_id = $1"


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools) as opened:
        yield opened


async def replayed(gate: GateOnTest, **asked: object) -> Found:
    outcome = await gate.call("policy_replay", asked, PARTNER)
    assert outcome.result is not None, outcome
    return cast("Found", outcome.result)


def edited(*without: str, **more: str) -> dict[str, str]:
    """The policies that ship, some taken out and others put in."""
    files = shipped_files()
    for rule in without:
        files = without_rule(files, rule)
    return files | {f"{name}.cedar": text for name, text in more.items()}


async def at_level(owner: Connection, level: int) -> None:
    await owner.execute(LEVEL, FIRM_A.organization_id, level, FIRM_A.id("partner"))


def approval_of(asked: CallOutcome) -> str:
    assert asked.approval is not None, asked
    return str(asked.approval.approval_id)


async def decided(gate: GateOnTest, asked: CallOutcome, decision: str) -> CallOutcome:
    return await gate.call("approval_decide", {"approval_id": approval_of(asked), "decision": decision}, PARTNER)


async def all_kinds_of_calls(gate: GateOnTest, pools: DatabasePools, owner: Connection) -> dict[str, CallOutcome]:
    """A day of the firm: allowed, denied, asked, approved, rejected, expired, previewed, invalid, in the background."""
    made: dict[str, CallOutcome] = {}
    for door in ("chat", "mcp", "slack"):
        made[f"read {door}"] = await gate.call("task_list", {}, principal_of(door=door))
    made["prepared"] = await gate.call("task_create", TITLE, AGENT)
    made["by hand"] = await gate.call("task_create", TITLE, HAND)
    made["denied"] = await gate.call("task_create", {**TITLE, "assignee": "partner@firm-1.example"}, AGENT)
    made["not offered"] = await gate.call("document_delete", {"document_id": str(FIRM_A.id("thing"))}, AGENT)
    made["of a client"] = await gate.call("task_list", {}, principal_of(who="client", mode="person", door="widget"))
    made["previewed"] = await gate.call("task_create", TITLE, AGENT, dry_run=True)
    made["nothing there"] = await gate.call("task_get", {"task_id": str(uuid4())}, AGENT)
    made["invalid"] = await gate.call("task_create", {"titel": 1}, AGENT)
    made["unknown"] = await gate.call("no_such_tool", {}, AGENT)
    request = CallRequest(call_id=CallId(uuid4()), tool="task_create", arguments=TITLE)
    made["refused at the door"] = await gate.gate.refuse(request, AGENT, "wrong_audience")
    made["service"] = await gate.call("task_list", {}, HUB)
    await background(gate, pools)
    await at_level(owner, 1)
    for decision in ("approve", "reject"):
        made[decision] = await gate.call("task_create", TITLE, AGENT)
        await decided(gate, made[decision], decision)
    made["lapsed"] = await gate.call("task_create", TITLE, AGENT)
    await owner.execute(LAPSE, made["lapsed"].call_id)
    await gate.call("approval_expire", {"approval_id": approval_of(made["lapsed"])}, HUB)
    made["forbidden by then"] = await gate.call("task_create", TITLE, AGENT)
    await owner.execute(ROLE, FIRM_A.organization_id, FIRM_A.id("employee"), "READONLY")
    await decided(gate, made["forbidden by then"], "approve")
    await owner.execute(ROLE, FIRM_A.organization_id, FIRM_A.id("employee"), "EMPLOYEE")
    made["still open"] = await gate.call("task_create", TITLE, AGENT)
    await at_level(owner, 0)
    made["unattended"] = await gate.call("task_list", {}, HUB)
    await at_level(owner, 2)
    return made


async def background(gate: GateOnTest, pools: DatabasePools) -> None:
    """A run whose steps are calls of the worker's, one of them made for each item of a list, which waits."""
    worker = TaskRunWorker(
        gate=gate.gate,
        transactions=gate.transactions,
        identities=PostgresIdentities(pools.app),
        workflows=gate.workflows,
        clock=utc_now,
    )
    for n in range(2):
        late = {"title": f"Minutes {n}", "due_on": "2026-01-01", "engagement_id": str(FIRM_A.id("engagement"))}
        owed = await gate.call("task_create", {**late, "assignee": "client@firm-1.example"}, PARTNER)
        assert owed.outcome == "done", owed
    for kind in ("refresh_analytics", "remind_pbc"):
        created = await gate.call("task_create", {"title": kind, "kind": kind}, HAND)
        task = cast(Json, cast(Json, created.result)["task"])
        started = await gate.call("task_run", {"task_id": task["task_id"]}, HAND)
        assert started.outcome == "done", started
        await worker.work(gate.queue.jobs.pop())


async def test_replaying_the_policies_in_force_over_all_kinds_of_calls_changes_nothing(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    made = await all_kinds_of_calls(gate, pools, owner_connection)
    recorded = await superuser_connection.fetch(RECORDED, FIRM_A.organization_id)

    found = await replayed(gate)

    assert (found["changed"], found["reasons_changed"], found["differences"]) == (0, 0, [])
    assert found["proposed"] == {"digest": firm_policies().digest.hex(), "in_force": True}
    policys = [row for row in recorded if row["facts"] != "{}"]
    assert {row["decision"] for row in policys} == {"allow", "deny", "needs_approval"}
    # No verdict of any event was passed over; the events that repeat one do not count twice.
    verdicts = {(row["call_id"], row["facts"], row["decision"], tuple(row["reasons"])) for row in policys}
    assert found["same"] == found["verdicts"] == len(verdicts) > 30
    # What no policy decided is told apart: a door's refusal, what could not be read, and the one row of the seed.
    apart = found["not_decided"]
    assert (apart["before_policy"], apart["without_verdict"], apart["lacking"]) == (1, 2 + 1, [])
    assert {name for name, ended in made.items() if ended.outcome == "invalid"} == {
        "nothing there",
        "invalid",
        "unknown",
    }


async def test_an_edit_changes_exactly_the_calls_that_hang_on_it(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection
) -> None:
    made = await all_kinds_of_calls(gate, pools, owner_connection)
    rule = "autonomy_needs_approval_prepare"

    found = await replayed(gate, policies=edited(rule))

    asked = ["approve", "reject", "lapsed", "forbidden by then", "still open"]
    by_call = {(each["call_id"], each["at_execution"]): each for each in found["differences"]}
    # What was approved when it was to be made is allowed all the same, no longer because somebody approved it.
    assert by_call.keys() == {(str(made[name].call_id), False) for name in asked} | {
        (str(made["approve"].call_id), True)
    }
    for name in asked:
        told = by_call[str(made[name].call_id), False]
        assert told["before"] == {"decision": "needs_approval", "reasons": [rule]}
        assert told["after"] == {"decision": "allow", "reasons": ["within_role_and_autonomy"]}
    assert by_call[str(made["approve"].call_id), True]["before"]["reasons"] == ["approved"]
    assert (found["changed"], found["reasons_changed"]) == (5, 1)
    assert found["by_tool_and_role"] == [
        {"tool": "task_create", "role": "EMPLOYEE", "from": "needs_approval", "to": "allow", "verdicts": 5},
        {"tool": "task_create", "role": "EMPLOYEE", "from": "allow", "to": "allow", "verdicts": 1},
    ]


async def test_a_new_rule_is_tried_on_the_background_too(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await all_kinds_of_calls(gate, pools, owner_connection)
    never = '@id("no_reminders") forbid (principal, action == Action::"call", resource == Tool::"task_remind");'
    found = await replayed(gate, policies=edited(new=never))
    asked = await superuser_connection.fetch("SELECT call_id FROM activity_events WHERE tool = 'task_remind' AND opens")
    assert len(asked) == 2
    assert {each["call_id"] for each in found["differences"]} == {str(row["call_id"]) for row in asked}
    assert {(each["door"], each["after"]["decision"]) for each in found["differences"]} == {("worker", "deny")}


SLACK_READERS = '@id("no_slack") forbid (principal, action == Action::"call", resource) when {{ {when} }};'.format(
    when='principal.door == Door::"slack" && principal has role && principal.role == Role::"READONLY"'
)


async def test_ten_thousand_calls_are_replayed_page_by_page_and_only_the_first_changes_are_kept(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    doors: tuple[Door, ...] = ("chat", "slack", "rest", "worker")
    effects = ("read", "prepare", "commit")
    kinds = [
        situation(role=role, door=door, level=level, effect=effect, attended=door != "worker")
        for role, door, level, effect in product((Role.READONLY, Role.MANAGER), doors, Level, effects)
    ]
    assert len(kinds) == 96
    calls = 10_080
    # Several of one moment stand on both sides of a page's end.
    made = [recorded(kinds[n % 96], occurred_at=NOW + timedelta(seconds=n // 7)) for n in range(calls)]
    await superuser_connection.execute("TRUNCATE activity_events CASCADE")
    await insert_events(superuser_connection, made)

    alike = await replayed(gate)
    found = await replayed(gate, policies=edited(new=SLACK_READERS), limit=25)

    assert (alike["calls"], alike["verdicts"], alike["same"]) == (calls, calls, calls)
    hit = [each for each in made if '"door":"slack"' in each.facts and '"role":"READONLY"' in each.facts]
    newly = [each for each in hit if each.decision != "deny"]
    # The replay before is a call of its own by then.
    assert (found["calls"], found["changed"]) == (calls + 1, len(newly))
    assert found["reasons_changed"] == len(hit) - len(newly)
    assert (len(found["differences"]), found["differences_left_out"]) == (25, len(hit) - 25)
    first = sorted(hit, key=lambda each: (each.occurred_at, each.event_id.bytes))[:25]
    assert [each["call_id"] for each in found["differences"]] == [str(each.call_id) for each in first]


def recorded(asked: Situation, **changes: Any) -> ActivityEvent:
    """The event of a call that the policies that ship decided."""
    verdict = verdict_on(asked)
    return event(
        **{
            "facts": asked.canonical_json(),
            "decision": decision_of(verdict),
            "reasons": verdict.reasons,
            "role": asked.role,
            "door": asked.door,
            "policy_digest": firm_policies().digest,
            "payload": None,
            **changes,
        }
    )


async def test_what_follows_a_ticket_counts_only_where_it_takes_back_what_the_ticket_allowed(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    """A call that acts outside may be forbidden when it is found out what became of it."""
    ticket = recorded(situation(effect="prepare"), kind="tool.allowed", effect="prepare", outcome=None)
    done = followed(ticket, kind="tool.completed", outcome="done", occurred_at=NOW + timedelta(seconds=1))
    taken_back = recorded(situation(effect="prepare", run_cancelled=True))
    forbidden = replace(taken_back, kind="tool.failed", opens=False, call_id=ticket.call_id, outcome="failed")
    await superuser_connection.execute("TRUNCATE activity_events CASCADE")
    await insert_events(superuser_connection, [ticket, done, forbidden])

    found = await replayed(gate, policies=edited("task_run_cancelled"))

    assert (found["calls"], found["verdicts"], found["same"]) == (1, 2, 1)
    (difference,) = found["differences"]
    assert (difference["at_execution"], difference["before"]["decision"], difference["after"]["decision"]) == (
        True,
        "deny",
        "allow",
    )


def lacking(made: ActivityEvent, *members: str) -> ActivityEvent:
    """The same as a version would have recorded it that knew nothing of these."""
    held = orjson.loads(made.facts)
    kept = {name: value for name, value in held.items() if name not in members}
    return replace(made, facts=orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode())


async def test_facts_of_before_policy_saw_something_are_decided_where_that_cannot_matter_and_else_said(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    reads, remembers = recorded(situation()), recorded(situation(tool="preference_set", effect="prepare"))
    cancelled = recorded(situation(run_cancelled=True))
    later = replace(recorded(situation()), facts=reads.facts.replace("{", '{"hat":"red",', 1))
    await superuser_connection.execute("TRUNCATE activity_events CASCADE")
    history = [
        lacking(reads, "own_statement", "client_own_task"),
        lacking(remembers, "own_statement"),
        lacking(cancelled, "run_cancelled"),
        lacking(recorded(situation()), "control"),
        later,
    ]
    await insert_events(superuser_connection, history)

    found = await replayed(gate)

    # A read is allowed whoever's words they were; a preference is not, and nobody knows any more whose they were.
    assert (found["verdicts"], found["same"], found["changed"], found["differences"]) == (5, 1, 0, [])
    assert found["not_decided"]["lacking"] == [
        {"facts": ["control"], "verdicts": 1},
        {"facts": ["own_statement"], "verdicts": 1},
        {"facts": ["run_cancelled"], "verdicts": 1},
    ]
    assert found["not_decided"]["unreadable"] == 1
    assert [each["not_decided"] for each in found["recorded_under"]] == [4]


async def test_what_nobody_looked_at_yet_is_not_guessed_where_what_is_proposed_hangs_on_it(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    commits = situation(tool="task_remind", effect="commit", level=Level.L3, door="worker")
    asked = recorded(replace(commits, level=Level.L2))
    history = [
        recorded(commits),
        asked,
        recorded(replace(commits, mode="person", door="rest", level=Level.L0)),
        recorded(situation(tool="task_list")),
    ]

    async def told(policies: dict[str, str] | None) -> tuple[int, int, list[Json]]:
        await superuser_connection.execute("TRUNCATE activity_events CASCADE")
        await insert_events(superuser_connection, [lacking(each, "taint", "widens") for each in history])
        found = await (replayed(gate) if policies is None else replayed(gate, policies=policies))
        return found["same"], found["changed"] + found["reasons_changed"], found["not_decided"]["lacking"]

    def hang(verdicts: int) -> list[Json]:
        return [{"facts": ["taint", "widens"], "verdicts": verdicts}]

    # Under what is in force, and what says the same of all that it could have been, each is as it was.
    assert await told(None) == (4, 0, [])
    elsewhere = '@id("no_tasks") forbid (principal, action == Action::"call", resource == Tool::"task_create");'
    assert await told(edited(new=elsewhere)) == (4, 0, [])
    # What is refused whatever was read is refused; a person's own hand and what only reads were never asked about.
    never = '@id("no_reminders") forbid (principal, action == Action::"call", resource == Tool::"task_remind");'
    assert await told(edited(new=never)) == (1, 3, [])
    strict = """@id("nothing_of_outsiders") forbid (principal, action == Action::"call", resource)
        when { context has taint && context.taint == Trust::"external" };"""
    assert await told(edited(new=strict)) == (2, 0, hang(2))
    # What the firm stops asking about, it might have been asked about for what had been read.
    assert await told(edited("autonomy_needs_approval_commit")) == (3, 0, hang(1))


async def test_what_was_decided_under_other_policies_is_told_apart_from_what_the_edit_changes(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    allowed = recorded(situation(effect="prepare", level=Level.L1), decision="allow", reasons=("as_it_was",))
    before = replace(allowed, policy_digest=b"before")
    now = recorded(situation(role=Role.READONLY, door="slack"))
    await superuser_connection.execute("TRUNCATE activity_events CASCADE")
    await insert_events(superuser_connection, [before, now])

    found = await replayed(gate, policies=edited(new=SLACK_READERS))

    assert (found["changed"], found["already_so"]) == (2, 1)
    under = {each["digest"]: (each["in_force"], each["verdicts"], each["changed"]) for each in found["recorded_under"]}
    assert under == {b"before".hex(): (False, 1, 1), firm_policies().digest.hex(): (True, 1, 1)}
    by_call = {UUID(each["call_id"]): each for each in found["differences"]}
    asks = {"decision": "needs_approval", "reasons": ["autonomy_needs_approval_prepare"]}
    assert (by_call[before.call_id]["after"], by_call[before.call_id]["in_force"]) == (asks, asks)
    assert "in_force" not in by_call[now.call_id]


async def test_whoever_reads_the_organizations_record_replays_it_and_nobody_else(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    for role in (Role.READONLY, Role.MANAGER, Role.SYSTEM_ADMIN, Role.EQR):
        await add_member(owner_connection, role)
        ended = await gate.call("policy_replay", {}, principal_of(who=role, mode="person", door="cli"))
        assert ended.outcome == ("denied" if role is Role.READONLY else "done"), role


async def test_the_service_account_an_employee_and_a_model_do_not_replay(gate: GateOnTest) -> None:
    for who in (principal_of(mode="person", door="cli"), principal_of(who="service", door="cli"), AGENT):
        assert (await gate.call("policy_replay", {}, who)).outcome == "denied"


async def test_another_organizations_calls_are_not_among_them(gate: GateOnTest) -> None:
    before = await replayed(gate)
    for _ in range(3):
        await gate.call("task_list", {}, principal_of(FIRM_B))
    # The replay before, and nothing else.
    assert (await replayed(gate))["calls"] == before["calls"] + 1


async def test_a_period_takes_in_its_beginning_and_not_its_end(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    await superuser_connection.execute("TRUNCATE activity_events CASCADE")
    await insert_events(superuser_connection, [recorded(situation(), occurred_at=moment(day)) for day in range(4)])
    first, second, last = (moment(day).isoformat() for day in (0, 1, 3))

    async def calls(since: str, until: str) -> object:
        return (await replayed(gate, **{"from": since, "to": until}))["calls"]

    assert await calls(first[:10], last[:10]) == 4
    assert await calls(first, last) == 3
    assert await calls(second, last[:10]) == 3


def moment(day: int) -> datetime:
    return NOW + timedelta(days=day)


UNUSABLE: list[tuple[Json, str, str]] = [
    ({"policies": {"a.cedar": "permit"}}, "policy_unusable", "has no schema.cedarschema"),
    ({"policies": edited(new="forbid (principal, action, resource);")}, "policy_unusable", "@id is None"),
    ({"policies": edited(new='@id("x") forbid (principal, action')}, "policy_unusable", "new.cedar"),
    ({"policies": {"a.txt": ""}}, "invalid_arguments", ""),
    ({"from": "2026-02-31"}, "invalid_arguments", ""),
    ({"to": "9999-12-31"}, "invalid_period", "no such day"),
    ({"limit": 10_001}, "invalid_arguments", ""),
]


async def test_what_cannot_be_replayed_is_refused_in_words(gate: GateOnTest) -> None:
    for asked, code, told in UNUSABLE:
        ended = await gate.call("policy_replay", asked, PARTNER)
        assert ended.error is not None, asked
        assert (ended.outcome, ended.error.code) == ("invalid", code), asked
        assert told in ended.error.message
