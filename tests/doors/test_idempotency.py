"""A request that names itself by a key is done once however often it is sent, and is answered alike."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from server.app import AppOptions
from server.database.connection import Connection
from server.hub import HubOptions
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors, problem_of
from tests.support.held import Held
from tests.support.scripted_model import ScriptedModel, says
from tests.support.wires import passed_on, reached_by

Json = dict[str, Any]
STREAM = {"Accept": "text/event-stream"}
TASK: Json = {"title": "Ask for the bank letter"}
TASKS = "SELECT count(*) FROM tasks WHERE title = $1"
OWN_ANSWER = frozenset({"x-request-id", "idempotency-replayed", "content-length"})

WITHOUT_KEYS = frozenset({"POST /v1/widget/sessions", "POST /slack/events", "POST /mcp"})
"""Routes that change something and are no act of a principal's own: their protocols have means of their own."""


def named(key: str = "key-1") -> dict[str, str]:
    return {"Idempotency-Key": key}


def replayed(answer: httpx.Response) -> bool:
    return answer.headers.get("idempotency-replayed") == "true"


def same(first: httpx.Response, again: httpx.Response) -> bool:
    """The same answer: status, body, and what the first one's headers told of it."""
    told = {name: value for name, value in first.headers.items() if name not in OWN_ANSWER}
    return (again.status_code, again.content) == (first.status_code, first.content) and told.items() <= dict(
        again.headers
    ).items()


# What is done once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Idempotency-Key", "idempotency-key"])
async def test_a_request_sent_again_is_answered_as_the_first_time_and_done_once(
    doors: Doors, superuser_connection: Connection, header: str
) -> None:
    client = await doors.client(headers={header: "key-1"})

    first = await client.post("/v1/tasks", json=TASK)
    again = await client.post("/v1/tasks", json={**TASK})

    assert first.status_code == 201
    assert not replayed(first)
    assert same(first, again), again.text
    assert replayed(again)
    assert again.headers["location"] == first.headers["location"]
    assert await superuser_connection.fetchval(TASKS, TASK["title"]) == 1
    events = "SELECT count(*) FROM activity_events WHERE tool = 'task_create'"
    assert await superuser_connection.fetchval(events) == 2, "the ticket and the outcome of the one call"


async def test_the_same_content_is_what_it_says_and_not_how_it_is_spelled(doors: Doors) -> None:
    client = await doors.client(headers={**named(), "Content-Type": "application/json"})

    first = await client.post("/v1/tasks", content=b'{"title":"Caf\xc3\xa9","description":"x"}')
    again = await client.post("/v1/tasks", content=b' {"description": "x",\n "title": "Caf\\u00e9"} ')

    assert same(first, again)
    assert replayed(again)


async def test_other_content_under_the_same_key_is_refused_and_recorded(
    doors: Doors, superuser_connection: Connection
) -> None:
    client = await doors.client(headers=named())
    await client.post("/v1/tasks", json=TASK)

    other = await client.post("/v1/tasks", json={"title": "Something else"})

    problem = problem_of(other, 422, "idempotency_mismatch")
    assert problem["outcome"] == "invalid"
    assert await superuser_connection.fetchval(TASKS, "Something else") == 0
    recorded = (await client.get(f"/v1/activity/{problem['call_id']}")).json()
    assert (recorded["outcome"], recorded["error_code"]) == ("invalid", "idempotency_mismatch")


async def test_twenty_at_once_make_one_task(doors: Doors, superuser_connection: Connection) -> None:
    client = await doors.client(headers=named())

    answers = await asyncio.gather(*(client.post("/v1/tasks", json=TASK) for _ in range(20)))

    counted = Counter(answer.status_code for answer in answers)
    assert counted.keys() <= {201, 409}, counted
    made = [answer for answer in answers if answer.status_code == 201]
    assert all(same(next(each for each in made if not replayed(each)), answer) for answer in made)
    for early in (answer for answer in answers if answer.status_code == 409):
        problem_of(early, 409, "idempotency_in_progress")
        assert int(early.headers["retry-after"]) >= 1
    assert same(made[0], await client.post("/v1/tasks", json=TASK))
    assert await superuser_connection.fetchval(TASKS, TASK["title"]) == 1


async def test_while_the_first_is_under_way_the_second_is_told_to_come_back(
    database: Database, superuser_connection: Connection
) -> None:
    held = Held(step="work")
    async with in_a_task(opened_doors(database, HubOptions(fault=held))) as doors:
        client = await doors.client(headers=named())
        first = asyncio.create_task(client.post("/v1/tasks", json=TASK))
        await held.reached.wait()

        early = await client.post("/v1/tasks", json=TASK)

        problem_of(early, 409, "idempotency_in_progress")
        assert int(early.headers["retry-after"]) >= 1
        held.released.set()
        assert same(await first, await client.post("/v1/tasks", json=TASK))
        assert await superuser_connection.fetchval(TASKS, TASK["title"]) == 1


@pytest.mark.parametrize("who", ["partner@acme", "employee@borealis"])
async def test_anothers_same_key_is_another_key(doors: Doors, superuser_connection: Connection, who: str) -> None:
    mine, theirs = await doors.client(headers=named()), await doors.client(who, headers=named())

    first = await mine.post("/v1/tasks", json=TASK)
    other = await theirs.post("/v1/tasks", json=TASK)
    differing = await theirs.post("/v1/tools/task_create/call", json={"arguments": {"title": "Theirs"}})

    assert (first.status_code, other.status_code, differing.status_code) == (201, 201, 200)
    assert not replayed(other)
    assert first.json()["task_id"] != other.json()["task_id"]
    assert await superuser_connection.fetchval(TASKS, TASK["title"]) == 2


async def test_a_key_belongs_to_one_route(doors: Doors, superuser_connection: Connection) -> None:
    client = await doors.client(headers=named())

    by_route = await client.post("/v1/tasks", json=TASK)
    by_name = await client.post("/v1/tools/task_create/call", json={"arguments": TASK})

    assert (by_route.status_code, by_name.status_code) == (201, 200)
    assert await superuser_connection.fetchval(TASKS, TASK["title"]) == 2


async def test_one_route_about_two_resources_is_one_route(doors: Doors) -> None:
    client = await doors.client()
    tasks = [
        (await client.post("/v1/tasks", json={"title": n, "kind": "refresh_analytics"})).json()["task_id"]
        for n in ("one", "two")
    ]

    first = await client.post(f"/v1/tasks/{tasks[0]}/runs", headers=named())
    again = await client.post(f"/v1/tasks/{tasks[0]}/runs", headers=named())
    other = await client.post(f"/v1/tasks/{tasks[1]}/runs", headers=named())

    assert same(first, again)
    assert first.status_code == 202
    problem_of(other, 422, "idempotency_mismatch")


async def test_an_expired_key_is_as_good_as_none(doors: Doors, owner_connection: Connection) -> None:
    client = await doors.client(headers=named())
    first = await client.post("/v1/tasks", json=TASK)
    for age, kept in (("23 hours 59 minutes", True), ("24 hours", False)):
        await owner_connection.execute("UPDATE idempotency_keys SET created_at = now() - $1::text::interval", age)
        again = await client.post("/v1/tasks", json=TASK)
        assert replayed(again) is kept, age
    assert again.json()["task_id"] != first.json()["task_id"]
    assert same(again, await client.post("/v1/tasks", json=TASK))


# How it ended ---------------------------------------------------------------------------------------------------------


async def test_a_call_that_waits_is_asked_about_once(doors: Doors, superuser_connection: Connection) -> None:
    agent = await doors.client("employee@borealis", "service", headers=named())
    body = {"arguments": TASK}

    first = await agent.post("/v1/tools/task_create/call", json=body)
    again = await agent.post("/v1/tools/task_create/call", json=body)

    assert (first.status_code, first.json()["outcome"]) == (202, "waiting")
    assert same(first, again)
    assert await superuser_connection.fetchval("SELECT count(*) FROM approvals WHERE state = 'pending'") == 1
    decider = await doors.client("manager@borealis", headers=named())
    decision = f"/v1/approvals/{first.json()['approval_id']}/decision"
    decided = await decider.post(decision, json={"decision": "approve"})
    assert decided.json()["call"]["outcome"] == "done"
    assert same(decided, await decider.post(decision, json={"decision": "approve"}))
    problem_of(await decider.post(decision, json={"decision": "reject"}), 422, "idempotency_mismatch")
    problem_of(await decider.post(decision, json={"decision": "approve"}, headers=named("2")), 409, "already_decided")
    assert same(first, await agent.post("/v1/tools/task_create/call", json=body)), "the first answer, still"
    assert await superuser_connection.fetchval(TASKS, TASK["title"]) == 1


async def test_what_was_refused_leaves_its_key_free(doors: Doors, owner_connection: Connection) -> None:
    reader = await doors.client("readonly@acme", headers=named())
    body: Json = {"arguments": TASK}
    problem_of(await reader.post("/v1/tools/task_create/call", json=body), 403, "denied")
    await owner_connection.execute("UPDATE memberships SET role = 'EMPLOYEE' WHERE role = 'READONLY'")

    invalid = await reader.post("/v1/tools/task_create/call", json={"arguments": {"title": ""}})
    promoted = await reader.post("/v1/tools/task_create/call", json=body)

    problem_of(invalid, 422, "invalid_arguments")
    assert (promoted.status_code, replayed(promoted)) == (200, False)


async def test_a_call_that_failed_may_be_made_again_under_its_key(database: Database) -> None:
    left = ["work"]

    async def fails_once(step: str) -> None:
        if step in left:
            left.remove(step)
            raise RuntimeError("the disk is full")

    async with in_a_task(opened_doors(database, HubOptions(fault=fails_once))) as doors:
        client = await doors.client(headers=named())
        problem_of(await client.post("/v1/tasks", json=TASK), 502, "internal")
        mended = await client.post("/v1/tasks", json=TASK)
        assert (mended.status_code, replayed(mended)) == (201, False)
        assert same(mended, await client.post("/v1/tasks", json=TASK))


async def test_a_preview_takes_no_key(doors: Doors) -> None:
    client, path = await doors.client(headers=named()), "/v1/tools/task_create/call"

    preview = await client.post(path, json={"arguments": TASK, "dry_run": True})
    made = await client.post(path, json={"arguments": TASK})

    assert (preview.json()["outcome"], made.json()["outcome"]) == ("dry_run", "done")
    previewed = await client.post(path, json={"arguments": TASK, "dry_run": True})
    problem_of(previewed, 422, "idempotency_mismatch")


async def test_what_was_done_is_told_though_it_may_not_be_done_again(
    doors: Doors, owner_connection: Connection
) -> None:
    client = await doors.client(headers=named())
    await client.post("/v1/tasks", json=TASK)
    await owner_connection.execute("UPDATE memberships SET role = 'READONLY' WHERE role = 'EMPLOYEE'")

    lowered = await client.post("/v1/tasks", json=TASK)

    assert (lowered.status_code, replayed(lowered)) == (201, True)
    problem_of(await client.post("/v1/tasks", json=TASK, headers=named("key-2")), 403, "denied")


async def test_another_mode_of_the_same_person_is_another_principal(doors: Doors) -> None:
    by_hand, agent = await doors.client(headers=named()), await doors.client(audience="service", headers=named())

    first = await by_hand.post("/v1/tools/task_create/call", json={"arguments": TASK})
    second = await agent.post("/v1/tools/task_create/call", json={"arguments": TASK})

    assert (first.status_code, second.status_code, replayed(second)) == (200, 200, False)


# Other kinds of requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "other"),
    [
        ("/v1/knowledge/search", {"query": "letter"}, {"query": "chair"}),
        ("/v1/tools/task_list/call", {"arguments": {}}, {"arguments": {"limit": 1}}),
    ],
)
async def test_a_read_is_answered_as_the_first_time(doors: Doors, path: str, body: Json, other: Json) -> None:
    client = await doors.client(headers=named())

    first = await client.post(path, json=body)
    await (await doors.client()).post("/v1/tasks", json=TASK)

    assert first.status_code == 200
    again = await client.post(path, json=body)
    assert same(first, again)
    assert replayed(again)
    problem_of(await client.post(path, json=other), 422, "idempotency_mismatch")


async def test_twenty_reads_at_once_are_answered_alike(doors: Doors) -> None:
    client = await doors.client(headers=named())
    answers = await asyncio.gather(
        *(client.post("/v1/tools/task_list/call", json={"arguments": {}}) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1


FILES: Mapping[str, bytes] = {"a.txt": b"Some words.", "b.txt": b"Other words."}


def form(*names: str, **changed: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (name, changed.get(name[0], FILES[name]))) for name in names]


CLIENTS_TASK = """
INSERT INTO tasks (organization_id, task_id, title, status, audience, engagement_id, created_by, created_at, updated_at)
SELECT m.organization_id, gen_random_uuid(), 'Shown to the client', 'open', 'client', m.engagement_id, m.user_id, now(),
    now()
FROM engagement_members m JOIN users u USING (user_id) WHERE u.email = 'client@acme.example'
"""
TAKEN_OFF = "DELETE FROM engagement_members WHERE user_id = (SELECT user_id FROM users WHERE email = $1)"


async def test_a_read_is_answered_anew_to_whoever_is_shown_other_things_by_now(
    doors: Doors, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await owner_connection.execute(CLIENTS_TASK)
    client, path = await doors.client("client@acme", headers=named()), "/v1/tools/task_list/call"
    first = await client.post(path, json={"arguments": {}})
    assert "Shown to the client" in first.text
    assert replayed(await client.post(path, json={"arguments": {}}))

    await owner_connection.execute(TAKEN_OFF, "client@acme.example")

    after = await client.post(path, json={"arguments": {}})
    assert (after.status_code, replayed(after)) == (200, False)
    assert "Shown to the client" not in after.text
    again = await client.post(path, json={"arguments": {}})
    assert same(after, again), "which is kept in the other's place"
    assert replayed(again)
    recorded = "SELECT count(*) FROM activity_events WHERE tool = 'task_list'"
    assert await superuser_connection.fetchval(recorded) == 2


async def test_a_read_of_what_is_deleted_by_now_finds_nothing(doors: Doors, owner_connection: Connection) -> None:
    uploaded = await (await doors.client()).post("/v1/knowledge/documents", files=form("a.txt"))
    document_id = uploaded.json()["items"][0]["document_id"]
    client, path = await doors.client(headers=named()), "/v1/tools/document_content/call"
    body: Json = {"arguments": {"document_id": document_id}}
    first = await client.post(path, json=body)
    assert first.status_code == 200, first.text
    await owner_connection.execute("UPDATE knowledge_documents SET deleted_at = now(), purge_at = now()")
    problem_of(await client.post(path, json=body), 422, "document_not_found")


async def test_files_are_taken_in_once(doors: Doors, superuser_connection: Connection) -> None:
    client, path = await doors.client(headers=named()), "/v1/knowledge/documents"
    counted = "SELECT count(*) FROM knowledge_documents WHERE title = ANY ('{a.txt,b.txt}')"

    first = await client.post(path, files=form("a.txt", "b.txt"))
    again = await client.post(path, files=form("a.txt", "b.txt"))

    assert first.status_code == 202, first.text
    assert same(first, again)
    assert replayed(again)
    for other in (
        form("a.txt"),
        form("b.txt", "a.txt"),
        form("a.txt", "b.txt", a=b"!"),
        form("a.txt", "b.txt", b=b"!"),
    ):
        problem_of(await client.post(path, files=other), 422, "idempotency_mismatch")
    titled = await client.post(path, files=form("a.txt", "b.txt"), data={"audience": "client"})
    problem_of(titled, 422, "idempotency_mismatch")
    assert await superuser_connection.fetchval(counted) == 2


async def test_a_message_is_asked_once_and_its_run_is_shown_again(
    doors: Doors, superuser_connection: Connection
) -> None:
    client, body = await doors.client(headers=named()), {"message": "what may you do on your own?"}

    first = await client.post("/v1/chat", json=body)
    again = await client.post("/v1/chat", json=body)
    streamed = await client.post("/v1/chat", json=body, headers=STREAM)

    assert same(first, again)
    assert (replayed(first), replayed(again), replayed(streamed)) == (False, True, True)
    events = await client.get(f"/v1/runs/{first.json()['run_id']}/events", headers=STREAM)
    assert streamed.content == events.content
    problem_of(await client.post("/v1/chat", json={"message": "hello"}), 422, "idempotency_mismatch")
    assert await superuser_connection.fetchval("SELECT count(*) FROM runs") == 1
    assert await superuser_connection.fetchval("SELECT count(*) FROM conversations") == 1


@pytest.fixture
async def held() -> Held:
    return Held()


@pytest.fixture
async def slow(database: Database, held: Held) -> AsyncIterator[Doors]:
    """Doors behind which the model says nothing until it is let go."""
    model = ScriptedModel(brain=lambda _: says("All ", "is ", "well."), pace=held)
    async with in_a_task(opened_doors(database, HubOptions(model=model))) as doors:
        yield doors


async def test_twenty_messages_at_once_begin_one_run(slow: Doors, held: Held, superuser_connection: Connection) -> None:
    client = await slow.client(headers=named())
    asked = [asyncio.create_task(client.post("/v1/chat", json={"message": "hello"})) for _ in range(20)]
    await held.reached.wait()
    early = asyncio.as_completed(asked)
    for _ in range(19):
        problem_of(await next(early), 409, "idempotency_in_progress")
    held.released.set()
    answers = [await each for each in asked]

    (answered,) = [answer for answer in answers if answer.status_code == 200]
    assert same(answered, await client.post("/v1/chat", json={"message": "hello"}))
    assert await superuser_connection.fetchval("SELECT count(*) FROM runs") == 1


async def test_a_stream_that_was_lost_is_taken_up_under_its_key_while_the_run_goes_on(slow: Doors, held: Held) -> None:
    client, body = await slow.client(headers=named()), {"message": "hello"}
    first = asyncio.create_task(client.post("/v1/chat", json=body, headers=STREAM))
    await held.reached.wait()
    again = asyncio.create_task(client.post("/v1/chat", json=body, headers=STREAM))
    problem_of(await client.post("/v1/chat", json=body), 409, "idempotency_in_progress")
    held.released.set()

    assert (await again).content == (await first).content
    assert replayed(await again)


async def test_a_conversation_gets_its_title_once(doors: Doors) -> None:
    client = await doors.client()
    talked = (await client.post("/v1/chat", json={"message": "hello"})).json()["conversation_id"]
    path = f"/v1/conversations/{talked}"

    first = await client.patch(path, json={"title": "One"}, headers=named())
    await client.patch(path, json={"title": "Two"})
    again = await client.patch(path, json={"title": "One"}, headers=named())

    assert same(first, again)
    assert replayed(again)
    assert (await client.get(path)).json()["title"] == "Two", "not done again"
    problem_of(await client.patch(path, json={"title": "3"}, headers=named()), 422, "idempotency_mismatch")


async def test_a_run_is_cancelled_once(doors: Doors) -> None:
    client = await doors.client()
    runs = [(await client.post("/v1/chat", json={"message": "hello"})).json()["run_id"] for _ in range(2)]

    first = await client.post(f"/v1/runs/{runs[0]}/cancel", headers=named())
    again = await client.post(f"/v1/runs/{runs[0]}/cancel", headers=named())

    assert same(first, again)
    assert replayed(again)
    problem_of(await client.post(f"/v1/runs/{runs[1]}/cancel", headers=named()), 422, "idempotency_mismatch")


# Odd keys, and a database that is away --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd", ["", " ", "x" * 256, "a\tb", "tab\x7f", "naïve".encode("latin-1"), "clé".encode(), b"\xff\xfe"], ids=repr
)
async def test_an_odd_key_is_refused_before_anything_is_done(
    doors: Doors, superuser_connection: Connection, odd: str | bytes
) -> None:
    client = await doors.client()
    value = odd.encode() if isinstance(odd, str) else odd
    for name in (b"Idempotency-Key", b"X-Idempotency-Key"):
        answer = await client.post("/v1/tasks", json=TASK, headers=[(name, value)])
        problem_of(answer, 400, "invalid_idempotency_key")
    assert await superuser_connection.fetchval(TASKS, TASK["title"]) == 0


async def test_two_keys_are_none_and_twice_the_same_is_one(doors: Doors) -> None:
    client = await doors.client()
    two = [("Idempotency-Key", "a"), ("X-Idempotency-Key", "b")]
    problem_of(await client.post("/v1/tasks", json=TASK, headers=two), 400, "invalid_idempotency_key")
    same_twice = {"Idempotency-Key": "x" * 255, "X-Idempotency-Key": "x" * 255}
    assert (await client.post("/v1/tasks", json=TASK, headers=same_twice)).status_code == 201


async def test_a_key_of_a_request_that_changes_nothing_is_not_looked_at(doors: Doors) -> None:
    client = await doors.client(headers=named(""))
    assert (await client.get("/v1/tasks")).status_code == 200


async def test_with_the_database_away_nothing_is_done_and_the_key_stays_free(
    database: Database, superuser_connection: Connection
) -> None:
    async with passed_on(database.address.port) as wire:

        async def cut(step: str) -> None:
            if step == "kept":
                await wire.cut()

        far, options = reached_by(database, wire.port), HubOptions(fault=cut)
        async with in_a_task(opened_doors(far, options, AppOptions(runs_worker=False))) as doors:
            client = await doors.client(headers=named())
            problem_of(await client.post("/v1/tasks", json=TASK), 503, "unavailable")
    assert await superuser_connection.fetchval(TASKS, TASK["title"]) == 0
    assert await superuser_connection.fetchval("SELECT count(*) FROM idempotency_keys") == 0
    async with in_a_task(opened_doors(database)) as doors:
        client = await doors.client(headers=named())
        made = await client.post("/v1/tasks", json=TASK)
        assert (made.status_code, replayed(made)) == (201, False)


# Every route ----------------------------------------------------------------------------------------------------------


async def test_every_route_that_changes_something_refuses_an_odd_key_and_documents_it(doors: Doors) -> None:
    client, nothing = await doors.client(), str(doors.hub.new_id())
    documented = (await client.get("/openapi.json")).json()["paths"]
    changing = {
        (method, context.path_format)
        for context in iter_route_contexts(doors.app.routes)
        for method in (context.methods or set()) & {"POST", "PUT", "PATCH"}
        if context.path_format and f"{method} {context.path_format}" not in WITHOUT_KEYS
    }
    assert len(changing) >= 9
    for method, path in sorted(changing):
        parts = [nothing if part.startswith("{") else part for part in path.split("/")]
        answer = await client.request(method, "/".join(parts), json={}, headers=named(""))
        problem_of(answer, 400, "invalid_idempotency_key")
        names = [parameter["name"] for parameter in documented[path][method.lower()]["parameters"]]
        assert "Idempotency-Key" in names, path
