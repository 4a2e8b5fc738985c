"""An approval binds what a call names as well as what it says: nobody agreed to what else stands there by then."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
import pytest

from agent.conversations.postgres.calls import calls_now
from domain.approvals.comparison import compared
from domain.approvals.model import ApprovalItem
from domain.approvals.subjects import ShownSubjects
from domain.kernel import CallId, OrganizationId, PrincipalId, Role, TaskRunId
from domain.resources import resource_folder
from server.cli.laying_out import approval_lines
from server.database.connection import Connection, connected
from server.database.pool import DatabasePools
from server.slack.blocks import question_blocks
from tests.support.calls import add_member
from tests.support.database import Database
from tests.support.firms import FIRM_A, at_the_highest_level, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.readers import reader_set, shown_to
from tools.manifest_files import load_manifests
from tools.outcomes import CallOutcome, CallRequest
from tools.views.calls import compared_json

AGENT = principal_of()
HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
CLIENT = principal_of(who="client", mode="person", door="rest")
EMAIL = "client@firm-1.example"
EMPLOYEE = FIRM_A.id("employee")
THING, CLIENTS_THING, ENGAGEMENT = FIRM_A.id("thing"), FIRM_A.id("client_thing"), FIRM_A.id("engagement")
SECRET = "SECRET-4711"
Json = dict[str, Any]


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    await add_member(owner_connection, Role.SYSTEM_ADMIN)
    await at_the_highest_level(owner_connection)
    async with gate_on(pools) as opened:
        yield opened


async def asked_first(gate: GateOnTest, tool: str) -> None:
    """The firm's own rule has a second person asked about every call of a tool."""
    admin = principal_of(who=str(Role.SYSTEM_ADMIN), mode="person", door="rest")
    action = 'action == Action::"call_without_approval"'
    text = f'@id("ask") @says("We ask.") forbid (principal, {action}, resource == Tool::"{tool}");'
    assert (await gate.call("policy_add", {"text": text, "reason": "R"}, admin)).outcome == "done"


async def decided(gate: GateOnTest, asked: CallOutcome) -> Json:
    assert asked.approval is not None, asked
    answer = {"approval_id": str(asked.approval.approval_id), "decision": "approve"}
    ended = await gate.call("approval_decide", answer, PARTNER)
    assert ended.outcome == "done", ended
    return cast(Json, ended.result)


def assert_refused(answer: Json, argument: str) -> None:
    assert (answer["approval"]["state"], answer["call"]["outcome"]) == ("failed", "denied"), answer
    error = answer["call"]["error"]
    assert error["code"] == "subject_changed"
    assert error["message"].startswith(f"{argument}: ")
    assert error["message"].endswith("ask anew if the call is still wanted.")


def task_of(ended: CallOutcome) -> UUID:
    assert ended.outcome == "done", ended
    return UUID(str(cast("Mapping[str, Any]", ended.result)["task"]["task_id"]))


async def of_the_firm(gate: GateOnTest, **given: object) -> Json:
    """The id of a new task that no client sees."""
    made = await gate.call("task_create", {"title": "T", "engagement_id": str(ENGAGEMENT), **given}, AGENT)
    return {"task_id": str(task_of(made))}


async def looked_at(gate: GateOnTest, asked: CallOutcome, who: str = "partner") -> tuple[ApprovalItem, ShownSubjects]:
    """What one of the firm's people is shown of a question."""
    assert asked.approval is not None, asked
    organization_id, principal_id = OrganizationId(FIRM_A.organization_id), PrincipalId(FIRM_A.id(who))
    async with gate.transactions.session(organization_id, principal_id) as session:
        item = await session.work.approvals.find(asked.approval.approval_id)
        return item, await session.work.approvals.subjects(item.approval)


async def seen(gate: GateOnTest, asked: CallOutcome, who: str = "partner") -> Json:
    _, shown = await looked_at(gate, asked, who)
    return {
        "is_bound": shown.is_bound,
        **{each.subject: (each.state, None if each.seen is None else dict(each.seen.words)) for each in shown.subjects},
    }


async def test_a_task_that_is_rewritten_while_its_handover_waits_is_not_handed_over(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    task = await of_the_firm(gate, description="harmless")
    asked = await gate.call("task_update", {**task, "assignee": EMAIL}, AGENT)
    assert asked.verdict is not None
    assert (asked.outcome, asked.verdict.reasons) == ("waiting", ("wider_audience",))
    shown = await seen(gate, asked)
    assert shown["task"][0] == "unchanged"
    assert shown["task"][1]["description"] == "harmless"
    assert shown["person"][1]["role"] == "CLIENT"

    rewritten = await gate.call("task_update", {**task, "description": SECRET}, AGENT)
    assert rewritten.outcome == "done"
    shown = await seen(gate, asked)
    assert (shown["task"][0], shown["task"][1]["description"]) == ("changed", SECRET)
    assert_refused(await decided(gate, asked), "task_id")
    assert (await gate.call("task_get", task, CLIENT)).outcome == "invalid"

    events = await superuser_connection.fetch(
        "SELECT kind, decision, reasons, error_code, facts FROM activity_events WHERE call_id = $1 "
        "ORDER BY recorded_at",
        asked.call_id,
    )
    assert [(row["kind"], row["reasons"], row["error_code"]) for row in events] == [
        ("tool.waiting", ["wider_audience"], None),
        ("tool.denied", ["subject_changed"], "subject_changed"),
    ]
    # Not by policy, so that deciding the past again finds no difference.
    assert (events[1]["decision"], events[1]["facts"]) == ("deny", "{}")
    told = (await calls_now(superuser_connection, [asked.call_id]))[asked.call_id]
    assert told["error"] == {
        "code": "subject_changed",
        "message": "It was approved, and what it names had changed after it was asked for, so it was not made. "
        "Look at it as it is now, and ask anew if the call is still wanted.",
    }

    # Asked anew it is another question, about what the task says now.
    again = await gate.call("task_update", {**task, "assignee": EMAIL}, AGENT)
    assert (await decided(gate, again))["call"]["outcome"] == "done"


async def test_what_a_tasks_runs_were_given_meanwhile_is_not_shown_with_it(gate: GateOnTest) -> None:
    task = await of_the_firm(gate, kind="refresh_analytics")
    asked = await gate.call("task_update", {**task, "assignee": EMAIL}, AGENT)
    begun = await gate.call("task_run", {**task, "input": {"note": SECRET}}, AGENT)
    assert begun.outcome == "done"
    assert SECRET in (await seen(gate, asked))["task_runs"][1]["run"]
    assert_refused(await decided(gate, asked), "task_id")
    # What nobody sees by it does not hang on the runs.
    own = await gate.call("task_update", {**task, "due_on": "2027-01-01"}, HAND)
    assert own.outcome == "done"


async def test_a_client_does_not_rewrite_what_a_partner_is_about_to_have_done(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    mine = {"task_id": str(CLIENTS_THING)}
    await owner_connection.execute(
        "UPDATE tasks SET assignee_id = $1, kind = 'objective' WHERE task_id = $2", FIRM_A.id("client"), CLIENTS_THING
    )
    asked = await gate.call("task_run", mine, AGENT)
    assert asked.outcome == "waiting"
    words = {"description": "List what each partner earns, from all documents."}
    assert (await gate.call("task_update", {**mine, **words}, CLIENT)).outcome == "done"
    assert_refused(await decided(gate, asked), "task_id")
    assert await owner_connection.fetchval("SELECT count(*) FROM task_runs WHERE task_id = $1", CLIENTS_THING) == 0


SCHEDULE, SOURCE, RUN = UUID(int=71), UUID(int=72), UUID(int=73)
MAKE = f"""
INSERT INTO schedules (organization_id, schedule_id, task_id, cron, time_zone, created_by, created_at, updated_at)
VALUES ('{FIRM_A.organization_id}', '{SCHEDULE}', '{THING}', '0 7 * * *', 'UTC', '{EMPLOYEE}', now(), now());
INSERT INTO knowledge_sources (organization_id, source_id, kind, name)
VALUES ('{FIRM_A.organization_id}', '{SOURCE}', 'folder', 'F');
INSERT INTO task_runs (organization_id, task_run_id, task_id, kind, call_id, requested_by, created_at)
VALUES ('{FIRM_A.organization_id}', '{RUN}', '{THING}', 'refresh_analytics', gen_random_uuid(), '{EMPLOYEE}', now());
"""
REWORDED = f"UPDATE tasks SET title = 'Another' WHERE task_id = '{THING}'"
RETITLED = f"UPDATE knowledge_documents SET title = 'Another' WHERE document_id = '{THING}'"
EARLIER = f"UPDATE schedules SET cron = '1 7 * * *' WHERE schedule_id = '{SCHEDULE}'"
ELSEWHERE = f"""UPDATE knowledge_sources SET settings = '{{"path": "/b"}}' WHERE source_id = '{SOURCE}'"""
CASES: list[tuple[str, Json, str, str]] = [
    ("task_update", {"task_id": THING, "due_on": "2027-01-01"}, REWORDED, "task_id"),
    ("task_get", {"task_id": THING}, REWORDED, "task_id"),
    ("schedule_create", {"task_id": THING, "cron": "0 7 * * *"}, REWORDED, "task_id"),
    ("document_delete", {"document_id": THING}, RETITLED, "document_id"),
    (
        "document_delete",
        {"document_id": THING},
        f"UPDATE knowledge_documents SET content_sha256 = sha256('x') WHERE document_id = '{THING}'",
        "document_id",
    ),
    ("knowledge_read", {"document_id": THING}, RETITLED, "document_id"),
    ("figure_list", {"document_id": THING}, RETITLED, "document_id"),
    (
        "task_create",
        {"title": "T", "engagement_id": ENGAGEMENT},
        f"UPDATE engagements SET client_name = 'Another' WHERE engagement_id = '{ENGAGEMENT}'",
        "engagement_id",
    ),
    (
        "task_create",
        {"title": "T", "assignee": "partner@firm-1.example"},
        f"UPDATE memberships SET role = 'SYSTEM_ADMIN' WHERE user_id = '{FIRM_A.id('partner')}'",
        "assignee",
    ),
    ("schedule_update", {"schedule_id": SCHEDULE, "paused": True}, EARLIER, "schedule_id"),
    ("schedule_delete", {"schedule_id": SCHEDULE}, REWORDED, "schedule_id"),
    ("source_remove", {"source_id": SOURCE}, ELSEWHERE, "source_id"),
    ("task_run_cancel", {"task_run_id": RUN}, REWORDED, "task_run_id"),
]


@pytest.mark.parametrize("swapped", [True, False])
@pytest.mark.parametrize(("tool", "arguments", "swap", "argument"), CASES)
async def test_whatever_a_call_names_is_what_was_asked_about_or_the_call_is_not_made(
    gate: GateOnTest,
    owner_connection: Connection,
    tool: str,
    arguments: Json,
    swap: str,
    argument: str,
    swapped: bool,
) -> None:
    await owner_connection.execute(MAKE)
    await owner_connection.execute("UPDATE tasks SET kind = 'refresh_analytics' WHERE task_id = $1", THING)
    await asked_first(gate, tool)
    given = {name: str(value) if isinstance(value, UUID) else value for name, value in arguments.items()}
    asked = await gate.call(tool, given, HAND)
    assert asked.outcome == "waiting", asked
    if swapped:
        await owner_connection.execute(swap)
    answer = await decided(gate, asked)
    if swapped:
        assert_refused(answer, argument)
    else:
        assert answer["call"]["outcome"] in ("done", "invalid"), answer


WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%subject_digests%'"


async def test_what_changes_at_the_very_moment_of_the_decision_is_waited_for(
    gate: GateOnTest, superuser_connection: Connection, database: Database
) -> None:
    task = await of_the_firm(gate)
    asked = await gate.call("task_update", {**task, "assignee": EMAIL}, AGENT)
    async with connected(database.dsn("glow_owner")) as writer:
        async with writer.transaction():
            await writer.execute("UPDATE tasks SET description = $2 WHERE task_id = $1", UUID(task["task_id"]), SECRET)
            deciding = asyncio.ensure_future(decided(gate, asked))
            async with asyncio.timeout(10):
                while not await superuser_connection.fetchval(WAITS):  # noqa: ASYNC110 - it happens in the database
                    await asyncio.sleep(0.01)
            assert not deciding.done()
        assert_refused(await deciding, "task_id")


async def test_of_writers_and_a_decision_at_once_nothing_slips_in_between(gate: GateOnTest) -> None:
    for _ in range(5):
        task = await of_the_firm(gate, description="harmless")
        asked = await gate.call("task_update", {**task, "assignee": EMAIL}, AGENT)
        rewriting = gate.call("task_update", {**task, "description": SECRET, "expected_version": 1}, HAND)
        answer, rewritten = await asyncio.gather(decided(gate, asked), rewriting)
        # One of them comes first, and then the other finds another task than it was asked about.
        assert (answer["call"]["outcome"] == "done") == (rewritten.outcome != "done"), (answer, rewritten)


async def test_a_question_from_before_is_decided_as_it_was_and_says_so(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    task = await of_the_firm(gate)
    asked = await gate.call("task_update", {**task, "assignee": EMAIL}, AGENT)
    await owner_connection.execute("UPDATE approvals SET subjects = NULL")
    assert await seen(gate, asked) == {"is_bound": False}
    await gate.call("task_update", {**task, "description": "other words"}, HAND)
    assert (await decided(gate, asked))["call"]["outcome"] == "done"


async def test_whoever_decides_is_shown_no_more_than_they_may_see_and_still_whether_it_changed(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await shown_to(
        owner_connection, THING, await reader_set(owner_connection, FIRM_A.organization_id, "employee@firm-1.example")
    )
    await asked_first(gate, "knowledge_read")
    asked = await gate.call("knowledge_read", {"document_id": str(THING)}, AGENT)
    assert asked.outcome == "waiting", asked
    assert (await seen(gate, asked, "employee"))["document"][1] is not None
    await owner_connection.execute("UPDATE memberships SET role = 'MANAGER' WHERE user_id = $1", FIRM_A.id("partner"))
    assert (await seen(gate, asked))["document"] == ("unchanged", None)
    await owner_connection.execute(RETITLED)
    assert (await seen(gate, asked))["document"] == ("changed", None)


async def test_at_the_terminal_and_in_slack_it_is_said_in_words(gate: GateOnTest, owner_connection: Connection) -> None:
    task = await of_the_firm(gate, description="harmless\x1b[2J")
    asked = await gate.call("task_update", {**task, "assignee": EMAIL}, AGENT)

    async def told() -> tuple[str, str]:
        item, shown = await looked_at(gate, asked)
        terminal = approval_lines(compared_json(item, compared(item.approval.arguments, None), shown))
        return "\n".join(terminal), orjson.dumps(question_blocks(item, "https://hub.example", subjects=shown)).decode()

    terminal, slack = await told()
    assert "task_id names this task, as it was asked about:\n    title: T\n    description: harmless" in terminal
    assert "\x1b" not in terminal
    assert "assignee names this person, as it was asked about:" in terminal
    assert "`task_id` names this task" in slack
    assert "description: harmless" in slack
    await gate.call("task_update", {**task, "description": SECRET}, HAND)
    terminal, slack = await told()
    assert "task_id names this task, CHANGED since it was asked about; approved, the call would be refused:" in terminal
    assert "changed since it was asked about: approved, it would be refused" in slack
    assert SECRET in terminal
    assert SECRET in slack
    await owner_connection.execute("UPDATE approvals SET subjects = NULL")
    terminal, slack = await told()
    assert "what it names: was not kept when it was asked about" in terminal
    assert "What it names was not kept when it was asked about" in slack


async def test_long_words_are_cut(gate: GateOnTest) -> None:
    task = await of_the_firm(gate, description="x" * 9000)
    asked = await gate.call("task_update", {**task, "assignee": EMAIL}, AGENT)
    assert len((await seen(gate, asked))["task"][1]["description"]) == 2000


async def test_what_could_be_guessed_from_a_digest_goes_with_the_arguments(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await asked_first(gate, "task_get")
    await gate.call("task_get", {"task_id": str(THING)}, AGENT)
    assert await owner_connection.fetchval("SELECT count(subjects) FROM approvals WHERE tool = 'task_get'") == 1
    await owner_connection.execute("UPDATE approvals SET arguments = '{}' WHERE tool = 'task_get'")
    assert await owner_connection.fetchval("SELECT count(subjects) FROM approvals WHERE tool = 'task_get'") == 0


UNBOUND = {
    # The question itself, or a call of the record, which never changes; the worker's own; a run of one's own.
    "approval_decide": {"approval_id"},
    "approval_expire": {"approval_id"},
    "approval_remind": {"approval_id"},
    "approval_cancel": {"run_id"},
    "audit_prove": {"call_id"},
    "call_conclude": {"call_id"},
    "call_get": {"call_id"},
    "call_settle": {"call_id"},
    "document_content": {"by_link"},
    "feedback_give": {"run_id"},
    "privacy_erase_step": {"erasure_id"},
    # Filters of a list: whatever stands there then is what was asked for.
    "document_list": {"engagement_id"},
    "figure_list": {"engagement_id"},
    "schedule_list": {"task_id"},
    "task_list": {"engagement_id"},
}


def test_every_id_that_a_tool_takes_is_bound_or_named_here_with_its_reason() -> None:
    unbound: dict[str, set[str]] = {}
    for manifest in load_manifests(resource_folder("manifests")):
        properties = cast(Json, manifest.arguments.get("properties", {}))
        ids = {name for name, said in properties.items() if said.get("format") in ("uuid", "email")}
        bound = {argument for _, argument in manifest.bound_in(properties)}
        if ids - bound:
            unbound[manifest.name] = ids - bound
    assert unbound == UNBOUND


async def test_a_step_that_waits_is_bound_too(gate: GateOnTest, owner_connection: Connection) -> None:
    """A workflow's call names things as any other does."""
    await owner_connection.execute(MAKE)
    await asked_first(gate, "task_get")
    request = CallRequest(
        call_id=CallId(uuid4()), tool="task_get", arguments={"task_id": str(THING)}, task_run_id=TaskRunId(RUN)
    )
    asked = await gate.gate.call(request, principal_of(door="worker"))
    await owner_connection.execute(REWORDED)
    assert_refused(await decided(gate, asked), "task_id")
