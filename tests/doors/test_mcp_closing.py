"""The MCP door when somebody goes away in the middle: the client that asked, or the database."""

import asyncio
from typing import cast

import httpx2
import pytest

from server.database.connection import Connection
from server.hub import HubOptions
from tests.support.database import Database
from tests.support.firms import seed_firms
from tests.support.held import Held
from tests.support.mcp_wire import Json, headers_of, modern, modern_headers, post, rpc
from tests.support.served import Served, served

pytestmark = pytest.mark.timeout(60)

ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'glow_app' AND datname = $1"


async def test_closing_a_modern_request_cancels_its_call_and_the_record_says_so(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    held = Held("work")
    async with served(database, HubOptions(fault=held)) as server:
        headers = modern_headers(server.token("employee", "mcp"), "tools/call", "task_create")
        body = modern("tools/call", {"name": "task_create", "arguments": {"title": "Given up"}})
        calling = asyncio.create_task(post(server, body, headers))
        await asyncio.wait_for(held.reached.wait(), 10)
        calling.cancel()
        kinds = await eventually(superuser_connection, "tool.cancelled")
        shown = await activity_of(server)
    assert kinds == ["tool.allowed", "tool.cancelled"]
    assert (shown["tool"], shown["decision"], shown["outcome"]) == ("task_create", "allow", "cancelled")
    tasks = await superuser_connection.fetchval("SELECT count(*) FROM tasks WHERE title = 'Given up'")
    assert tasks == 0


async def test_losing_the_connection_of_an_older_revision_cancels_nothing(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    held = Held("work")
    async with served(database, HubOptions(fault=held)) as server:
        headers = headers_of(server.token("employee", "mcp"), "2025-11-25")
        body = rpc("tools/call", {"name": "task_create", "arguments": {"title": "Goes on"}})
        calling = asyncio.create_task(post(server, body, headers))
        await asyncio.wait_for(held.reached.wait(), 10)
        calling.cancel()
        await asyncio.wait([calling])
        held.released.set()
        kinds = await eventually(superuser_connection, "tool.completed")
    assert kinds == ["tool.allowed", "tool.completed"]


async def activity_of(server: Served) -> Json:
    """The newest call, as the record shows it."""
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"{server.url}/v1/activity", headers=headers_of(server.token("employee")))
    return cast(Json, answer.json()["items"][0])


async def eventually(connection: Connection, kind: str) -> list[str]:
    """The kinds of the events of task_create, once one of this kind is among them; the suite's timeout bounds it."""
    query = "SELECT kind FROM activity_events WHERE tool = 'task_create' ORDER BY opens DESC"
    async with asyncio.timeout(10):
        while True:
            kinds = [cast(str, row["kind"]) for row in await connection.fetch(query)]
            if kind in kinds:
                return kinds
            await asyncio.sleep(0.02)


async def test_database_that_is_away_is_a_503_that_says_when_to_come_back(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    async with served(database) as server:
        token = server.token("employee", "mcp")
        # Whoever the token speaks for is known by now; then the database goes away.
        await post(server, rpc("tools/list"), headers_of(token))
        await superuser_connection.execute(f'ALTER DATABASE "{database.name}" CONNECTION LIMIT 0')
        await superuser_connection.execute(ENDED, database.name)
        call: Json = {"name": "task_list", "arguments": {}}
        answers = await asyncio.gather(
            post(server, rpc("tools/list"), headers_of(token)),
            post(server, rpc("tools/call", call), headers_of(token)),
            post(server, modern("tools/list"), modern_headers(token, "tools/list")),
            post(server, modern("tools/call", call), modern_headers(token, "tools/call", "task_list")),
            post(server, rpc("tools/list"), headers_of(server.token("partner", "mcp"))),
        )
        await superuser_connection.execute(f'ALTER DATABASE "{database.name}" CONNECTION LIMIT -1')
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert answer.json()["error"]["message"].startswith("The service is not available")
