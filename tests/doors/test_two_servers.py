"""One run through two servers: live at either, again from each event, after its end; a slow reader harms nobody."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import orjson
import pytest

from server.database.embedded import EmbeddedServer
from server.hub import HubOptions
from tests.support.database import Database
from tests.support.scripted_model import ScriptedModel, asks, call, says
from tests.support.served import Served, firms_database, served

WITHIN_S = 60
SSE = {"Accept": "text/event-stream"}
WORDS = [f"word {n} " for n in range(40)]
PARAGRAPH = "A sentence that is there to take up room. " * 400
PARAGRAPHS = 200
"""Together more than three million bytes, twice: more than a socket, or a server, would keep for a reader."""


@pytest.fixture(scope="module")
def database(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with firms_database(cluster, template) as database:
        yield database


@asynccontextmanager
async def client_of(server: Served) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=WITHIN_S) as client:
        yield client


class Told:
    """A stream of events as it comes in; `begun`: its first is there."""

    def __init__(self) -> None:
        self.bytes = b""
        self.begun = asyncio.Event()

    async def read(self, client: httpx.AsyncClient, message: str) -> None:
        """Say something, and read what is told to its end."""
        async with client.stream("POST", "/v1/chat", json={"message": message}, headers=SSE) as answer:
            async for piece in answer.aiter_bytes():
                self.bytes += piece
                self.begun.set()

    @property
    def run_id(self) -> str:
        """Of the run that is told."""
        return run_of(self.bytes)


def run_of(told: bytes) -> str:
    """The run that a stream's first event names."""
    return str(orjson.loads(told.partition(b"data: ")[2].partition(b"\n")[0])["run_id"])


async def test_one_runs_events_are_the_same_bytes_on_every_server_live_and_from_every_point(database: Database) -> None:
    go_on = asyncio.Event()

    async def pace() -> None:
        await go_on.wait()
        # Each of the model's events comes by itself, as a network would bring them.
        await asyncio.sleep(0)

    model = ScriptedModel(asks(call("task_list"), words="Let me look."), says(*WORDS), pace=pace)
    async with (
        asyncio.timeout(WITHIN_S),
        served(database, HubOptions(model=model)) as carrier,
        served(database, HubOptions(model=ScriptedModel())) as other,
        client_of(carrier) as here,
        client_of(other) as there,
        asyncio.TaskGroup() as group,
    ):
        told = Told()
        live = group.create_task(told.read(here, "Speak."))
        await told.begun.wait()
        events_of_run = f"/v1/runs/{told.run_id}/events"
        followed = group.create_task(there.get(events_of_run, headers=SSE))
        go_on.set()
        await live
        whole = told.bytes
        assert (await followed).content == whole
        events = [event + b"\n\n" for event in whole.split(b"\n\n") if event]
        assert [int(event.split(b"\n")[0][4:]) for event in events] == list(range(1, len(events) + 1))
        assert events[-1].split(b"\n")[1] == b"event: run.completed"
        for seen in range(len(events)):
            for client in (here, there):
                by_query = await client.get(f"{events_of_run}?after={seen}", headers=SSE)
                by_header = await client.get(events_of_run, headers={**SSE, "Last-Event-ID": str(seen)})
                assert by_query.content == by_header.content == b"".join(events[seen:])
        for client in (here, there):
            assert (await client.get(f"{events_of_run}?after={len(events)}", headers=SSE)).status_code == 204


async def test_a_reader_that_does_not_read_holds_up_neither_the_run_nor_anybody_else(database: Database) -> None:
    model = ScriptedModel(says(*[PARAGRAPH] * PARAGRAPHS))
    async with (
        asyncio.timeout(WITHIN_S),
        served(database, HubOptions(model=model)) as server,
        client_of(server) as client,
    ):
        with slow_reader(server) as slow:
            first = await asyncio.to_thread(read_one_event, slow)
            run_id = run_of(first)
            quick = await client.get(f"/v1/runs/{run_id}/events", headers=SSE)
            assert quick.content.split(b"\n")[-4] == b"event: run.completed"
            assert (await client.get(f"/v1/runs/{run_id}")).json()["status"] == "completed"
            # It takes its time, and is told what everybody was told.
            late = first + await asyncio.to_thread(read_all, slow)
        assert late.partition(b"\r\n\r\n")[2].replace(b": ping\n\n", b"") == quick.content


@contextmanager
def slow_reader(server: Served) -> Generator[socket.socket]:
    """A connection that has asked for a lot, with little room for what it does not read."""
    body = orjson.dumps({"message": "A lot, please."})
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        slow.settimeout(WITHIN_S)
        slow.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        # In HTTP/1.0 what follows the head is the events and nothing else.
        head = (
            f"POST /v1/chat HTTP/1.0\r\nAuthorization: Bearer {server.token()}\r\nAccept: text/event-stream\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        slow.sendall(head.encode() + body)
        yield slow


def read_one_event(slow: socket.socket) -> bytes:
    """The head and the first event, and no more than comes with it."""
    told = bytearray()
    while b"\n\n" not in told.partition(b"data: ")[2]:
        told += slow.recv(1024)
    return bytes(told)


def read_all(slow: socket.socket) -> bytes:
    """What is still to come, to the connection's end."""
    told = bytearray()
    while piece := slow.recv(1 << 16):
        told += piece
    return bytes(told)
