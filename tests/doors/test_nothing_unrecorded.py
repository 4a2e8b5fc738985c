"""A server process killed at any step of a call leaves no effect without its event and no event without its effect."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from uuid import UUID

import httpx
import orjson
import pytest

from server.database.connection import Connection
from server.hub import HubOptions
from server.settings import Settings
from tests.support.database import Database
from tests.support.faulty_server import (
    ROOT,
    SPEAKING,
    FaultyServer,
    Nursery,
    call_of,
    killed_asking,
    killed_at,
    nursery,
    posted,
)
from tests.support.firms import FIRM_A, seed_firms
from tests.support.parted import PARTED, PLANTED, assert_nothing_parted, calls_of
from tools.gate import no_fault

pytestmark = pytest.mark.timeout(120)

Json = dict[str, Any]
TASK: Json = {"title": "Ask for the bank letter"}

READ = ("parsed", "facts", "verdict", "work", "committed", "recorded")
WRITE = ("parsed", "facts", "verdict", "ticket", "work", "outcome", "committed")
WAIT = ("parsed", "facts", "verdict", "waiting", "committed")
APPROVE = ("parsed", "prepared", "facts", "verdict", "ticket", "approved.ticket", "work", "approved.outcome", "outcome")
REJECT = ("parsed", "prepared", "facts", "verdict", "ticket", "work", "outcome", "committed")


# The checks themselves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", PARTED)
async def test_each_way_for_effect_and_event_to_part_is_noticed(
    owner_connection: Connection, superuser_connection: Connection, fault: str
) -> None:
    await seed_firms(owner_connection)
    await superuser_connection.execute("SET session_replication_role = replica")
    assert not await superuser_connection.fetch(PARTED[fault])
    for statement in PLANTED[fault]:
        await superuser_connection.execute(statement)
    assert await superuser_connection.fetch(PARTED[fault])


def test_no_setting_and_no_command_arms_the_fault_hook() -> None:
    assert HubOptions().fault is no_fault
    assert not [name for name in Settings.model_fields if "fault" in name]
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "server").rglob("*.py")}
    assert [name for name, source in sources.items() if re.search(r"\bfault=", source)] == ["hub.py"]
    # The demo says where heads go, and what opens a hub where files lie, and no more.
    made = {name: re.findall(r"\bHubOptions\((.*?)=", source) for name, source in sources.items()}
    places = {"demo.py": ["heads"], "opening.py": ["storage"], "evaluating.py": ["storage"]}
    assert {name: said for name, said in made.items() if said} == places


# The servers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def servers(database: Database, owner_connection: Connection) -> AsyncIterator[Nursery]:
    await seed_firms(owner_connection)
    # The seeded runs are nobody's business here: no worker is to take them up.
    await owner_connection.execute("UPDATE task_run_progress SET status = 'completed', finished_at = now()")
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")
    async with nursery(database) as running:
        yield running


@asynccontextmanager
async def restarted(servers: Nursery, *, works: bool = False) -> AsyncGenerator[FaultyServer]:
    """A server that nothing kills before the block ends; `works`: it goes on with runs that others left."""
    async with servers.server(works=works) as server:
        yield server


async def at_level(owner: Connection, level: int) -> None:
    """From now on the organization's level."""
    await owner.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at) "
        "VALUES ($1, gen_random_uuid(), 'organization', $2, $3, clock_timestamp())",
        FIRM_A.organization_id,
        level,
        FIRM_A.id("partner"),
    )


# Calls by hand --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A call to be killed, at which steps, and from which of them on it stands in the record."""

    tool: str
    arguments: Json
    steps: Sequence[str]
    stands_from: str


CALLS: dict[str, Made] = {
    "a read": Made(tool="task_list", arguments={}, steps=READ, stands_from="recorded"),
    "a writing call": Made(tool="task_create", arguments=TASK, steps=WRITE, stands_from="committed"),
    "a call that leaves a job": Made(
        tool="task_run",
        arguments={"task_id": str(FIRM_A.id("workflow task"))},
        steps=("ticket", "work", "outcome", "committed", "enqueued"),
        stands_from="committed",
    ),
    "an unreadable document": Made(
        tool="document_upload",
        arguments={"title": "Notes", "content_sha256": "0" * 64, "size_bytes": 1},
        steps=("parsed", "undone"),
        stands_from="undone",
    ),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_is_killed_stands_whole_or_not_at_all(
    servers: Nursery, owner_connection: Connection, superuser_connection: Connection, name: str
) -> None:
    made = CALLS[name]
    await owner_connection.execute(
        "INSERT INTO tasks (organization_id, task_id, title, kind, status, created_by, created_at, updated_at) "
        "VALUES ($1, $2, 'Refresh', 'refresh_analytics', 'open', $3, now(), now())",
        FIRM_A.organization_id,
        FIRM_A.id("workflow task"),
        FIRM_A.id("employee"),
    )
    standing = 0
    for step in made.steps:
        await killed_at(servers, step, call_of(made.tool), {"arguments": made.arguments})
        standing += made.steps.index(step) >= made.steps.index(made.stands_from)
        assert await calls_of(superuser_connection, made.tool) == standing, f"{name} at {step}"
        await assert_nothing_parted(superuser_connection, f"{name} at {step}")
    async with restarted(servers) as server:
        answer = await posted(server, call_of(made.tool), {"arguments": made.arguments})
    assert answer.status_code in (200, 422), answer.text
    assert await calls_of(superuser_connection, made.tool) == standing + 1
    await assert_nothing_parted(superuser_connection, f"{name} made again")


async def test_a_keyed_call_that_is_killed_is_done_once_in_the_end(
    servers: Nursery, superuser_connection: Connection
) -> None:
    for step in (*WRITE[1:], "kept"):
        key = {"Idempotency-Key": f"killed at {step}"}
        task: Json = {"title": f"Killed at {step}"}
        await killed_asking(servers, step, partial(tasked, task=task, key=key))
        stands = int(step == "committed")
        assert await made_of(superuser_connection, task) == (stands, stands), step
        async with restarted(servers) as server, server.client() as client:
            answers = [await tasked(client, task=task, key=key) for _ in range(2)]
            other = await tasked(client, task=TASK, key=key)
        assert [answer.status_code for answer in answers] == [201, 201], step
        assert answers[0].content == answers[1].content
        assert (answers[0].headers.get("idempotency-replayed") == "true") is bool(stands), step
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
        assert await made_of(superuser_connection, task) == (1, 1), step
        await assert_nothing_parted(superuser_connection, f"a keyed call at {step}")


async def tasked(client: httpx.AsyncClient, *, task: Json, key: Json) -> httpx.Response:
    """A task that is asked for under a key."""
    return await client.post("/v1/tasks", json=task, headers=key)


async def made_of(inspector: Connection, task: Json) -> tuple[int, int]:
    """How many tasks there are of this title, and how many keys stand for one."""
    tasks = await inspector.fetchval("SELECT count(*) FROM tasks WHERE title = $1", task["title"])
    keys = await inspector.fetchval(
        "SELECT count(*) FROM idempotency_keys WHERE answer::jsonb #>> '{result,task,title}' = $1", task["title"]
    )
    return tasks, keys


async def test_a_message_under_a_key_whose_process_was_killed_is_answered_with_the_run_it_began(
    servers: Nursery, superuser_connection: Connection
) -> None:
    message, key = {"message": message_of(("task_create", TASK))}, {"Idempotency-Key": "asked once"}
    await killed_asking(servers, "committed", lambda client: client.post("/v1/chat", json=message, headers=key))
    run = await superuser_connection.fetchrow("SELECT run_id FROM runs WHERE status = 'running'")
    assert run is not None
    async with restarted(servers, works=True) as server, server.client() as client:
        await last_event(client, run["run_id"])
        again = await client.post("/v1/chat", json=message, headers=key)
    assert again.status_code == 200, again.text
    assert (again.json()["run_id"], again.json()["status"]) == (str(run["run_id"]), "completed")
    assert await superuser_connection.fetchval("SELECT count(*) FROM tasks WHERE title = $1", TASK["title"]) == 1


async def test_a_call_that_waits_leaves_its_question_or_nothing(
    servers: Nursery, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await at_level(owner_connection, 1)
    for step in WAIT:
        # Only an agent's call waits, and a message is how an agent comes to act.
        await killed_at(servers, step, "/v1/chat", {"message": message_of(("task_create", TASK))})
        assert await calls_of(superuser_connection, "task_create") == int(step == "committed"), step
        await assert_nothing_parted(superuser_connection, step)
    approval_id = await waiting_of(superuser_connection)
    async with restarted(servers) as server:
        answer = await posted(server, f"/v1/approvals/{approval_id}/decision", {"decision": "approve"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["call"]["outcome"] == "done"
    await assert_nothing_parted(superuser_connection, "approved in the end")


async def waiting_of(inspector: Connection) -> UUID:
    """The one question that waits."""
    rows = await inspector.fetch("SELECT approval_id FROM approvals WHERE state = 'pending' AND approval_id <> call_id")
    (row,) = rows
    return cast(UUID, row["approval_id"])


@pytest.mark.parametrize(
    ("decision", "steps"), [("approve", (*APPROVE, "committed")), ("reject", REJECT)], ids=["approve", "reject"]
)
async def test_a_decision_that_is_killed_is_made_with_its_call_or_not_at_all(
    servers: Nursery,
    owner_connection: Connection,
    superuser_connection: Connection,
    decision: str,
    steps: Sequence[str],
) -> None:
    await at_level(owner_connection, 1)
    async with restarted(servers) as server:
        await posted(server, "/v1/chat", {"message": message_of(("task_create", TASK))})
    path = f"/v1/approvals/{await waiting_of(superuser_connection)}/decision"
    for step in steps:
        await killed_at(servers, step, path, {"decision": decision})
        standing = int(step == "committed")
        assert await calls_of(superuser_connection, "approval_decide") == standing, step
        await assert_nothing_parted(superuser_connection, f"{decision} at {step}")
    async with restarted(servers) as server:
        answer = await posted(server, path, {"decision": decision})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_decided")
    made = await superuser_connection.fetchval("SELECT count(*) FROM tasks WHERE title = $1", TASK["title"])
    assert made == int(decision == "approve")
    await assert_nothing_parted(superuser_connection, f"{decision}d again")


async def test_an_approval_that_was_killed_before_its_commit_can_still_be_given(
    servers: Nursery, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await at_level(owner_connection, 1)
    async with restarted(servers) as server:
        await posted(server, "/v1/chat", {"message": message_of(("task_create", TASK))})
    path = f"/v1/approvals/{await waiting_of(superuser_connection)}/decision"
    # The second time of `work`: the approved call's own came first.
    await killed_at(servers, "work", path, {"decision": "approve"}, nth=2)
    async with restarted(servers) as server:
        answer = await posted(server, path, {"decision": "approve"})
    assert (answer.status_code, answer.json()["state"]) == (200, "executed")
    await assert_nothing_parted(superuser_connection, "approved again")


# Conversations --------------------------------------------------------------------------------------------------------


def message_of(*calls: tuple[str, Json]) -> str:
    """A message that the scripted model answers with these calls."""
    return orjson.dumps(calls).decode()


TURNS = (
    *((step, 1, "task_create") for step in ("parsed", "ticket", "work", "outcome", "committed")),
    ("recorded", 1, "task_list"),
    (SPEAKING, 1, "task_create"),
    (SPEAKING, 5, "task_create"),
)
"""Where a turn is killed: its step, at which time, and the tool it calls.

The model's first event is its call; its fifth stands in the midst of its last words.
"""


async def test_a_turn_and_its_conversation_go_on_after_the_process_that_answered_was_killed(
    servers: Nursery, superuser_connection: Connection
) -> None:
    for step, nth, tool in TURNS:
        message = {"message": message_of((tool, TASK if tool == "task_create" else {}))}
        await killed_at(servers, step, "/v1/chat", message, nth)
        await assert_nothing_parted(superuser_connection, f"a turn at {step}")
        run = await superuser_connection.fetchrow("SELECT run_id, conversation_id FROM runs WHERE status = 'running'")
        assert run is not None, step
        async with restarted(servers, works=True) as server, server.client() as client:
            ended = await last_event(client, run["run_id"])
            assert ended["type"] == "run.completed", (step, ended)
            going_on = {"message": "Are you there?", "conversation_id": str(run["conversation_id"])}
            answer = (await client.post("/v1/chat", json=going_on)).json()
        assert (answer["status"], answer["text"]) == ("completed", "I am here."), (step, answer)
        await assert_nothing_parted(superuser_connection, f"after a turn at {step}")


async def last_event(client: httpx.AsyncClient, run_id: UUID) -> Json:
    """The event that ends a run, followed to it."""
    shown = await client.get(f"/v1/runs/{run_id}/events", headers={"Accept": "text/event-stream"})
    assert shown.status_code == 200, shown.text
    last = [line for line in shown.text.splitlines() if line.startswith("data:")][-1]
    return cast(Json, orjson.loads(last.removeprefix("data:")))
