"""The two ways in at a terminal, on a hub that is open already: `glow chat`'s own session, and MCP over two pipes."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import UUID

import orjson

from domain.kernel import Door, Mode
from server.cli.chat.session import Session, nobody
from server.cli.chat.talk import Talk
from server.cli.opening import acting
from server.hub import Hub
from server.mcp.stdio import serve_stdio
from tests.support.driven_doors import Asked
from tests.support.parity import Told, Who
from tests.support.site import SLUG
from tests.support.told import told_of_envelope, told_of_events

Json = dict[str, Any]

INITIALIZE: Json = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "by hand", "version": "1"},
}


@dataclass
class Kept:
    """Satisfies View: keeps what it was shown."""

    events: list[Json] = field(default_factory=list[Json])

    def show(self, text: str, event: Json) -> None:
        assert orjson.loads(text) == event
        self.events.append(event)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class CliChat:
    """What a person says in `glow chat`, answered by the obedient model, which the hub must have been opened with."""

    hub: Hub
    name: str = "cli chat"
    door: Door = "cli"
    mode: Mode = "agent"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        kept = Kept()
        talk = Talk(self.hub, await acting(self.hub, SLUG, who.email))
        session = Session(talk, kept, nobody, for_machines=True)
        assert await session.say(orjson.dumps(calls).decode())
        return told_of_events(kept.events)


@dataclass(frozen=True, slots=True)
class McpStdio:
    """The server behind `glow mcp`, and a client of the handshake's era written by hand, at the ends of two pipes."""

    hub: Hub
    name: str = "mcp stdio"
    door: Door = "mcp"
    mode: Mode = "agent"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        principal = replace(await acting(self.hub, SLUG, who.email), mode="agent", door="mcp")
        to_server, from_client = os.pipe()
        to_client, from_server = os.pipe()
        async with asyncio.TaskGroup() as group:
            group.create_task(serve_stdio(self.hub, principal, stdin=to_server, stdout=from_server))
            async with _Client.on(from_client, to_client) as client:
                await client.ask("initialize", INITIALIZE)
                client.tell("notifications/initialized")
                told = [await self._call(client, tool, arguments) for tool, arguments in calls]
        for descriptor in (to_server, from_server):
            os.close(descriptor)
        return told

    async def _call(self, client: "_Client", tool: str, arguments: Json) -> Told:
        answer = await client.ask("tools/call", {"name": tool, "arguments": arguments})
        if "error" in answer:
            return Told(call_id=UUID(answer["error"]["data"]["call_id"]), outcome="invalid")
        return told_of_envelope(cast(Json, answer["result"]["structuredContent"]))


class _Client:
    """Speaks JSON-RPC, a line a message."""

    def __init__(self, wire: int, lines: asyncio.StreamReader) -> None:
        self._wire = wire
        self._lines = lines
        self._asked = 0

    @classmethod
    @asynccontextmanager
    async def on(cls, wire: int, answers: int) -> AsyncGenerator["_Client"]:
        """A client at the ends of two pipes; closing its end ends the server."""
        reader = asyncio.StreamReader(limit=2**24)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(answers, "rb"))
        try:
            yield cls(wire, reader)
        finally:
            os.close(wire)
            transport.close()

    def tell(self, method: str, **more: object) -> None:
        """Send a message; a notification when it has no id."""
        os.write(self._wire, orjson.dumps({"jsonrpc": "2.0", "method": method, **more}) + b"\n")

    async def ask(self, method: str, params: Json) -> Json:
        """Send a request, and wait for its answer."""
        self._asked += 1
        self.tell(method, id=self._asked, params=params)
        while True:
            answer = cast(Json, orjson.loads(await asyncio.wait_for(self._lines.readline(), 60)))
            if answer.get("id") == self._asked:
                return answer
