"""The firm's own workflows, as they ship: what their steps do, what waits for whom, and what a client sees of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from typing import cast
from uuid import UUID

import pytest

from domain.kernel import Principal, utc_now
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.worker.task_runs import TaskRunWorker
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import Json

HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
CLIENT = principal_of(who="client", mode="person", door="rest")
ENGAGEMENT = str(FIRM_A.id("engagement"))
TODAY = utc_now().date()
COPIES = """
INSERT INTO {table}
SELECT (jsonb_populate_record(t, jsonb_build_object('{id}', gen_random_uuid(), 'title', {title} || n))).*
FROM {table} t CROSS JOIN generate_series(1, 104) n WHERE {id} = $1
"""


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools) as opened:
        yield opened


@pytest.fixture
def worker(gate: GateOnTest, pools: DatabasePools) -> TaskRunWorker:
    return TaskRunWorker(
        gate=gate.gate,
        transactions=gate.transactions,
        identities=PostgresIdentities(pools.app),
        workflows=gate.workflows,
        clock=utc_now,
    )


async def done(gate: GateOnTest, tool: str, arguments: Json, principal: Principal = HAND) -> Json:
    outcome = await gate.call(tool, arguments, principal)
    assert outcome.result is not None, outcome
    return outcome.result


async def run(gate: GateOnTest, worker: TaskRunWorker, kind: str, who: Principal = HAND, **more: object) -> Json:
    """A run of a task of this kind, as far as it comes by itself."""
    created = await done(gate, "task_create", {"title": kind, "kind": kind, **more}, who)
    await done(gate, "task_run", {"task_id": cast(Json, created["task"])["task_id"]}, who)
    job = gate.queue.jobs.pop()
    await worker.work(job)
    return await seen(gate, str(job.subject_id))


async def seen(gate: GateOnTest, task_run_id: str) -> Json:
    return cast(Json, (await done(gate, "task_run_get", {"task_run_id": task_run_id}))["task_run"])


def statuses(run: Json) -> dict[str, str]:
    return {str(step["name"]): str(step["status"]) for step in cast("list[Json]", run["steps"])}


async def owed(gate: GateOnTest, title: str, due_on: date, **more: object) -> str:
    """A task of the client's."""
    asked = {"title": title, "due_on": due_on.isoformat(), "engagement_id": ENGAGEMENT, **more}
    created = await done(gate, "task_create", {**asked, "assignee": "client@firm-1.example"}, PARTNER)
    return str(cast(Json, created["task"])["task_id"])


async def pending(owner: Connection) -> list[UUID]:
    rows = await owner.fetch("SELECT approval_id FROM approvals WHERE state = 'pending' AND task_run_id IS NOT NULL")
    return [row["approval_id"] for row in rows]


async def test_each_reminder_waits_for_a_person_above_and_then_stands_where_the_client_sees_it(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection
) -> None:
    late = await owed(gate, "Bank letters", TODAY - timedelta(days=3))
    later = await owed(gate, "Minutes", TODAY + timedelta(days=3))
    finished = await owed(gate, "Trial balance", TODAY - timedelta(days=9))
    await done(gate, "task_update", {"task_id": finished, "status": "done"})

    waiting = await run(gate, worker, "remind_pbc")
    assert (waiting["status"], statuses(waiting)) == ("waiting", {"due": "done", "remind": "waiting"})
    (approval,) = await pending(owner_connection)
    assert "reminders" not in cast(Json, (await done(gate, "task_get", {"task_id": late}, CLIENT))["task"])

    answer: Json = {"approval_id": str(approval), "decision": "approve"}
    assert (await gate.call("approval_decide", answer, HAND)).outcome != "done"
    await done(gate, "approval_decide", answer, PARTNER)
    assert await worker.work(gate.queue.jobs.pop()) is None
    assert (await seen(gate, str(waiting["task_run_id"])))["status"] == "completed"
    task = cast(Json, (await done(gate, "task_get", {"task_id": late}, CLIENT))["task"])
    (reminder,) = cast("list[Json]", task["reminders"])
    assert str(reminder["text"]).startswith("“Bank letters” was due on ")
    for other in (later, finished):
        assert "reminders" not in cast(Json, (await done(gate, "task_get", {"task_id": other}))["task"])


async def test_every_client_that_owes_is_reminded_however_long_the_list_is(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection
) -> None:
    late = await owed(gate, "Bank letters", TODAY)
    await owner_connection.execute(COPIES.format(table="tasks", id="task_id", title="title"), UUID(late))
    waiting = await run(gate, worker, "remind_pbc")
    assert (waiting["status"], cast("list[Json]", waiting["steps"])[1]["items"]) == ("waiting", 105)
    assert len(await pending(owner_connection)) == 105


async def test_where_nothing_is_due_nobody_is_reminded_or_asked(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection
) -> None:
    run_of_none = await run(gate, worker, "remind_pbc")
    assert (run_of_none["status"], statuses(run_of_none)) == ("completed", {"due": "done", "remind": "skipped"})
    assert await pending(owner_connection) == []


async def test_nobody_reminds_of_what_is_done_or_another_organizations(gate: GateOnTest) -> None:
    finished = await owed(gate, "Trial balance", TODAY)
    await done(gate, "task_update", {"task_id": finished, "status": "cancelled"})
    late = await gate.call("task_remind", {"task_id": finished, "text": "Please"}, HAND)
    assert (late.outcome, late.error and late.error.code) == ("invalid", "task_finished")
    foreign = await gate.call("task_remind", {"task_id": str(FIRM_B.id("thing")), "text": "Please"}, HAND)
    assert (foreign.outcome, foreign.error and foreign.error.code) == ("invalid", "task_not_found")


async def test_a_close_drafts_its_checklist_and_leaves_the_lock_where_nothing_was_signed(
    gate: GateOnTest, worker: TaskRunWorker
) -> None:
    await owed(gate, "Minutes of the board", TODAY)
    closed = await run(gate, worker, "close_cycle", engagement_id=ENGAGEMENT)
    assert closed["status"] == "completed", closed
    assert statuses(closed) == {
        "control": "done",
        "open": "done",
        "figures": "done",
        "checklist": "done",
        "lock": "skipped",
    }
    listed = await done(gate, "task_list", {"engagement_id": ENGAGEMENT, "limit": 1})
    (checklist,) = cast("list[Json]", listed["items"])
    assert str(checklist["title"]).startswith("Close of the period")
    assert "Minutes of the board" in str(checklist["description"])


async def test_the_lock_of_a_period_waits_for_another_partner(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection
) -> None:
    given = {"subject": "Trial balance", "version": "3"}
    await owner_connection.execute("DELETE FROM release_controls WHERE name = 'period_lock'")
    waiting = await run(gate, worker, "close_cycle", PARTNER, engagement_id=ENGAGEMENT, input=given)
    assert (waiting["status"], statuses(waiting)["lock"]) == ("waiting", "waiting")
    (approval,) = await pending(owner_connection)
    own = await gate.call("approval_decide", {"approval_id": str(approval), "decision": "approve"}, PARTNER)
    assert own.outcome == "denied"

    refused = await run(gate, worker, "close_cycle", HAND, engagement_id=ENGAGEMENT, input=given)
    assert (refused["status"], refused["failure"]) == ("failed", "lock did not succeed: denied.")


async def test_the_figures_of_an_engagements_documents_are_kept_with_their_places(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection
) -> None:
    text = "Overall materiality: EUR 412,000\nPerformance materiality is 75 % of it.\n"
    await owner_connection.execute(
        "UPDATE knowledge_documents SET text = $2 WHERE document_id = $1", FIRM_A.id("client_thing"), text
    )
    extracted = await run(gate, worker, "extract_documents", engagement_id=ENGAGEMENT)
    assert extracted["status"] == "completed", extracted
    listed = await done(gate, "figure_list", {"engagement_id": ENGAGEMENT, "words": "overall"}, CLIENT)
    (figure,) = cast("list[Json]", listed["items"])
    assert (figure["label"], figure["amount"], figure["unit"]) == ("Overall materiality", "412000", "EUR")
    assert text[cast(int, figure["start"]) : cast(int, figure["end"])] == "EUR 412,000"
    again = await run(gate, worker, "extract_documents", engagement_id=ENGAGEMENT)
    assert again["status"] == "completed"
    assert len(cast("list[Json]", (await done(gate, "figure_list", {"engagement_id": ENGAGEMENT}))["items"])) == 2
    stranger = principal_of(FIRM_B, mode="person", door="rest")
    foreign = await done(gate, "figure_list", {"document_id": str(FIRM_A.id("client_thing"))}, stranger)
    assert foreign == {"items": []}


async def test_the_figures_of_more_documents_than_a_page_are_extracted_and_a_list_too_long_to_tell_is_cut(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection
) -> None:
    copies = COPIES.format(table="knowledge_documents", id="document_id", title="repeat('long ', 24)")
    await owner_connection.execute(copies, FIRM_A.id("client_thing"))
    extracted = await run(gate, worker, "extract_documents", engagement_id=ENGAGEMENT)
    assert (extracted["status"], cast("list[Json]", extracted["steps"])[1]["items_done"]) == ("completed", 105)
    (follow_up,) = cast("list[Json]", (await done(gate, "task_list", {"limit": 1}))["items"])
    assert str(follow_up["title"]).startswith("Read the figures of 105 documents")
    assert len(str(follow_up["description"])) == 10_000
    assert str(follow_up["description"]).endswith("…")


async def test_a_close_of_no_engagement_says_what_is_missing(gate: GateOnTest, worker: TaskRunWorker) -> None:
    failed = await run(gate, worker, "close_cycle")
    assert failed["status"] == "failed"
    assert "there is no run.engagement_id" in str(failed["failure"])


async def test_below_the_workflows_level_the_agent_asks_before_it_begins(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await owner_connection.execute(
        "UPDATE memberships SET autonomy_floor = 0, autonomy_ceiling = 1 WHERE organization_id = $1 AND user_id = $2",
        FIRM_A.organization_id,
        FIRM_A.id("employee"),
    )
    created = await done(gate, "task_create", {"title": "Remind", "kind": "remind_pbc"})
    asked = {"task_id": cast(Json, created["task"])["task_id"]}
    agent = replace(HAND, mode="agent", door="chat")
    assert (await gate.call("task_run", asked, agent)).outcome == "waiting"
