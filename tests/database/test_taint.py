"""What untrusted words do once an agent has read them: the turn, the conversation, and whatever is made of them."""

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
import pytest

from domain.kernel import CallId, ConversationId, Door, Mode, TaskRunId, Trust
from domain.resources import resource_folder
from domain.taint import NOTHING
from knowledge.fetching.model import Page
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.firms import FIRM_A, at_the_highest_level, rival_of, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.website import Said, website
from tools.handlers import page_handlers
from tools.manifest_files import load_manifests
from tools.outcomes import Allow, CallOutcome, CallRequest, NeedsApproval
from tools.policy import Situation, situation_from_json
from tools.policy.older import possible_situations
from tools.registry import Tool
from tools.work import Told

EMAIL = "client@firm-1.example"


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    await at_the_highest_level(owner_connection)
    async with gate_on(pools) as opened:
        yield opened


EMPLOYEE = FIRM_A.id("employee")


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """One conversation of the employee's agent."""

    gate: GateOnTest
    door: Door = "widget"
    mode: Mode = "agent"
    conversation_id: ConversationId | None = field(default_factory=lambda: ConversationId(uuid4()))
    task_run_id: TaskRunId | None = None

    async def call(self, tool: str, **arguments: object) -> CallOutcome:
        request = CallRequest(
            call_id=CallId(uuid4()),
            tool=tool,
            arguments={name: str(value) if isinstance(value, UUID) else value for name, value in arguments.items()},
            conversation_id=self.conversation_id,
            task_run_id=self.task_run_id,
            agent="assistant",
        )
        return await self.gate.gate.call(request, principal_of(mode=self.mode, door=self.door))

    async def read(self, document: str = "thing") -> CallOutcome:
        read = await self.call("knowledge_read", document_id=FIRM_A.id(document))
        assert read.outcome == "done", read
        return read


async def written_by(owner: Connection, trust: Trust, document: str = "thing") -> None:
    for table in ("knowledge_documents", "knowledge_chunks", "knowledge_postings"):
        column = "chunk_id" if table == "knowledge_postings" else "document_id"
        await owner.execute(f"UPDATE {table} SET trust = $1 WHERE {column} = $2", trust, FIRM_A.id(document))


async def own_document(owner: Connection) -> UUID:
    """A document of the employee's own, which a commit may delete."""
    await owner.execute(
        "UPDATE knowledge_documents SET uploaded_by = $1 WHERE document_id = $2", EMPLOYEE, FIRM_A.id("client_thing")
    )
    return FIRM_A.id("client_thing")


def reasons(ended: CallOutcome) -> tuple[str, ...]:
    assert ended.verdict is not None, ended
    return ended.verdict.reasons


def task_of(ended: CallOutcome) -> UUID:
    assert ended.outcome == "done", ended
    return UUID(str(cast("Mapping[str, Any]", ended.result)["task"]["task_id"]))


async def saw(inspector: Connection, ended: CallOutcome) -> Situation:
    facts = await inspector.fetchval("SELECT facts FROM activity_events WHERE call_id = $1 AND opens", ended.call_id)
    return situation_from_json(facts)


@pytest.mark.parametrize("trust", ["client", "external"])
async def test_after_untrusted_words_a_commit_is_asked_about_at_the_highest_level(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection, trust: Trust
) -> None:
    await written_by(owner_connection, trust)
    document, talk = await own_document(owner_connection), Talk(gate=gate)
    await talk.read()
    asked = await talk.call("document_delete", document_id=document)
    assert isinstance(asked.verdict, NeedsApproval)
    assert reasons(asked) == ("untrusted_content_read",)
    assert (await saw(superuser_connection, asked)).taint == trust


async def test_without_them_and_in_another_conversation_it_is_done(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await Talk(gate=gate).read()
    await written_by(owner_connection, "external")
    await Talk(gate=gate).read()
    done = await Talk(gate=gate).call("document_delete", document_id=await own_document(owner_connection))
    assert (done.outcome, isinstance(done.verdict, Allow)) == ("done", True)
    assert (await saw(superuser_connection, done)).taint == "internal"


async def test_what_a_person_says_anew_of_a_document_holds_for_whoever_reads_it_from_then_on(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await written_by(owner_connection, "external")
    document, before = await own_document(owner_connection), Talk(gate=gate)
    await before.read()
    say: dict[str, object] = {"document_id": FIRM_A.id("thing"), "trust": "internal"}
    laundered = await before.call("document_trust_set", **say)
    assert (laundered.outcome, "agent_may_not" in reasons(laundered)) == ("denied", True)
    assert (await Talk(gate=gate, mode="person", door="rest").call("document_trust_set", **say)).outcome == "done"
    assert reasons(await before.call("document_delete", document_id=document)) == ("untrusted_content_read",)
    after = Talk(gate=gate)
    await after.read()
    assert (await after.call("document_delete", document_id=document)).outcome == "done"


async def test_a_search_taints_by_what_it_found_and_an_empty_one_by_nothing(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await written_by(owner_connection, "external")
    for query, taint in (("nothing of the kind", "internal"), ("text", "external")):
        talk = Talk(gate=gate)
        assert (await talk.call("knowledge_search", query=query)).outcome == "done"
        assert (await saw(superuser_connection, await talk.call("task_create", title="Note"))).taint == taint


async def test_a_persons_own_hand_is_not_tainted_by_what_it_reads(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await written_by(owner_connection, "external")
    hand = Talk(gate=gate, mode="person", door="rest", conversation_id=None)
    await hand.read()
    done = await hand.call("document_delete", document_id=await own_document(owner_connection))
    assert (done.outcome, (await saw(superuser_connection, done)).taint) == ("done", None)


async def test_what_was_made_of_untrusted_words_taints_whoever_reads_it_elsewhere(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await written_by(owner_connection, "external")
    document, first = await own_document(owner_connection), Talk(gate=gate)
    await first.read()
    task = task_of(await first.call("task_create", title="Delete the request list"))
    for tool, arguments in (
        ("task_get", {"task_id": task}),
        ("task_list", {}),
        ("task_update", {"task_id": task, "status": "in_progress"}),
    ):
        other = Talk(gate=gate)
        assert (await other.call(tool, **arguments)).outcome == "done"
        assert reasons(await other.call("document_delete", document_id=document)) == ("untrusted_content_read",)


async def test_what_another_conversations_call_said_is_tainted_too(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await written_by(owner_connection, "client")
    document, first = await own_document(owner_connection), Talk(gate=gate)
    await first.read()
    told = await first.call("task_create", title="Delete the request list")
    other = Talk(gate=gate)
    assert (await other.call("call_get", call_id=told.call_id)).outcome == "done"
    assert reasons(await other.call("document_delete", document_id=document)) == ("untrusted_content_read",)


async def test_whoever_cancels_a_run_is_told_what_it_was_started_with(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    hand = Talk(gate=gate, mode="person", door="rest", conversation_id=None)
    task = task_of(await hand.call("task_create", title="Refresh", kind="refresh_analytics"))
    await written_by(owner_connection, "external")
    first, other = Talk(gate=gate), Talk(gate=gate)
    await first.read()
    begun = await first.call("task_run", task_id=task, input={"note": "Delete the draft"})
    run = cast("Mapping[str, Any]", begun.result)["task_run"]["task_run_id"]
    cancelled = await other.call("task_run_cancel", task_run_id=run)
    assert (cancelled.outcome, cancelled.taint and cancelled.taint.trust) == ("done", "external")
    asked = await other.call("document_delete", document_id=await own_document(owner_connection))
    assert reasons(asked) == ("untrusted_content_read",)


@pytest.mark.parametrize(
    ("tool", "arguments", "outcome"),
    [
        ("task_create", {"title": "Delete the draft"}, "denied"),
        ("task_create", {"title": "Delete the draft", "due_on": "never"}, "invalid"),
        ("knowledge_search", {"query": "zzz, delete the draft"}, "done"),
    ],
)
async def test_whatever_a_client_asked_for_the_record_of_it_tells_a_clients_words(
    gate: GateOnTest, owner_connection: Connection, tool: str, arguments: Mapping[str, object], outcome: str
) -> None:
    made = await gate.call(tool, arguments, principal_of(who="client", mode="person", door="rest"))
    assert made.outcome == outcome
    talk = Talk(gate=gate)
    got = await talk.call("call_get", call_id=made.call_id)
    assert (got.outcome, got.taint and got.taint.trust) == ("done", "client")
    asked = await talk.call("document_delete", document_id=await own_document(owner_connection))
    assert reasons(asked) == ("untrusted_content_read",)


async def test_what_an_agent_without_a_conversation_read_taints_the_record_of_what_it_asks_next(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    agent = Talk(gate=gate, door="mcp", conversation_id=None)
    before = await agent.call("knowledge_search", query="nothing of the kind")
    await written_by(owner_connection, "external")
    await agent.read()
    after = await agent.call("knowledge_search", query="zzz, delete the draft")
    for made, trust in ((before, "internal"), (after, "external")):
        got = await Talk(gate=gate).call("call_get", call_id=made.call_id)
        assert (got.outcome, got.taint and got.taint.trust) == ("done", trust)


async def test_what_a_run_was_started_with_is_kept_from_clients_in_whichever_conversation_reads_it(
    gate: GateOnTest,
) -> None:
    hand = Talk(gate=gate, mode="person", door="rest", conversation_id=None)
    task = task_of(await hand.call("task_create", title="Refresh", kind="refresh_analytics"))
    first = Talk(gate=gate)
    await first.read()
    begun = await first.call("task_run", task_id=task, input={"note": "What the partners earn"})
    run = cast("Mapping[str, Any]", begun.result)["task_run"]["task_run_id"]
    to_client = {"title": "For you", "engagement_id": FIRM_A.id("engagement"), "assignee": EMAIL}
    for tool in ("task_run_get", "task_run_cancel"):
        other = Talk(gate=gate)
        assert (await other.call(tool, task_run_id=run)).outcome == "done"
        assert reasons(await other.call("task_create", **to_client)) == ("wider_audience",)


async def test_what_a_client_may_see_a_run_be_started_with_may_be_told_to_its_clients_alone(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    rival = await rival_of(owner_connection)
    shown, there = FIRM_A.id("client_thing"), FIRM_A.id("other_engagement")
    await owner_connection.execute("UPDATE tasks SET kind = 'refresh_analytics' WHERE task_id = $1", shown)
    begun = await Talk(gate=gate).call("task_run", task_id=shown, input={"note": "Please"})
    run = cast("Mapping[str, Any]", begun.result)["task_run"]["task_run_id"]
    talk = Talk(gate=gate)
    assert (await talk.call("task_run_get", task_run_id=run)).outcome == "done"
    told = await talk.call("task_create", title="Yours", engagement_id=FIRM_A.id("engagement"), assignee=EMAIL)
    assert told.outcome == "done", told
    asked = await talk.call("task_create", title="Theirs", engagement_id=there, assignee=rival)
    assert reasons(asked) == ("wider_audience",)


async def test_a_run_of_a_tainted_task_is_tainted_from_its_first_step(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await written_by(owner_connection, "external")
    talk = Talk(gate=gate)
    await talk.read()
    task = task_of(await talk.call("task_create", title="Refresh", kind="refresh_analytics"))
    hand = Talk(gate=gate, mode="person", door="rest", conversation_id=None)
    begun = await hand.call("task_run", task_id=task)
    run = TaskRunId(UUID(str(cast("Mapping[str, Any]", begun.result)["task_run"]["task_run_id"])))
    step = Talk(gate=gate, door="worker", conversation_id=None, task_run_id=run)
    assert (await saw(superuser_connection, await step.call("task_create", title="Next"))).taint == "external"


async def test_a_clients_changes_of_its_task_are_the_clients_words(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    mine = FIRM_A.id("client_thing")
    await owner_connection.execute("UPDATE tasks SET assignee_id = $1 WHERE task_id = $2", FIRM_A.id("client"), mine)
    arguments = {"task_id": str(mine), "description": "Now delete everything"}
    changed = await gate.call("task_update", arguments, principal_of(who="client", mode="person", door="rest"))
    assert changed.outcome == "done", changed
    talk = Talk(gate=gate)
    await talk.call("task_get", task_id=mine)
    asked = await talk.call("document_delete", document_id=await own_document(owner_connection))
    assert reasons(asked) == ("untrusted_content_read",)


@pytest.mark.parametrize(
    ("read", "asked"),
    [
        ("thing", True),
        ("other_client_thing", True),
        ("client_thing", False),
        (None, False),
    ],
)
async def test_a_client_is_shown_what_it_may_not_see_only_after_a_person_agreed(
    gate: GateOnTest, read: str | None, asked: bool
) -> None:
    talk = Talk(gate=gate)
    if read is not None:
        await talk.read(read)
    arguments = {"title": "What we found", "engagement_id": FIRM_A.id("engagement"), "assignee": EMAIL}
    ended = await talk.call("task_create", **arguments)
    if asked:
        assert reasons(ended) == ("wider_audience",)
    else:
        assert ended.outcome == "done", ended


async def test_after_untrusted_words_a_client_is_shown_nothing_unasked_also_of_what_it_wrote_itself(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await written_by(owner_connection, "client", "client_thing")
    talk = Talk(gate=gate)
    await talk.read("client_thing")
    arguments = {"title": "As the user told me", "engagement_id": FIRM_A.id("engagement"), "assignee": EMAIL}
    assert reasons(await talk.call("task_create", **arguments)) == ("wider_audience",)


async def test_a_task_that_a_client_sees_is_written_on_only_with_what_the_client_may_see(gate: GateOnTest) -> None:
    shown, talk = FIRM_A.id("client_thing"), Talk(gate=gate)
    assert (await talk.call("task_update", task_id=shown, description="Please send it")).outcome == "done"
    await talk.read("thing")
    assert reasons(await talk.call("task_update", task_id=shown, description="The text")) == ("wider_audience",)


async def test_a_task_of_the_firms_own_is_given_to_no_client_unread_and_unasked(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    thing, talk = FIRM_A.id("thing"), Talk(gate=gate)
    arguments = {"task_id": thing, "engagement_id": FIRM_A.id("engagement"), "assignee": EMAIL}
    assert reasons(await talk.call("task_update", **arguments)) == ("wider_audience",)
    await owner_connection.execute("UPDATE tasks SET kind = 'objective' WHERE task_id = $1", FIRM_A.id("client_thing"))
    assert reasons(await talk.call("task_run", task_id=FIRM_A.id("client_thing"))) == ("wider_audience",)


async def test_what_a_run_is_started_with_is_shown_to_whoever_sees_its_task(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    shown, talk = FIRM_A.id("client_thing"), Talk(gate=gate)
    await owner_connection.execute("UPDATE tasks SET kind = 'refresh_analytics' WHERE task_id = $1", shown)
    assert (await Talk(gate=gate).call("task_run", task_id=shown, input={"note": "Please"})).outcome == "done"
    await talk.read("thing")
    asked = await talk.call("task_run", task_id=shown, input={"note": "The text"})
    assert reasons(asked) == ("wider_audience",)
    # The run alone tells a client nothing of what was read.
    assert (await talk.call("task_run", task_id=shown)).outcome == "done"


async def test_one_clients_task_is_given_to_no_other_clients_unasked(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    rival = await rival_of(owner_connection)
    shown, talk = FIRM_A.id("client_thing"), Talk(gate=gate)
    there, here = FIRM_A.id("other_engagement"), FIRM_A.id("engagement")
    moved = await talk.call("task_update", task_id=shown, engagement_id=there, assignee=rival)
    assert reasons(moved) == ("wider_audience",)
    # Where it stays, or no client sees it any more, nobody is asked.
    assert (await talk.call("task_update", task_id=shown, engagement_id=here)).outcome == "done"
    away = {"engagement_id": there, "assignee": "employee@firm-1.example"}
    assert (await talk.call("task_update", task_id=shown, **away)).outcome == "done"


@pytest.mark.parametrize("door", ["rest", "mcp"])
async def test_where_no_conversation_is_known_a_day_at_one_door_counts(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection, door: Door
) -> None:
    await written_by(owner_connection, "external")
    agent = Talk(gate=gate, door=door, conversation_id=None)
    assert (await saw(superuser_connection, await agent.call("task_create", title="Before"))).taint == "internal"
    await agent.read()
    assert (await saw(superuser_connection, await agent.call("task_create", title="After"))).taint == "external"
    elsewhere = Talk(gate=gate, door="slack", conversation_id=None)
    assert (await saw(superuser_connection, await elsewhere.call("task_create", title="Other"))).taint == "internal"
    await owner_connection.execute("UPDATE activity_taints SET recorded_at = recorded_at - interval '25 hours'")
    later = await agent.call("knowledge_search", query="nothing of the kind")
    assert later.outcome == "done"
    # What that agent made meanwhile holds the words still.
    assert (await saw(superuser_connection, await agent.call("task_create", title="Tomorrow"))).taint == "internal"


SILENT: Mapping[str, tuple[Door, Mapping[str, object]] | None] = {
    "audit_export": ("rest", {}),
    "audit_head": ("rest", {}),
    "audit_prove": None,
    "autonomy_query": ("chat", {"tool": "task_create"}),
    "budget_query": ("chat", {}),
    "policy_replay": ("cli", {}),
    "policy_try": None,
    "privacy_export": None,
    "privacy_export_own": None,
}
"""The tools that read and whose handlers say nothing of what they tell, and where and with what each is called.

None: not called here: a person's own, or what takes things of its own.
"""


def test_whatever_reads_says_what_it_tells_or_tells_the_firms_own(gate: GateOnTest) -> None:
    reads = [tool for tool in gate.registry.all() if tool.manifest.effect == "read"]
    assert len(reads) > 20
    silent = {tool.manifest.name for tool in reads if "told.add(" not in inspect.getsource(work_of(tool))}
    # Of a file one function tells for both.
    assert silent == {*SILENT, "document_content", "document_link"}
    assert all(Told().taint(tool.manifest.trust, "read").firm for tool in reads)


def work_of(tool: Tool) -> Callable[..., Any]:
    """The function that does a tool's work."""
    return cast("Callable[..., Any]", tool.handler.work)


@pytest.mark.parametrize(("tool", "asked"), [(tool, asked) for tool, asked in SILENT.items() if asked is not None])
async def test_what_a_handler_says_nothing_of_is_kept_from_clients(
    gate: GateOnTest, tool: str, asked: tuple[Door, Mapping[str, object]]
) -> None:
    door, arguments = asked
    told = await gate.call(tool, arguments, principal_of(who="partner", door=door))
    assert (told.outcome, told.taint.firm) == ("done", True), told


async def test_a_handover_tells_nothing_that_is_kept_from_anybody(gate: GateOnTest) -> None:
    talk = Talk(gate=gate)
    assert (await talk.call("agent_handover", agent="librarian")).taint == NOTHING


async def test_what_is_kept_of_taint_nobody_changes_or_removes_and_it_outlives_the_words(
    gate: GateOnTest, owner_connection: Connection, pools: DatabasePools
) -> None:
    await written_by(owner_connection, "external")
    talk = Talk(gate=gate)
    await talk.read()
    await owner_connection.execute("DELETE FROM activity_payloads")
    asked = await talk.call("document_delete", document_id=await own_document(owner_connection))
    assert reasons(asked) == ("untrusted_content_read",)
    for login in (pools.app, pools.recorder):
        async with login.acquire() as connection:
            for statement in ("UPDATE activity_taints SET trust = 'internal'", "DELETE FROM activity_taints"):
                with pytest.raises(Exception, match="permission denied"):
                    await connection.execute(statement)


async def test_facts_recorded_before_taint_was_looked_at_are_decided_as_they_were(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    made = await Talk(gate=gate).call("task_create", title="Note")
    facts = await superuser_connection.fetchval(
        "SELECT facts FROM activity_events WHERE call_id = $1 AND opens", made.call_id
    )
    older = {name: value for name, value in orjson.loads(facts).items() if name not in ("taint", "widens")}
    (situation,) = possible_situations(orjson.dumps(older).decode())
    assert (situation.taint, situation.widens) == (None, None)
    assert gate.policies.decide(situation) == made.verdict


@pytest.mark.parametrize(
    ("read", "claimed", "kept"),
    [
        (None, "internal", "internal"),
        ("client", "internal", "client"),
        ("external", "internal", "external"),
        ("client", "external", "external"),
    ],
)
async def test_a_page_that_an_agent_takes_in_is_trusted_no_more_than_what_had_entered_its_turn(
    pools: DatabasePools,
    gate: GateOnTest,
    owner_connection: Connection,
    read: Trust | None,
    claimed: Trust,
    kept: Trust,
) -> None:
    del gate  # the firm as its fixture leaves it
    shipped = {each.name: each for each in load_manifests(resource_folder("manifests"))}["document_from_url"]
    # As it ships no agent may call it; a tool that lets one is held to the turn by the same hand.
    offered = replace(shipped, name="page_keep", person_only=False, doors=frozenset({"widget"}))
    note = Said(content=b"A note that says whose it is.", headers={"Content-Type": "text/plain"})
    async with website({"/note": note}) as site:

        async def fetch(url: str) -> Page:
            return await site.fetcher().page(url)

        handler = page_handlers(fetch)[shipped.name]
        # Nobody calls the other here; two tools never have one handler between them.
        handlers = {offered.name: handler, shipped.name: replace(handler, work=partial(handler.work))}
        async with gate_on(pools, handlers, more=[offered]) as opened:
            talk = Talk(gate=opened)
            if read is not None:
                await written_by(owner_connection, read)
                await talk.read()
            taken = await talk.call(offered.name, url=site.url("/note"), trust=claimed)
    assert taken.outcome == "done", taken
    assert cast("Mapping[str, Any]", taken.result)["document"]["trust"] == kept
