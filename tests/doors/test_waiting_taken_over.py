"""A run whose call waits for a task run: its progress in the run's own stream, and the call when its process goes."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import orjson
import pytest

from server.database.connection import Connection
from tests.doors.test_takeover import Reader, chat, follow
from tests.support.database import Database
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Call, Turn
from tests.support.fake_turns import Json as Body
from tests.support.firms import seed_firms
from tests.support.mcp_wire import MODERN, modern
from tests.support.replicas import Replica, Replicas, replicas

pytestmark = pytest.mark.timeout(300)

Json = dict[str, Any]
RECORD = "SELECT kind, outcome FROM activity_events WHERE call_id = $1 ORDER BY recorded_at"
CUT_OFF = "SELECT kind, outcome FROM activity_events WHERE run_id = $1 AND kind = 'tool.cancelled'"
WITHIN_S = 90


@dataclass(slots=True)
class Follows:
    """A model that waits for one task run, and then says so."""

    task_run_id: str = ""

    def think(self, body: Body) -> Turn:
        if cast("list[Json]", body["messages"])[-1]["role"] == "tool":
            return Turn(text="That is how it stands.")
        arguments = orjson.dumps({"task_run_id": self.task_run_id, "wait_s": 60}).decode()
        return Turn(calls=(Call(name="task_run_get", arguments=arguments),))


@asynccontextmanager
async def site(database: Database, owner: Connection, model: Follows) -> AsyncGenerator[Replicas]:
    await seed_firms(owner)
    async with FakeOpenAI(brain=model.think) as fake, replicas(database, fake.base_url) as started:
        yield started


async def queued_run(at: Replica) -> str:
    """A task run that no worker has taken up."""
    async with at.client() as client:
        task = (await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics"})).json()
        run = (await client.post(f"/v1/tasks/{task['task_id']}/runs")).json()
    return cast(str, run["task_run_id"])


async def read_until(reader: Reader, lines: Any, kind: str) -> None:
    while not reader.frames or reader.frames[-1]["type"] != kind:
        before = len(reader.frames)
        await reader.read(lines, before + 1)
        assert len(reader.frames) > before, reader.frames


async def recorded_of(inspector: Connection, asked: str, which: UUID) -> list[tuple[str, str]]:
    """What the record has of it, once it has anything."""
    while not (recorded := await inspector.fetch(asked, which)):  # noqa: ASYNC110 - another process records it
        await asyncio.sleep(0.02)
    return [tuple(row) for row in recorded]


def of(reader: Reader, kind: str) -> list[Json]:
    return [frame for frame in reader.frames if frame["type"] == kind]


async def test_a_call_that_waited_when_its_process_was_killed_is_made_again_and_waits_on(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    model = Follows()
    async with site(database, owner_connection, model) as started, asyncio.timeout(WITHIN_S):
        async with started.running() as killed:
            model.task_run_id = await queued_run(killed)
            reader = Reader()
            async with chat(killed) as lines:
                await read_until(reader, lines, "tool.progress")
            killed.signal(signal.SIGKILL)
        async with started.running("server", works=True) as other:
            await follow(other, reader)
    (called,), (completed,) = of(reader, "tool.called"), of(reader, "tool.completed")
    assert (completed["call_id"], completed["outcome"]) == (called["call_id"], "done")
    assert completed["result"]["task_run"]["status"] == "completed"
    told = [(frame["progress"], frame["message"]) for frame in of(reader, "tool.progress")]
    assert (told[0], told[-1][0]) == ((0.0, "queued"), 1.0)
    assert {frame["call_id"] for frame in of(reader, "tool.progress")} == {called["call_id"]}
    recorded = await superuser_connection.fetch(RECORD, UUID(called["call_id"]))
    assert [tuple(row) for row in recorded] == [("tool.completed", "done")]
    assert reader.frames[-1]["type"] == "run.completed"


async def test_a_call_that_waits_when_its_server_is_told_to_stop_waits_on_at_whoever_goes_on(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    model = Follows()
    async with (
        site(database, owner_connection, model) as started,
        asyncio.timeout(WITHIN_S),
        started.running() as stopped,
        started.running() as other,
    ):
        model.task_run_id = await queued_run(stopped)
        reader = Reader()
        async with chat(stopped) as lines:
            await read_until(reader, lines, "tool.progress")
            stopped.signal(signal.SIGTERM)
            await reader.read(lines)
        # Only once it was cut off there does anybody take up what it waits for.
        await recorded_of(superuser_connection, CUT_OFF, UUID(reader.run_id))
        async with started.running("worker"):
            await follow(other, reader)
    (completed,) = of(reader, "tool.completed")
    assert completed["outcome"] == "done", completed
    assert completed["result"]["task_run"]["status"] == "completed"
    recorded = await recorded_of(superuser_connection, RECORD, UUID(completed["call_id"]))
    assert recorded == [("tool.completed", "done")]
    assert reader.frames[-1]["type"] == "run.completed"


async def test_a_call_that_waits_outside_of_a_run_is_answered_when_its_server_is_told_to_stop(
    database: Database, owner_connection: Connection
) -> None:
    async with (
        site(database, owner_connection, Follows()) as started,
        asyncio.timeout(WITHIN_S),
        started.running() as stopped,
        stopped.client(audience="mcp") as client,
    ):
        arguments = {"task_run_id": await queued_run(stopped), "wait_s": 60}
        body = modern("tools/call", {"name": "task_run_get", "arguments": arguments})
        body["params"]["_meta"]["progressToken"] = 1
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": MODERN,
            "Mcp-Method": "tools/call",
            "Mcp-Name": "task_run_get",
            "Host": "localhost",
        }
        told: list[Json] = []
        async with client.stream("POST", "/mcp", json=body, headers=headers) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    told.append(cast(Json, orjson.loads(line.removeprefix("data: "))))
                    # It waits, and has said so.
                    stopped.signal(signal.SIGTERM)
    queued, answered = told
    assert queued["params"]["message"] == "queued"
    ended = answered["result"]["structuredContent"]
    assert (ended["outcome"], ended["result"]["task_run"]["status"]) == ("done", "queued")


async def test_a_call_that_waits_is_ended_and_recorded_when_its_run_is_cancelled(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    model = Follows()
    async with (
        site(database, owner_connection, model) as started,
        asyncio.timeout(WITHIN_S),
        started.running() as carrying,
        started.running() as other,
    ):
        model.task_run_id = await queued_run(carrying)
        reader = Reader()
        async with chat(carrying) as lines, other.client() as client:
            await read_until(reader, lines, "tool.progress")
            answer = await client.post(f"/v1/runs/{reader.run_id}/cancel")
            assert answer.status_code == 200, answer.text
            await reader.read(lines)
    (completed,) = of(reader, "tool.completed")
    assert completed["outcome"] == "cancelled"
    recorded = await superuser_connection.fetch(RECORD, UUID(completed["call_id"]))
    assert [tuple(row) for row in recorded] == [("tool.cancelled", "cancelled")]
    assert reader.frames[-1]["type"] == "run.cancelled"
