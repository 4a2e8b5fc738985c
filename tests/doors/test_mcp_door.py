"""The MCP door as a client of the SDK meets it, in the modern revision and in the handshake of the older ones."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
import jsonschema_rs
import pytest
import pytest_asyncio
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, TextContent

from domain.kernel import Role
from server.database.embedded import EmbeddedServer
from tests.support.database import Database
from tests.support.firms import FIRM_A, FIRM_B
from tests.support.served import Served, firms_database, served

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]

Json = dict[str, Any]
MODES = ("2026-07-28", "auto", "legacy")
"""As a client pins the modern revision, finds it out, or shakes hands."""

FIRST_TOOLS = {
    "analytics_report",
    "autonomy_query",
    "budget_query",
    "call_get",
    "knowledge_read",
    "knowledge_search",
    "release_check",
    "schedule_list",
    "task_create",
    "task_get",
    "task_list",
    "task_run",
    "task_run_cancel",
    "task_run_get",
    "task_update",
}


@pytest.fixture(scope="module")
def firms(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with firms_database(cluster, template) as database:
        yield database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(firms: Database) -> AsyncIterator[Served]:
    async with served(firms) as running:
        yield running


@asynccontextmanager
async def client_of(server: Served, who: str = "employee", mode: str = "auto") -> AsyncGenerator[Client]:
    """A client of the SDK, signed in as one of the firm's people."""
    headers = {"Authorization": f"Bearer {server.token(who, 'mcp')}"}
    async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


def body_of(result: CallToolResult) -> Json:
    """The envelope, which stands twice in a result."""
    text = result.content[0]
    assert isinstance(text, TextContent)
    assert json.loads(text.text) == result.structured_content
    return cast(Json, result.structured_content)


async def recorded(server: Served, call_id: str) -> tuple[str, str, str, str | None]:
    """What the record says of a call: the kind of its newest event, door, mode, error code."""
    headers = {"Authorization": f"Bearer {server.token('partner')}"}
    async with httpx2.AsyncClient(headers=headers) as http:
        call = (await http.get(f"{server.url}/v1/activity/{call_id}")).json()
    return call["events"][-1]["type"], call["door"], call["mode"], call.get("error_code")


@pytest.mark.parametrize("mode", MODES)
async def test_client_of_any_revision_finds_the_tools_of_this_door(server: Served, mode: str) -> None:
    async with client_of(server, mode=mode) as client:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == FIRST_TOOLS
        assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")


async def test_listed_tool_says_what_it_takes_what_it_gives_and_what_it_may_do(server: Served) -> None:
    async with client_of(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    found = tools["task_create"]
    manifest = server.hub.rules.registry.find("task_create")
    assert manifest is not None
    assert found.title == manifest.manifest.title
    assert found.input_schema == manifest.manifest.arguments
    assert found.output_schema is not None
    assert found.output_schema["required"] == ["outcome", "call_id"]
    assert found.output_schema["properties"]["result"]["properties"].keys() == {"task"}
    assert found.annotations is not None
    assert (found.annotations.read_only_hint, found.annotations.destructive_hint) == (False, False)
    reading = tools["knowledge_search"].annotations
    assert reading is not None
    assert (reading.read_only_hint, reading.idempotent_hint, reading.destructive_hint) == (True, True, False)


async def test_list_shows_only_what_the_role_may_call(server: Served) -> None:
    async with client_of(server, Role.READONLY) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert "task_list" in names
    assert not names & {"task_create", "task_run", "analytics_report"}


async def test_list_is_the_callers_own_and_kept_by_nobody(server: Served) -> None:
    async with client_of(server, mode="2026-07-28") as client:
        listed = await client.list_tools()
    assert listed.cache_scope == "private"
    assert listed.ttl_ms == 0
    assert listed.next_cursor is None


def arguments_of(tool: str, task_id: str, task_run_id: str) -> Json:
    """Arguments with which the seeded firm's employee is answered."""
    thing = str(FIRM_A.id("thing"))
    return {
        "analytics_report": {"report": "tool_use"},
        "autonomy_query": {},
        "budget_query": {},
        "call_get": {"call_id": thing},
        "knowledge_read": {"document_id": thing},
        "knowledge_search": {"query": "engagement letter"},
        "release_check": {"control": "plan_freeze", "engagement_id": str(FIRM_A.id("engagement"))},
        "schedule_list": {},
        "task_create": {"title": "Refresh the analytics", "kind": "refresh_analytics"},
        "task_get": {"task_id": task_id},
        "task_list": {},
        "task_run": {"task_id": task_id},
        "task_run_cancel": {"task_run_id": task_run_id},
        "task_run_get": {"task_run_id": task_run_id},
        "task_update": {"task_id": task_id, "status": "done"},
    }[tool]


@pytest.mark.parametrize("mode", MODES)
async def test_every_tool_is_called_and_answers_by_its_schema(server: Served, mode: str) -> None:
    task_id = task_run_id = ""
    async with client_of(server, mode=mode) as client:
        # By name: the task that is made is the one that is run, and its run the one that is asked about.
        for tool in sorted((await client.list_tools()).tools, key=lambda tool: tool.name):
            result = await client.call_tool(tool.name, arguments_of(tool.name, task_id, task_run_id))
            body = body_of(result)
            assert (body["outcome"], result.is_error) == ("done", False), (tool.name, body)
            assert tool.output_schema is not None
            jsonschema_rs.validate(tool.output_schema, body)
            assert (await recorded(server, body["call_id"]))[1:3] == ("mcp", "agent")
            if tool.name == "task_create":
                task_id = body["result"]["task"]["task_id"]
            if tool.name.startswith("task_run"):
                assert body["result"]["task_run"]["task_id"] == task_id
                task_run_id = body["result"]["task_run"]["task_run_id"]


@pytest.mark.parametrize("mode", MODES)
async def test_arguments_that_the_schema_does_not_know_are_refused_and_never_dropped(server: Served, mode: str) -> None:
    async with client_of(server, mode=mode) as client:
        result = await client.call_tool("task_list", {"stauts": "open"})
    body = body_of(result)
    assert result.is_error
    assert (body["outcome"], body["error"]["code"]) == ("invalid", "invalid_arguments")
    assert await recorded(server, body["call_id"]) == ("tool.invalid", "mcp", "agent", "invalid_arguments")


@pytest.mark.parametrize("mode", MODES)
async def test_unknown_tool_is_an_error_of_the_protocol_and_in_the_record(server: Served, mode: str) -> None:
    async with client_of(server, mode=mode) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("make_coffee", {"strength": 3})
    assert refused.value.code == -32602
    assert await recorded(server, refused.value.data["call_id"]) == ("tool.invalid", "mcp", "agent", "unknown_tool")


@pytest.mark.parametrize("tool", ["approval_decide", "document_upload"])
async def test_act_of_another_door_is_denied_and_recorded(server: Served, tool: str) -> None:
    arguments: Json = {"approval_id": str(FIRM_A.id("thing")), "decision": "approve"}
    if tool == "document_upload":
        arguments = {"title": "A", "file_name": "a.txt", "content_sha256": "0" * 64, "size_bytes": 1}
    async with client_of(server, "partner") as client:
        body = body_of(await client.call_tool(tool, arguments))
    assert body["outcome"] == "denied"
    assert body["verdict"]["decision"] == "deny"
    assert (await recorded(server, body["call_id"]))[0] == "tool.denied"


async def test_role_too_low_is_denied_with_reasons(server: Served) -> None:
    async with client_of(server, Role.READONLY) as client:
        result = await client.call_tool("task_create", {"title": "Not mine to make"})
    body = body_of(result)
    assert result.is_error
    assert body["outcome"] == "denied"
    assert body["verdict"]["reasons"]


@pytest.mark.parametrize("mode", MODES)
async def test_waiting_call_is_no_error_and_says_where_a_person_decides(server: Served, mode: str) -> None:
    async with client_of(server, Role.MANAGER, mode) as client:
        result = await client.call_tool("task_create", {"title": "Ask first"})
    body = body_of(result)
    assert not result.is_error
    assert body["outcome"] == "waiting"
    assert body["approval"]["url"] == f"{server.url}/#approval={body['approval']['id']}"
    async with client_of(server, Role.MANAGER, mode) as client:
        followed = body_of(await client.call_tool("call_get", {"call_id": body["call_id"]}))
    assert followed["result"]["outcome"] == "waiting"


async def test_another_firms_things_do_not_exist_here(server: Served) -> None:
    async with client_of(server) as client:
        body = body_of(await client.call_tool("task_get", {"task_id": str(FIRM_B.id("thing"))}))
    assert (body["outcome"], body["error"]["code"]) == ("invalid", "task_not_found")
