"""A server killed between what it holds of a budget and what it really used: it is given back, nothing overspent."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.database.connection import Connection
from tests.doors.test_nothing_unrecorded import TASK, last_event
from tests.support.database import Database
from tests.support.faulty_server import (
    SPEAKING,
    FaultyServer,
    Json,
    Nursery,
    call_of,
    killed_asking,
    killed_at,
    nursery,
    posted,
)
from tests.support.firms import seed_firms

pytestmark = pytest.mark.timeout(180)

CREATE, BODY = call_of("task_create"), {"arguments": TASK}
MADE = "SELECT count(*) FROM tasks WHERE title = $1"
KEPT = "SELECT used, reserved FROM budget_use WHERE measure = $1"
# What a killed process held is known by its silence.
SILENT = "UPDATE budget_reservations SET expires_at = now() - interval '1 second'"
WITHIN_S = 60
LOOK_S = 0.05


@pytest.fixture
async def servers(database: Database, owner_connection: Connection) -> AsyncIterator[Nursery]:
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE task_run_progress SET status = 'completed', finished_at = now()")
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")
    async with nursery(database) as running:
        yield running


async def budget(servers: Nursery, **asked: object) -> None:
    async with servers.server() as server, server.client("partner") as client:
        body = {"scope": "organization", "reason": "To try it.", **asked}
        answer = await client.put("/v1/budgets", json=body)
        assert answer.status_code == 200, answer.text


async def kept(inspector: Connection, measure: str) -> tuple[int, int]:
    """What is used and held."""
    row = await inspector.fetchrow(KEPT, measure)
    assert row is not None
    return row["used"], row["reserved"]


async def at_once(server: FaultyServer, number: int) -> int:
    """How many of so many calls at once pass; the others are told that the budget is used up."""
    answers = await asyncio.gather(*(posted(server, CREATE, BODY) for _ in range(number)))
    refused = [answer.json() for answer in answers if answer.status_code != 200]
    assert all(each["verdict"]["reasons"] == ["budget_exhausted"] for each in refused), refused
    return number - len(refused)


@pytest.mark.parametrize("step", ["verdict", "ticket", "work", "outcome", "committed"])
async def test_a_call_that_is_killed_counts_if_it_was_made_and_else_its_place_is_given_back(
    servers: Nursery, superuser_connection: Connection, step: str
) -> None:
    made = int(step == "committed")
    await budget(servers, measure="calls", effect="prepare", limit=4)
    await killed_at(servers, step, CREATE, BODY)
    assert await kept(superuser_connection, "calls:prepare") == (0, 1)
    assert await superuser_connection.fetchval(MADE, TASK["title"]) == made
    async with servers.server() as server:
        # As long as it might still be under way, its place is taken.
        assert await at_once(server, 8) == 3
        assert await kept(superuser_connection, "calls:prepare") == (3, 1)
        await superuser_connection.execute(SILENT)
        # Whoever would be refused has it taken back first, and once.
        assert await at_once(server, 8) == 1 - made
    assert await kept(superuser_connection, "calls:prepare") == (4, 0)
    assert await superuser_connection.fetchval(MADE, TASK["title"]) == 4


async def test_a_worker_gives_back_what_the_killed_held_though_nobody_asks(
    servers: Nursery, superuser_connection: Connection
) -> None:
    await budget(servers, measure="calls", effect="prepare", limit=3)
    for _ in range(2):
        await killed_at(servers, "work", CREATE, BODY)
    await killed_at(servers, "committed", CREATE, BODY)
    assert await kept(superuser_connection, "calls:prepare") == (0, 3)
    await superuser_connection.execute(SILENT)
    async with servers.server(works=True), asyncio.timeout(WITHIN_S):
        while True:
            if await kept(superuser_connection, "calls:prepare") == (1, 0):
                return
            await asyncio.sleep(LOOK_S)


async def test_what_a_killed_model_turn_held_is_given_back_to_whoever_takes_its_run_over(
    servers: Nursery, superuser_connection: Connection
) -> None:
    # There is room for one answer of the full length, and not for a second beside it.
    await budget(servers, measure="tokens", limit=20_000)
    said: Json = {"message": "Are you there?"}
    await killed_asking(servers, SPEAKING, lambda client: client.post("/v1/chat", json=said))
    used, held = await kept(superuser_connection, "tokens")
    assert used == 0
    assert 8_192 < held <= 20_000
    run_id = await superuser_connection.fetchval("SELECT run_id FROM runs WHERE status = 'running'")
    async with servers.server(works=True) as server, server.client() as client:
        ended = await last_event(client, run_id)
        assert ended["type"] == "run.completed", ended
        assert await kept(superuser_connection, "tokens") == (12, 0)
        again = await client.post("/v1/chat", json=said)
        assert (again.json()["status"], again.json()["text"]) == ("completed", "I am here.")
    assert await kept(superuser_connection, "tokens") == (24, 0)
