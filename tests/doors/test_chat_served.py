"""Streams over a real socket: seen as they come, left without harm, ended at once when the server is told to stop."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import httpx
import orjson
import pytest

from domain.kernel import RunId
from server.hub import Hub, HubOptions
from server.serve import UNTAKEN_MS, NotStarted, ServeOptions, drop_stalled, serve
from tests.support.database import Database
from tests.support.doors import in_a_task, opened_hub, token_of
from tests.support.scripted_model import ScriptedModel, says


@dataclass
class Turnstile:
    """Lets the model's events through one by one."""

    tickets: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def __call__(self) -> None:
        await self.tickets.acquire()

    def let(self, count: int) -> None:
        for _ in range(count):
            self.tickets.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server on a port, and how to stop it."""

    hub: Hub
    url: str
    stop: asyncio.Event
    serving: asyncio.Task[None]

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {await token_of(self.hub, 'employee@acme')}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20) as client:
            yield client


@pytest.fixture
def turnstile() -> Turnstile:
    return Turnstile()


@pytest.fixture
async def running(database: Database, turnstile: Turnstile) -> AsyncIterator[Running]:
    model = ScriptedModel(brain=lambda _: says("One. ", "Two. ", "Three."), pace=turnstile)
    async with in_a_task(started(database, HubOptions(model=model))) as server:
        yield server


@asynccontextmanager
async def started(database: Database, options: HubOptions) -> AsyncGenerator[Running]:
    async with opened_hub(database, options) as hub:
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        where = ServeOptions(host="127.0.0.1", port=0, runs_worker=False)
        serving = asyncio.create_task(serve(hub, where, stop, port.set_result))
        try:
            yield Running(hub=hub, url=f"http://127.0.0.1:{await port}", stop=stop, serving=serving)
        finally:
            stop.set()
            await serving


@asynccontextmanager
async def streaming(client: httpx.AsyncClient) -> AsyncGenerator[AsyncIterator[dict[str, object]]]:
    """A chat's events, each as it arrives."""
    body, headers = {"message": "hello"}, {"Accept": "text/event-stream"}
    async with client.stream("POST", "/v1/chat", json=body, headers=headers) as answer:
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        yield (orjson.loads(line[6:]) async for line in lines if line.startswith("data: "))


async def first(events: AsyncIterator[dict[str, object]], kind: str) -> dict[str, object]:
    async with asyncio.timeout(10):
        async for event in events:
            if event["type"] == kind:
                return event
    raise AssertionError(f"no {kind}")


async def test_text_is_seen_while_the_model_still_speaks(running: Running, turnstile: Turnstile) -> None:
    async with running.client() as client, streaming(client) as events:
        turnstile.let(1)
        assert (await first(events, "message.delta"))["delta"] == "One. "
        turnstile.let(1)
        assert (await first(events, "message.delta"))["delta"] == "Two. "
        turnstile.let(10)
        assert (await first(events, "message.completed"))["text"] == "One. Two. Three."
        await first(events, "run.completed")


async def test_a_reader_that_leaves_ends_nothing_and_comes_back(running: Running, turnstile: Turnstile) -> None:
    async with running.client() as client:
        async with streaming(client) as events:
            turnstile.let(1)
            seen = await first(events, "message.delta")
        turnstile.let(10)

        headers = {"Last-Event-ID": str(seen["sequence"])}
        rest = await client.get(f"/v1/runs/{seen['run_id']}/events", headers=headers)

        assert rest.text.startswith(f"id: {int(str(seen['sequence'])) + 1}\n")
        assert rest.text.rstrip().split("\n")[-2] == "event: run.completed"


async def test_many_followers_see_the_same_bytes(running: Running, turnstile: Turnstile) -> None:
    async with running.client() as client, streaming(client) as events:
        run_id = (await first(events, "run.started"))["run_id"]
        async with asyncio.TaskGroup() as group:
            followers = [group.create_task(client.get(f"/v1/runs/{run_id}/events")) for _ in range(5)]
            turnstile.let(10)

    assert len({follower.result().content for follower in followers}) == 1


async def test_told_to_stop_the_server_ends_its_streams_at_once_and_its_runs_in_their_grace(
    running: Running, turnstile: Turnstile
) -> None:
    async with running.client() as client, streaming(client) as events:
        run_id = (await first(events, "run.started"))["run_id"]
        running.stop.set()

        async with asyncio.timeout(5):
            rest = [event async for event in events]
            await running.serving

    assert rest == []
    turnstile.let(10)
    assert [event["type"] async for event in frames_of(running, str(run_id))][-1] == "run.completed"


async def test_told_to_stop_the_server_ends_the_streams_of_task_runs_too(running: Running) -> None:
    async with running.client() as client:
        task = (await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics"})).json()
        run = (await client.post(f"/v1/tasks/{task['task_id']}/runs", json={})).json()
        async with client.stream("GET", f"/v1/task-runs/{run['task_run_id']}/events") as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith("id: ")
            running.stop.set()

            async with asyncio.timeout(5):
                rest = [line async for line in lines if line.startswith("id: ")]
                await running.serving

    assert rest == []


async def test_an_answer_under_way_is_given_before_the_server_stops(running: Running, turnstile: Turnstile) -> None:
    async with running.client() as client:
        asking = asyncio.create_task(client.post("/v1/chat", json={"message": "hello"}))
        turnstile.let(1)
        while not (await client.get("/v1/conversations")).json()["items"]:
            pass
        running.stop.set()
        turnstile.let(10)

        assert (await asking).json()["text"] == "One. Two. Three."
        await running.serving


async def test_an_address_that_is_taken_is_told_and_not_died_of(running: Running) -> None:
    taken = ServeOptions(host="127.0.0.1", port=int(running.url.rsplit(":", 1)[1]), runs_worker=False)

    with pytest.raises(NotStarted):
        await serve(running.hub, taken, asyncio.Event())


async def test_what_is_no_http_does_no_harm(running: Running) -> None:
    port = int(running.url.rsplit(":", 1)[1])
    long = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000
    length = b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"
    for odd in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", length, long):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(odd)
        answer = await reader.read(200)
        writer.close()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), (odd[:40], answer)
    async with running.client() as client:
        assert (await client.get("/health")).status_code == 200


async def frames_of(running: Running, run_id: str) -> AsyncIterator[dict[str, object]]:
    """A run's events from the hub itself, its server gone."""
    hub = running.hub
    caller = await hub.authenticator.caller_of(await token_of(hub, "employee@acme"), None)
    async for frame in hub.runs.follow(caller.principal("chat", "agent"), RunId(UUID(run_id))):
        yield orjson.loads(frame.data)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone ends what its reader does not take")
def test_a_connection_whose_reader_takes_nothing_ends_by_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        drop_stalled([listening])
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNTAKEN_MS
