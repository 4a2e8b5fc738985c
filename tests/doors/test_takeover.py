"""A run outlives its process, whatever becomes of that and when: nothing is lost, doubled or done twice.

`make test` samples the cut points; `make takeover` goes through them all: GLOW_TEST_TAKEOVER=1 is each, 5 each fifth.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import orjson
import pytest

from server.database.connection import Connection
from tests.support.database import Database
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Brain, Call, Turn
from tests.support.fake_turns import Json as Body
from tests.support.firms import seed_firms
from tests.support.replicas import Replica, Replicas, replicas

pytestmark = pytest.mark.timeout(900)

Json = dict[str, Any]
STRIDE = int(os.environ.get("GLOW_TEST_TAKEOVER", "0"))
"""0: a sample."""
WORDS = 400
PER_WORD_S = 0.002
TERMINAL = ("run.completed", "run.failed", "run.cancelled")


@dataclass(slots=True)
class Reader:
    """What a client has seen of a run, over however many connections."""

    frames: list[Json] = field(default_factory=list[Json])
    raw: list[bytes] = field(default_factory=list[bytes])

    @property
    def ended(self) -> bool:
        return bool(self.frames) and self.frames[-1]["type"] in TERMINAL

    @property
    def run_id(self) -> str:
        return cast(str, self.frames[0]["run_id"])

    async def read(self, lines: AsyncIterator[str], most: int | None = None) -> None:
        """Read on, to the end of the stream or until so many events are seen in all."""
        async for line in lines:
            if not line.startswith("data: "):
                continue
            self.raw.append(line.encode())
            self.frames.append(cast(Json, orjson.loads(line.removeprefix("data: "))))
            if len(self.frames) == most:
                return

    def text(self) -> str:
        """The run's answer, as a reader of the stream has it: what is left of the last message after resets."""
        said: dict[str, str] = {}
        for frame in self.frames:
            match frame["type"]:
                case "message.delta":
                    said[frame["message_id"]] = said.get(frame["message_id"], "") + frame["delta"]
                case "message.reset":
                    said.pop(frame["message_id"], None)
                case _:
                    pass
        return list(said.values())[-1]


def alike() -> Brain:
    """A model that answers the same to the same."""
    return _brain(lambda: "")


def varying() -> Brain:
    """A model that never says the same twice."""
    numbers = itertools.count(1)
    return _brain(lambda: f" ({next(numbers)})")


def _brain(vary: Callable[[], str]) -> Brain:
    """Two tasks, one after the other, each with some words before; then a long answer."""

    def think(body: Body) -> Turn:
        messages = cast("list[Json]", body["messages"])
        said = len(messages) - 1 - max(n for n, each in enumerate(messages) if each["role"] == "user")
        done = sum(each["role"] == "tool" for each in messages[-said:]) if said else 0
        if done < 2:
            arguments = orjson.dumps({"title": f"Task {done}{vary()}"}).decode()
            words = f"First I create a task, number {done}{vary()}."
            return Turn(text=words, calls=(Call(name="task_create", arguments=arguments),), per_token_s=PER_WORD_S)
        return Turn(text=f"Done{vary()}: " + "word " * WORDS, per_token_s=PER_WORD_S)

    return think


@asynccontextmanager
async def chat(replica: Replica) -> AsyncGenerator[AsyncIterator[str]]:
    """A new run's stream, as text lines."""
    async with (
        replica.client() as client,
        client.stream("POST", "/v1/chat", json={"message": "Go."}, headers={"Accept": "text/event-stream"}) as answer,
    ):
        assert answer.status_code == 200
        yield answer.aiter_lines()


async def follow(replica: Replica, reader: Reader) -> None:
    """Read a run to its end at that process, from where the reader is."""
    while not reader.ended:
        headers = {"Last-Event-ID": str(reader.frames[-1]["sequence"])}
        async with (
            replica.client() as client,
            client.stream("GET", f"/v1/runs/{reader.run_id}/events", headers=headers) as answer,
        ):
            assert answer.status_code == 200, answer.status_code
            await reader.read(answer.aiter_lines())


async def cut(begun_at: Replica, other: Replica, at: int, how: str) -> tuple[Reader, bool]:
    """Read a run's first events where it began, cut that process off, and read the rest at the other one.

    False: the run had ended before the cut.
    """
    reader = Reader()
    async with asyncio.timeout(120):
        async with chat(begun_at) as lines:
            await reader.read(lines, at)
            if reader.ended:
                return reader, False
            begun_at.signal(signal.SIGKILL if how == "kill" else signal.SIGSTOP)
        follower = asyncio.create_task(follow(other, reader))
        if how == "stop":
            seen = len(reader.frames)
            while len(reader.frames) == seen and not follower.done():
                await asyncio.wait([follower], timeout=0.05)
            begun_at.signal(signal.SIGCONT)
        await follower
        return reader, True


async def check(reader: Reader, replicas_left: list[Replica], inspector: Connection) -> None:
    """Nothing is lost, doubled or done twice."""
    assert reader.frames[-1]["type"] == "run.completed", reader.frames[-1]
    assert [frame["sequence"] for frame in reader.frames] == list(range(1, len(reader.frames) + 1))
    for replica in replicas_left:
        again = Reader()
        async with (
            replica.client() as client,
            client.stream("GET", f"/v1/runs/{reader.run_id}/events?after=0") as answer,
        ):
            await again.read(answer.aiter_lines())
            assert again.raw == reader.raw
    async with replicas_left[0].client() as client:
        conversation = reader.frames[0]["conversation_id"]
        messages = (await client.get(f"/v1/conversations/{conversation}/messages")).json()["items"]
    assert reader.text() == messages[-1]["text"]
    await check_calls(reader, messages, inspector)


async def check_calls(reader: Reader, messages: list[Json], inspector: Connection) -> None:
    """Two calls, each asked for once, done once, and told with the words it belongs to."""
    called = [frame["call_id"] for frame in reader.frames if frame["type"] == "tool.called"]
    completed = [frame["call_id"] for frame in reader.frames if frame["type"] == "tool.completed"]
    assert called == completed
    assert len(set(called)) == len(called) == 2
    assert [call["call_id"] for message in messages for call in message["tool_calls"]] == called
    rows = await inspector.fetch(
        "SELECT call_id::text FROM activity_events WHERE run_id = $1 AND kind = 'tool.completed'"
        " AND outcome = 'done' ORDER BY occurred_at",
        UUID(reader.run_id),
    )
    assert [row["call_id"] for row in rows] == called
    # Two tasks for this run and for each before it.
    runs = await inspector.fetchval("SELECT count(DISTINCT run_id) FROM activity_events WHERE tool = 'task_create'")
    assert await inspector.fetchval("SELECT count(*) FROM tasks WHERE title LIKE 'Task _%'") == 2 * runs


@asynccontextmanager
async def site(database: Database, brain: Brain, owner: Connection) -> AsyncGenerator[tuple[Replicas, Replica]]:
    """A worker and the server that a client goes on at; whoever begins a run is started beside them."""
    await seed_firms(owner)
    await owner.execute("UPDATE runs SET status = 'completed', finished_at = now()")
    async with (
        FakeOpenAI(brain=brain) as fake,
        replicas(database, fake.base_url) as started,
        started.running("worker"),
        started.running() as other,
    ):
        yield started, other


async def cut_at(indexes: Iterable[int], how: str, started: Replicas, other: Replica, inspector: Connection) -> bool:
    """Whole and once at each of these cut points; False: a run had ended before the last of them."""
    for at in indexes:
        async with started.running() as begun_at:
            reader, was_cut = await cut(begun_at, other, at, how)
            alive = [other] if how == "kill" else [other, begun_at]
            await check(reader, alive if was_cut else [other], inspector)
            if not was_cut:
                return False
    return True


@pytest.mark.skipif(not STRIDE, reason="make takeover goes through all cut points")
@pytest.mark.parametrize("brain", [alike, varying])
@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_run_is_whole_and_once_wherever_its_process_is_cut_off(
    database: Database,
    owner_connection: Connection,
    superuser_connection: Connection,
    how: str,
    brain: Callable[[], Brain],
) -> None:
    async with site(database, brain(), owner_connection) as (started, other):
        assert not await cut_at(range(1, 1000, STRIDE), how, started, other, superuser_connection)


async def test_a_run_outlives_its_process_killed_stopped_or_told_to_go_and_is_cancelled_anywhere(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    async with site(database, varying(), owner_connection) as (started, other):
        assert await cut_at([12], "kill", started, other, superuser_connection)
        assert await cut_at([7], "stop", started, other, superuser_connection)
        async with started.running() as going:
            await told_to_go(going, other, superuser_connection)
        async with started.running() as carrying:
            await cancelled_elsewhere(carrying, other)


async def told_to_go(going: Replica, other: Replica, inspector: Connection) -> None:
    """A server that gets SIGTERM hands its run over, and nobody counts it as lost."""
    reader = Reader()
    async with asyncio.timeout(60), chat(going) as lines:
        await reader.read(lines, 12)
        going.signal(signal.SIGTERM)
        # Streams end at once, so that whoever reads goes elsewhere.
        await reader.read(lines)
    async with asyncio.timeout(60):
        await follow(other, reader)
    await check(reader, [other], inspector)
    assert await inspector.fetchval("SELECT lost_carriers FROM runs WHERE run_id = $1", UUID(reader.run_id)) == 0


async def cancelled_elsewhere(carrying: Replica, other: Replica) -> None:
    """Whoever is asked to cancel a run, its carrier hears of it."""
    reader = Reader()
    async with chat(carrying) as lines, asyncio.timeout(30):
        await reader.read(lines, 4)
        async with other.client() as client:
            assert (await client.post(f"/v1/runs/{reader.run_id}/cancel")).status_code == 200
        await reader.read(lines)
    assert reader.frames[-1]["type"] == "run.cancelled"
