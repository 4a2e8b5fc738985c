"""`glow mcp`: the same protocol over standard input and output, in both eras, and nothing else on the output."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from server.database.connection import Connection
from tests.support.command_host import ROOT
from tests.support.database import Database
from tests.support.environment import external
from tests.support.firms import seed_firms

Json = dict[str, Any]

GLOW = ("-c", "import sys; from server.cli.main import main; sys.exit(main())")
EMPLOYEE = ("mcp", "--organization", "firm-1", "--user", "employee@firm-1.example")
SERVICE = ("mcp", "--organization", "firm-1")
INITIALIZE: Json = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "by hand", "version": "1"}},
}
INITIALIZED: Json = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture
async def environment(database: Database, owner_connection: Connection) -> dict[str, str]:
    """An installation whose database is a test's own, with two firms in it."""
    await seed_firms(owner_connection)
    return {**external(database), "GLOW_MODEL_API": "offline"}


@asynccontextmanager
async def client(environment: Mapping[str, str], words: tuple[str, ...], mode: str) -> AsyncGenerator[Client]:
    """The SDK's own client, which starts the program and speaks to it."""
    program = StdioServerParameters(
        command=sys.executable, args=[*GLOW, *words], env={**os.environ, **environment}, cwd=ROOT
    )
    async with Client(stdio_client(program), mode=mode) as opened:
        yield opened


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_the_sdks_client_lists_and_calls_the_tools_as_an_agent_for_whoever_is_named(
    environment: Mapping[str, str], superuser_connection: Connection, mode: str
) -> None:
    async with client(environment, EMPLOYEE, mode) as opened:
        names = [tool.name for tool in (await opened.list_tools()).tools]
        made = await opened.call_tool("task_create", {"title": "Ask for the letter"})
        refused = await opened.call_tool("task_create", {"spare": 1})
        hidden = await opened.call_tool("approval_decide", {"approval_id": "x", "decision": "approve"})
        with pytest.raises(MCPError) as unknown:
            await opened.call_tool("no_such_tool", {})
    assert {"task_create", "knowledge_search"} <= set(names)
    assert not {"approval_decide", "agent_handover"} & set(names)
    outcomes = [cast(Json, result.structured_content)["outcome"] for result in (made, refused, hidden)]
    assert outcomes == ["done", "invalid", "invalid"]
    assert unknown.value.error.code == -32602
    rows = await superuser_connection.fetch(
        "SELECT DISTINCT tool, door, mode, attended, principal_kind FROM activity_events WHERE door = 'mcp' ORDER BY 1"
    )
    assert [row["tool"] for row in rows] == ["approval_decide", "no_such_tool", "task_create"]
    assert {tuple(row)[1:] for row in rows} == {("mcp", "agent", True, "person")}


async def test_without_a_user_it_is_the_service_account_and_unattended(
    environment: Mapping[str, str], superuser_connection: Connection
) -> None:
    async with client(environment, SERVICE, "2026-07-28") as opened:
        await opened.call_tool("task_list", {})
    row = await superuser_connection.fetchrow("SELECT attended, principal_kind FROM activity_events WHERE door = 'mcp'")
    assert row is not None
    assert tuple(row) == (False, "service_account")


@asynccontextmanager
async def program(environment: Mapping[str, str], *words: str) -> AsyncGenerator[Process]:
    """The program with a test at its two ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *GLOW, *(words or EMPLOYEE)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=ROOT,
        env={**os.environ, **environment},
        limit=2**24,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ask(process: Process, line: bytes) -> Json:
    """Send a line, and read the next one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + b"\n")
    return json.loads(await asyncio.wait_for(process.stdout.readline(), 60))


async def hello(process: Process) -> None:
    assert "result" in await ask(process, json.dumps(INITIALIZE).encode())
    assert process.stdin is not None
    process.stdin.write(json.dumps(INITIALIZED).encode() + b"\n")


async def ended(process: Process) -> tuple[int, bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = await asyncio.wait_for(asyncio.gather(process.stdout.read(), process.stderr.read()), 60)
    return await process.wait(), out, err


async def test_it_ends_when_the_client_closes_its_end_and_says_nothing_of_its_own(
    environment: Mapping[str, str],
) -> None:
    async with program(environment) as process:
        await hello(process)
        assert process.stdin is not None
        process.stdin.close()
        assert await ended(process) == (0, b"", b"")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_while_it_waits_for_a_line(environment: Mapping[str, str], sent: signal.Signals) -> None:
    async with program(environment) as process:
        await hello(process)
        process.send_signal(sent)
        assert await ended(process) == (0, b"", b"")


ODD = (
    b"this is no JSON",
    b"[]",
    b'{"jsonrpc": "2.0", "id": null, "method": "ping"}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "arguments": {"a": NaN}}}',
    b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    b"\xff\xfe",
    b'{"jsonrpc": "2.0", "id": 1, "method": "x' + b"x" * 5_000_000 + b'"}',
)


async def test_lines_that_are_no_message_are_answered_and_the_next_one_is_served(
    environment: Mapping[str, str],
) -> None:
    async with program(environment) as process:
        await hello(process)
        for line in ODD:
            answer = await ask(process, line)
            assert (answer["id"], answer["error"]["code"] in (-32700, -32600)) == (None, True), line[:80]
        assert (await ask(process, b'{"jsonrpc":"2.0","id":9,"method":"ping"}'))["id"] == 9


async def test_an_unknown_member_is_told_on_standard_error(environment: Mapping[str, str]) -> None:
    async with program(environment, "mcp", "--organization", "firm-2", "--user", "employee@firm-1.example") as process:
        code, out, err = await ended(process)
    assert (code, out) == (1, b"")
    assert b"there is no organization 'firm-2' with a member employee@firm-1.example" in err
