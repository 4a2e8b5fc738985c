"""PostgreSQL is stopped under load and started again: refusals say when to come back, runs go on, nothing is left over.

`make outage` does the same for ten seconds and with more clients.
"""

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import pytest

from domain.resources import resource_folder
from server.database.connection import connected
from server.database.embedded import EmbeddedOptions, EmbeddedServer, embedded
from server.database.migrate import migrate_database
from server.database.pool import Pool
from server.home import GlowHome
from server.hub import HubOptions
from server.logins import Login
from tests.support.database import SETTINGS, Database, run_apart
from tests.support.served import Served, seed_people, served
from tests.support.speaker import COUNT, Speaker

OUTAGE_S = float(os.environ.get("GLOW_TEST_OUTAGE_S", "2.5"))
CLIENTS = int(os.environ.get("GLOW_TEST_OUTAGE_CLIENTS", "8"))
RECOVERED_WITHIN_S = 60.0
REFUSED_FOR_NOW = {409, 429, 503}
"""A conversation that is busy, too much at once, no database."""
MOST = {"glow_app": 2 * 20, "glow_recorder": 2 * 4, "glow_service": 2 * 4 + 2 + 1}
"""Connections of two processes: their pools, what listens for wake-ups, and the one worker's."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedServer]:
    """A PostgreSQL of this module's own, migrated and with both firms in it."""
    folder = Path(tempfile.mkdtemp(prefix="glow-outage-"))
    folder.chmod(0o711)
    with embedded(GlowHome(folder / "home"), EmbeddedOptions(settings=SETTINGS)) as server:
        run_apart(_prepared(server))
        yield server
    shutil.rmtree(folder)


async def _prepared(server: EmbeddedServer) -> None:
    await migrate_database(server.dsn(Login.OWNER), resource_folder("migrations"))
    await seed_people(Database(address=server.address, name="glow"))
    async with connected(server.dsn(Login.OWNER)) as owner:
        await owner.execute("UPDATE runs SET status = 'completed', finished_at = now()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Clients that ask one thing after another, and what they were answered."""

    answers: list[tuple[str, int, str, str | None]] = field(default_factory=list[tuple[str, int, str, str | None]])
    """What was asked, its status, the code of a refusal, and when to come back."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever there is another answer."""

    async def client(self, server: Served, number: int) -> None:
        """One client, until the load is over."""
        async with _client(server) as http:
            while not self.over.is_set():
                for name, request in _requests(http, number):
                    answer = await http.send(request)
                    code = str(orjson.loads(answer.content).get("code", "")) if answer.status_code >= 400 else ""
                    self.answers.append((name, answer.status_code, code, answer.headers.get("Retry-After")))
                    self.more.set()

    async def until(self, good: int, since: int = 0) -> None:
        """Returns when so many answers were good, of those behind the first `since`."""
        async with asyncio.timeout(RECOVERED_WITHIN_S):
            while sum(status < 300 for _, status, _, _ in self.answers[since:]) < good:
                self.more.clear()
                await self.more.wait()

    def refused(self) -> Counter[tuple[str, int, str]]:
        """The refusals."""
        return Counter((name, status, code) for name, status, code, _ in self.answers if status >= 400)


@asynccontextmanager
async def _client(server: Served) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=90) as client:
        yield client


def _requests(http: httpx.AsyncClient, number: int) -> Iterator[tuple[str, httpx.Request]]:
    """A round of what people and their tools do, each client beginning somewhere else."""
    asked = [
        ("chat", http.build_request("POST", "/v1/chat", json={"message": "How many tasks?"})),
        ("read", http.build_request("POST", "/v1/tools/task_list/call", json={"arguments": {"limit": 1}})),
        ("write", http.build_request("POST", "/v1/tools/task_create/call", json={"arguments": {"title": "Ask"}})),
        ("list", http.build_request("GET", "/v1/tasks")),
        ("search", http.build_request("POST", "/v1/knowledge/search", json={"query": "retention"})),
        ("conversations", http.build_request("GET", "/v1/conversations")),
    ]
    for place in range(len(asked)):
        yield asked[(place + number) % len(asked)]


async def test_without_its_database_a_server_refuses_politely_carries_its_runs_on_and_comes_back(
    postgres: EmbeddedServer,
) -> None:
    speaker = Speaker()
    database = Database(address=postgres.address, name="glow")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(served(database, HubOptions(model=speaker), runs_worker=True))
        second = await stack.enter_async_context(served(database, HubOptions(model=Speaker())))
        http, elsewhere = [await stack.enter_async_context(_client(each)) for each in (first, second)]
        load = Load()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        begun = asyncio.Event()
        live = group.create_task(_streamed(http, begun))
        await begun.wait()
        clients = [group.create_task(load.client(each, n)) for n in range(CLIENTS // 2) for each in (first, second)]
        await load.until(good=CLIENTS * 6)
        before = await _connections(postgres)

        await asyncio.to_thread(postgres.cluster.stop)
        counted, answered = speaker.counted, len(load.answers)
        assert await _ready(http, wanted=503) == "not_ready"
        await asyncio.sleep(OUTAGE_S)
        assert speaker.counted > counted
        await asyncio.to_thread(postgres.cluster.start)

        assert await _ready(http, wanted=200) == "ready"
        assert await _ready(elsewhere, wanted=200) == "ready"
        back = len(load.answers)
        await load.until(good=CLIENTS * 6, since=back)
        load.over.set()
        await asyncio.wait(clients)
        speaker.enough.set()
        told = await live

        assert {status for _, status, _, _ in load.answers if status >= 400} <= REFUSED_FOR_NOW, load.refused()
        assert any(status == 503 for _, status, _, _ in load.answers[answered:back])
        assert all(retry is not None for _, status, _, retry in load.answers if status in (429, 503))
        frames = [orjson.loads(line[6:]) for line in told.splitlines() if line.startswith(b"data: ")]
        assert frames[-1]["type"] == "run.completed", frames[-1]
        assert frames[-3]["text"] == "".join(f"{n} " for n in range(speaker.counted))
        again = await elsewhere.get(f"/v1/runs/{frames[0]['run_id']}/events", headers=SSE)
        assert again.content == told
        after = await _connections(postgres)
        assert all(after[login] <= max(MOST[login], before[login]) for login in after), (before, after)
        for pool in (*_pools(first), *_pools(second)):
            await _all_back(pool)
        assert first.hub.worker.alive
        assert first.hub.recorder.alive


SSE = {"Accept": "text/event-stream"}


def _pools(server: Served) -> tuple[Pool, ...]:
    pools = server.hub.pools
    return (pools.app, pools.recorder, pools.service)


async def _all_back(pool: Pool) -> None:
    """Returns when nothing is lent: background work borrows now and then, what leaks never comes back."""
    async with asyncio.timeout(RECOVERED_WITHIN_S):
        while pool.lent:  # noqa: ASYNC110 - a pool tells nobody when it has everything back
            await asyncio.sleep(0.01)


async def _streamed(http: httpx.AsyncClient, begun: asyncio.Event) -> bytes:
    """The whole stream of a run that speaks until it is told to stop."""
    told = bytearray()
    async with http.stream("POST", "/v1/chat", json={"message": COUNT}, headers=SSE) as answer:
        async for piece in answer.aiter_bytes():
            told += piece
            if b"message.delta" in told:
                begun.set()
    return b"\n\n".join(each for each in bytes(told).split(b"\n\n") if each != b": ping")


async def _ready(http: httpx.AsyncClient, wanted: int) -> str:
    """What readiness says, once its status is that."""
    async with asyncio.timeout(RECOVERED_WITHIN_S):
        while (answer := await http.get("/readiness")).status_code != wanted:
            pass
    return str(answer.json()["status"])


async def _connections(postgres: EmbeddedServer) -> Counter[str]:
    """How many each login has open."""
    async with connected(postgres.dsn("postgres")) as inspector:
        rows = await inspector.fetch(
            "SELECT usename, count(*) AS open FROM pg_stat_activity WHERE usename LIKE 'glow\\_%' GROUP BY usename"
        )
    return Counter({row["usename"]: row["open"] for row in rows})
