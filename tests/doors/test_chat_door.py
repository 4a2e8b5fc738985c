"""Chat over HTTP: one answer or a stream of events, which may be left and taken up again wherever it was left."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import orjson
import pytest

from agent.model import ModelEvent, ModelRequest, TextDelta, ToolResultMessage
from domain.storage.postgres import Row
from server.database.connection import Connection
from server.hub import HubOptions
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors, problem_of
from tests.support.scripted_model import ScriptedModel, asks, call, says

STREAM = {"Accept": "text/event-stream"}


@dataclass
class Held:
    """Holds the model before its next event until it is let go."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.reached.set()
        await self.let_go.wait()


class Broken:
    """A model with a fault that nobody foresaw."""

    name = "broken"
    context_window = 128_000

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        yield TextDelta(text="I was about to say")
        raise RuntimeError("the password is hunter2")


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def slow(database: Database, held: Held) -> AsyncIterator[Doors]:
    """Doors behind which the model says nothing until it is let go."""
    model = ScriptedModel(brain=lambda _: says("All ", "is ", "well."), pace=held)
    async with in_a_task(opened_doors(database, HubOptions(model=model))) as doors:
        yield doors


def events_of(text: str) -> list[dict[str, object]]:
    """The events of a stream, checked to be framed as the contract says."""
    events: list[dict[str, object]] = []
    for block in text.split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        fields = dict(line.split(": ", 1) for line in lines)
        data = orjson.loads(fields["data"])
        assert list(fields) == ["id", "event", "data"]
        assert (fields["id"], fields["event"]) == (str(data["sequence"]), data["type"])
        events.append(data)
    return events


async def talk(
    client: httpx.AsyncClient, message: str = "what may you do on your own?", **more: object
) -> httpx.Response:
    return await client.post("/v1/chat", json={"message": message, **more})


async def test_the_answer_is_a_fold_of_the_stream(doors: Doors) -> None:
    client = await doors.client()

    answer = (await talk(client)).json()

    assert set(answer) == {
        "conversation_id",
        "run_id",
        "status",
        "text",
        "tool_calls",
        "citations",
        "approvals",
        "usage",
    }
    assert answer["status"] == "completed"
    replayed = events_of((await client.get(f"/v1/runs/{answer['run_id']}/events")).text)
    assert [event["text"] for event in replayed if event["type"] == "message.completed"] == [answer["text"]]
    assert (await client.get(f"/v1/runs/{answer['run_id']}")).json() == answer


async def test_a_stream_begins_and_ends_as_promised_and_its_ids_only_grow(doors: Doors) -> None:
    client = await doors.client()

    streamed = await client.post("/v1/chat", json={"message": "what may you do on your own?"}, headers=STREAM)

    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.headers["x-accel-buffering"] == "no"
    assert streamed.headers["cache-control"] == "no-store"
    events = events_of(streamed.text)
    assert (events[0]["type"], events[-1]["type"]) == ("run.started", "run.completed")
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    types = [event["type"] for event in events]
    assert types.index("tool.called") < types.index("tool.decided") < types.index("tool.completed")


async def test_what_was_sent_once_is_sent_again_as_it_is_stored(doors: Doors, superuser_connection: Connection) -> None:
    client = await doors.client()
    body = {"message": "search engagement letters — «ünïcode» \u2028 💶"}
    streamed = (await client.post("/v1/chat", json=body, headers=STREAM)).content
    run_id = events_of(streamed.decode())[0]["run_id"]

    again = (await client.get(f"/v1/runs/{run_id}/events", headers=STREAM)).content

    assert again == streamed
    stored = await stored_to_the_end(superuser_connection)
    frames = [f"id: {row['sequence']}\nevent: {row['type']}\ndata: {row['data']}\n\n" for row in stored]
    assert again.decode() == "".join(frames)


async def stored_to_the_end(connection: Connection) -> Sequence[Row]:
    """The frames of the run as they are stored; its last one is shown a moment before."""
    async with asyncio.timeout(30):
        while True:
            stored = await connection.fetch("SELECT * FROM run_events ORDER BY sequence")
            if stored and stored[-1]["type"] == "run.completed":
                return stored


async def test_a_stream_is_taken_up_behind_the_last_event_seen(doors: Doors) -> None:
    client = await doors.client()
    run_id = (await talk(client)).json()["run_id"]
    path = f"/v1/runs/{run_id}/events"
    whole = events_of((await client.get(path)).text)

    for seen in (0, 1, len(whole) - 1):
        assert events_of((await client.get(path, headers={"Last-Event-ID": str(seen)})).text) == whole[seen:]
        assert events_of((await client.get(path, params={"after": seen})).text) == whole[seen:]
    both = await client.get(path, params={"after": 0}, headers={"Last-Event-ID": "2"})
    assert events_of(both.text) == whole[2:]
    for seen in (len(whole), len(whole) + 1000):
        nothing = await client.get(path, headers={"Last-Event-ID": str(seen)})
        assert (nothing.status_code, nothing.content) == (204, b"")
    problem_of(await client.get(path, headers={"Accept": "application/json"}), 406, "not_acceptable")
    problem_of(await client.get(path, headers={"Last-Event-ID": "x"}), 422, "invalid_request")


async def test_a_second_message_while_one_is_answered_finds_the_conversation_busy(slow: Doors, held: Held) -> None:
    client = await slow.client()
    first = asyncio.create_task(talk(client))
    await held.reached.wait()
    conversation = (await client.get("/v1/conversations")).json()["items"][0]["conversation_id"]

    problem_of(await talk(client, "and?", conversation_id=conversation), 409, "conversation_busy")
    problem_of(await client.delete(f"/v1/conversations/{conversation}"), 409, "conversation_busy")

    held.let_go.set()
    assert (await first).json()["text"] == "All is well."
    assert (await talk(client, "and now?", conversation_id=conversation)).json()["text"] == "All is well."


async def test_a_cancelled_run_says_so_to_everybody_and_stays_so(slow: Doors, held: Held) -> None:
    client = await slow.client()
    first = asyncio.create_task(talk(client))
    await held.reached.wait()
    run_id = await only_run(client)

    cancelled = await client.post(f"/v1/runs/{run_id}/cancel")

    assert cancelled.status_code == 200
    answer = (await first).json()
    assert (answer["run_id"], answer["status"]) == (run_id, "cancelled")
    again = await client.post(f"/v1/runs/{run_id}/cancel", json={})
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    events = events_of((await client.get(f"/v1/runs/{run_id}/events")).text)
    assert [event["type"] for event in events if str(event["type"]).startswith("run.")][-1] == "run.cancelled"


async def test_a_run_goes_on_when_whoever_asked_has_left(slow: Doors, held: Held) -> None:
    client = await slow.client()
    asking = asyncio.create_task(talk(client))
    await held.reached.wait()
    run_id = await only_run(client)
    asking.cancel()
    await asyncio.wait([asking])

    held.let_go.set()

    events = events_of((await client.get(f"/v1/runs/{run_id}/events")).text)
    assert events[-1]["type"] == "run.completed"
    assert (await client.get(f"/v1/runs/{run_id}")).json()["text"] == "All is well."


async def test_the_same_message_twice_is_one_run(doors: Doors) -> None:
    client = await doors.client()
    message_id = str(uuid4())

    first = (await talk(client, client_message_id=message_id)).json()
    second = (await talk(client, client_message_id=message_id)).json()

    assert second == first


async def test_what_was_said_is_kept_renamed_and_deleted(doors: Doors) -> None:
    client = await doors.client()
    answer = (await talk(client)).json()
    path = f"/v1/conversations/{answer['conversation_id']}"

    messages = (await client.get(f"{path}/messages")).json()["items"]

    assert [message["role"] for message in messages] == ["user", "assistant", "assistant"]
    assert messages[0]["text"] == "what may you do on your own?"
    assert messages[-1]["text"] == answer["text"]
    assert messages[1]["tool_calls"][0]["tool"] == "autonomy_query"
    renamed = await client.patch(path, json={"title": "What it may do"})
    assert (renamed.status_code, renamed.json()["title"]) == (200, "What it may do")
    assert [item["title"] for item in (await client.get("/v1/conversations")).json()["items"]] == ["What it may do"]
    problem_of(await client.patch(path, json={"title": " "}), 422, "invalid_title")
    assert (await client.delete(path)).status_code == 204
    problem_of(await client.get(path), 404, "not_found")
    problem_of(await client.get(f"/v1/runs/{answer['run_id']}"), 404, "not_found")
    assert (await client.get("/v1/activity")).json()["items"] != []


async def test_a_colleagues_conversation_is_nobody_elses(doors: Doors) -> None:
    answer = (await talk(await doors.client("employee@acme"))).json()

    for who in ("partner@acme", "admin@acme", "eqr@acme"):
        client = await doors.client(who)
        problem_of(await client.get(f"/v1/conversations/{answer['conversation_id']}"), 404, "not_found")
        problem_of(await client.get(f"/v1/runs/{answer['run_id']}"), 404, "not_found")
        problem_of(await client.get(f"/v1/runs/{answer['run_id']}/events"), 404, "not_found")
        problem_of(await client.post(f"/v1/runs/{answer['run_id']}/cancel"), 404, "not_found")


async def test_chat_acts_as_an_agent_whatever_the_credential(doors: Doors) -> None:
    client = await doors.client("partner@acme")

    await talk(client)

    item = (await client.get("/v1/activity")).json()["items"][0]
    assert (item["door"], item["mode"], item["principal"]) == ("chat", "agent", "partner@acme.example")


async def test_a_failed_run_is_still_an_answer(database: Database) -> None:
    async with in_a_task(opened_doors(database, HubOptions(model=Broken()))) as doors:
        answer = await talk(await doors.client())

    assert answer.status_code == 200
    assert answer.json()["status"] == "failed"
    assert set(answer.json()["error"]) == {"code", "message", "retryable"}
    assert "hunter2" not in answer.text


async def test_an_unknown_agent_engagement_or_conversation_is_not_found_and_named(doors: Doors) -> None:
    client = await doors.client()

    unknown = {"agent": "nobody", "engagement_id": str(uuid4()), "conversation_id": str(uuid4())}
    for member, value in unknown.items():
        problem = problem_of(await talk(client, **{member: value}), 404, "not_found")
        assert str(problem["detail"]).startswith(f"There is no such {member.removesuffix('_id')}.")


AGENTS = ["assistant", "audit", "librarian", "operations", "tax"]


async def test_who_asks_for_an_unknown_agent_is_told_which_there_are(doors: Doors) -> None:
    problem = problem_of(await talk(await doors.client(), agent="nobody"), 404, "not_found")
    assert problem["agents"] == AGENTS
    assert str(problem["detail"]).endswith("There are: assistant, audit, librarian, operations, tax.")


async def test_the_agents_are_listed_with_what_they_are_for_and_what_they_may_do_for_the_caller(doors: Doors) -> None:
    shown = {
        who: (await (await doors.client(f"{who}@acme")).get("/v1/agents")).json() for who in ("employee", "readonly")
    }
    assert [agent["name"] for agent in shown["employee"]["items"]] == AGENTS
    assistant = shown["employee"]["items"][0]
    assert (assistant["default"], assistant["model"], assistant["wanted_model"]) == (True, "offline", None)
    assert (assistant["autonomy_ceiling"], "task_create" in assistant["tools"]) == ("L3", True)
    assert "task_create" not in shown["readonly"]["items"][0]["tools"]
    assert "agent_handover" in shown["readonly"]["items"][0]["tools"]
    client = await doors.client()
    problem_of(await client.get("/v1/agents?limit=1"), 422, "invalid_request")
    problem_of(await (await doors.stranger()).get("/v1/agents"), 401, "unauthenticated")


async def test_a_conversation_goes_on_with_the_agent_it_was_handed_to_until_a_person_chooses(doors: Doors) -> None:
    client = await doors.client()
    handed = (await talk(client, "Talk to the tax agent")).json()
    assert handed["text"].startswith("The tax agent goes on with you from here.")
    assert [made["tool"] for made in handed["tool_calls"]] == ["agent_handover"]
    path = f"/v1/conversations/{handed['conversation_id']}"
    kept = (await client.get(path)).json()
    assert (kept["agent"], kept["agent_ceiling"]) == ("tax", "L2")
    again = {"conversation_id": handed["conversation_id"]}
    await talk(client, **again)
    assert (await client.get(path)).json()["agent"] == "tax"
    await talk(client, **again, agent="audit")
    kept = (await client.get(path)).json()
    assert (kept["agent"], kept["agent_ceiling"]) == ("audit", "L3")


async def test_a_call_that_waits_ends_the_answer_as_waiting(database: Database) -> None:
    turns: Sequence[Sequence[ModelEvent]] = (asks(call("task_create", {"title": "x"})), says("A person must agree."))
    options = HubOptions(model=ScriptedModel(*turns))
    async with in_a_task(opened_doors(database, options)) as doors:
        answer = (await talk(await doors.client("employee@borealis"))).json()

    assert (answer["status"], answer["tool_calls"][0]["outcome"]) == ("waiting", "waiting")
    assert answer["approvals"][0]["call_id"] == answer["tool_calls"][0]["call_id"]


async def test_what_a_person_says_when_they_reject_a_call_is_what_the_model_is_told(database: Database) -> None:
    words = "Not this month: the bank's letter of 5 May comes first."
    model = ScriptedModel(asks(call("task_create", {"title": "Count"}, id="one")), says("So I will wait."))
    async with in_a_task(opened_doors(database, HubOptions(model=model))) as doors:
        client, partner = await doors.client("employee@borealis"), await doors.client("partner@borealis")
        answer = (await talk(client)).json()
        assert answer["status"] == "waiting"
        path = f"/v1/runs/{answer['run_id']}/events"
        (*_, waiting) = events_of((await client.get(path)).text)
        decision = {"decision": "reject", "comment": words}
        approval_id = answer["approvals"][0]["approval_id"]
        decided = await partner.post(f"/v1/approvals/{approval_id}/decision", json=decision)
        assert decided.status_code == 200, decided.text
        # Behind the word that it waits the stream is open until the run is over, whoever goes on with it.
        events = events_of((await client.get(f"{path}?after={waiting['sequence']}")).text)
        after = (await client.get(f"/v1/runs/{answer['run_id']}")).json()
        titles = [task["title"] for task in (await client.get("/v1/tasks")).json()["items"]]

    assert (after["status"], after["text"], "Count" in titles) == ("completed", "So I will wait.", False)
    (told,) = [event for event in events if event["type"] == "approval.decided"]
    assert (told["decision"], told["by"]) == ("reject", "partner@borealis.example")
    (result,) = [message for message in model.requests[1].messages if isinstance(message, ToolResultMessage)]
    envelope = orjson.loads(result.text)
    assert (result.provider_id, result.name, envelope["outcome"]) == ("one", "task_create", "rejected")
    assert words in envelope["error"]["message"]


async def only_run(client: httpx.AsyncClient) -> str:
    """The run of the only conversation there is."""
    conversation = (await client.get("/v1/conversations")).json()["items"][0]["conversation_id"]
    return (await client.get(f"/v1/conversations/{conversation}/messages")).json()["items"][0]["run_id"]
