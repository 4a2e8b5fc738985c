"""Progress at the MCP door: told to a client that asked for it, in every era, over both transports, and to no other."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from domain.kernel import CallId
from server.database.embedded import EmbeddedServer
from server.hub import Hub
from tests.doors.test_mcp_door import MODES, body_of, client_of
from tests.doors.test_mcp_stdio import EMPLOYEE, GLOW
from tests.support.command_host import ROOT
from tests.support.database import Database
from tests.support.environment import external
from tests.support.gates import principal_of
from tests.support.mcp_wire import headers_of, modern, modern_headers, post, rpc
from tests.support.served import Served, firms_database, served
from tests.support.task_work import work_at
from tools.outcomes import CallRequest

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

Json = dict[str, Any]


@pytest.fixture(scope="module")
def firms(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with firms_database(cluster, template) as database:
        yield database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(firms: Database) -> AsyncIterator[Served]:
    async with served(firms) as running:
        yield running


async def called(hub: Hub, tool: str, arguments: Json) -> Json:
    request = CallRequest(call_id=CallId(uuid4()), tool=tool, arguments=arguments)
    ended = await hub.gate.call(request, principal_of(mode="person", door="rest"))
    assert ended.result is not None, ended
    return ended.result


async def queued_run(hub: Hub) -> UUID:
    """A task run that nobody has taken up; there is no worker."""
    task = (await called(hub, "task_create", {"title": "A", "kind": "refresh_analytics"}))["task"]
    run = (await called(hub, "task_run", {"task_id": cast(Json, task)["task_id"]}))["task_run"]
    return UUID(cast(Json, run)["task_run_id"])


def waiting(run_id: UUID) -> Json:
    return {"task_run_id": str(run_id), "wait_s": 60}


@dataclass(slots=True)
class Listener:
    """What a client is told of progress."""

    told: list[tuple[float, float | None, str | None]] = field(
        default_factory=list[tuple[float, float | None, str | None]]
    )
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.told.append((progress, total, message))
        self.heard.set()

    async def until(self, share: float) -> None:
        """Returns once so much was told, which may be after the answer."""
        while self.told[-1][0] < share:
            self.heard.clear()
            await self.heard.wait()


async def told_how_it_goes(client: Client, hub: Hub) -> None:
    run_id, listener = await queued_run(hub), Listener()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        calling = group.create_task(client.call_tool("task_run_get", waiting(run_id), progress_callback=listener))
        await listener.heard.wait()
        assert not calling.done()
        await work_at(hub, run_id)
        await listener.until(1.0)
    body = body_of(calling.result())
    assert (body["outcome"], body["result"]["task_run"]["status"]) == ("done", "completed")
    assert listener.told[0] == (0.0, 1.0, "queued")
    assert listener.told[-1] == (1.0, 1.0, body["result"]["task_run"]["message"])
    shares = [progress for progress, _, _ in listener.told]
    assert shares == sorted(set(shares))


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_of_any_revision_that_asks_is_told_how_it_goes(server: Served, mode: str) -> None:
    async with client_of(server, mode=mode) as client:
        await told_how_it_goes(client, server.hub)


@asynccontextmanager
async def program(firms: Database, mode: str) -> AsyncGenerator[Client]:
    environment = {**external(firms), "GLOW_MODEL_API": "offline"}
    started = StdioServerParameters(command=sys.executable, args=[*GLOW, *EMPLOYEE], env=environment, cwd=ROOT)
    async with Client(stdio_client(started), mode=mode) as opened:
        yield opened


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_over_standard_input_and_output_too(server: Served, firms: Database, mode: str) -> None:
    async with program(firms, mode) as client:
        await told_how_it_goes(client, server.hub)


async def test_a_call_that_tells_nothing_is_answered_as_json_though_its_client_asked(server: Served) -> None:
    token = server.token("employee", "mcp")
    body = modern("tools/call", {"name": "task_list", "arguments": {}})
    body["params"]["_meta"]["progressToken"] = "mine"
    answer = await post(server, body, modern_headers(token, "tools/call", "task_list"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["result"]["structuredContent"]["outcome"] == "done"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_client_that_takes_no_streams_waits_and_is_answered_as_json(server: Served, era: str) -> None:
    token, run_id = server.token("employee", "mcp"), await queued_run(server.hub)
    await work_at(server.hub, run_id)
    params = {"name": "task_run_get", "arguments": waiting(run_id)}
    if era == "modern":
        body, headers = modern("tools/call", params), modern_headers(token, "tools/call", "task_run_get")
    else:
        body, headers = rpc("tools/call", params), headers_of(token, "2025-11-25")
    body["params"].setdefault("_meta", {})["progressToken"] = 7
    answer = await post(server, body, {**headers, "Accept": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["result"]["structuredContent"]["result"]["task_run"]["status"] == "completed"
