"""An MCP tools/call: ours, which signs in, decides, acts and records, beside a stock server of the SDK, which acts."""

import asyncio
import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import aiohttp
import orjson
import psutil

from benchmarks.chat_turn import Pass, launched_ours
from benchmarks.load import WrongAnswer, drive
from benchmarks.processes import Launched, cpu_s, launched, machine, pin_this_process
from benchmarks.stage import USERS as PEOPLE
from benchmarks.stage import Home, by_hand_database, fake_model, free_port, fresh_home, postmaster
from benchmarks.tally import Row, Target, table
from server.database.embedded import EmbeddedServer

USERS = 16
PASSES = 5
CALLS = 25
"""Of each user in a pass."""
WARM_UP_CALLS = 15
MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
TITLE = {"title": "Ask for the bank letter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class McpDoor:
    """One tool of one server, called in one revision."""

    url: str
    revision: str
    tool: str
    arguments: Mapping[str, Any]
    sign: bytes
    """What a good answer holds."""
    tokens: Sequence[str] = ()

    async def ask(self, session: aiohttp.ClientSession, user: int, message: str) -> None:
        """One call, read to its end.

        Raises  WrongAnswer.
        """
        async with session.post(f"{self.url}/mcp", data=self._body(), headers=self._headers(user)) as response:
            answer = await response.read()
        if response.status != 200 or self.sign not in answer:
            raise WrongAnswer(f"{self.url} answered {response.status}: {answer[:2000].decode(errors='replace')}")

    def _body(self) -> bytes:
        params: dict[str, Any] = {"name": self.tool, "arguments": self.arguments}
        if self.revision == MODERN:
            prefix = "io.modelcontextprotocol/"
            params["_meta"] = {f"{prefix}protocolVersion": MODERN, f"{prefix}clientCapabilities": {}}
        return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})

    def _headers(self, user: int) -> dict[str, str]:
        sent = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": self.revision,
        }
        if self.revision == MODERN:
            sent |= {"Mcp-Method": "tools/call", "Mcp-Name": self.tool}
        if self.tokens:
            sent["Authorization"] = f"Bearer {self.tokens[user % len(self.tokens)]}"
        return sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A kind of call at a server that runs."""

    name: str
    door: McpDoor
    process: psutil.Process


Passes = Mapping[str, list[Pass]]


def main() -> None:
    """Measure and print."""
    pinned = pin_this_process()
    print(f"\nmcp_call on {machine()}{'' if pinned else '; NOT PINNED: there are no two cores to part'}", flush=True)
    for title, rows in measure():
        print(f"\n{table(title, rows)}", flush=True)


def measure() -> Iterator[tuple[str, list[Row]]]:
    """The benchmark's tables, each as soon as it is there."""
    with fresh_home() as home, home.database() as server, fake_model() as model_url, ExitStack() as stack:
        ours = stack.enter_context(launched_ours(home, model_url))
        stock = stack.enter_context(_launched_stock(home, by_hand_database(server)))
        for revision in (MODERN, HANDSHAKE):
            passes = _interleaved(_contenders(home, ours, stock, revision), server)
            yield f"An MCP call, revision {revision}, {USERS} users", _rows(passes, targets=revision == MODERN)


@contextmanager
def _launched_stock(home: Home, database_url: str) -> Generator[Launched]:
    port = free_port()
    app = ("-m", "uvicorn", "benchmarks.floors.stock_mcp:app", "--port", str(port), "--no-access-log")
    told = {"DATABASE_URL": database_url, "PYTHONPATH": os.pathsep.join(sys.path)}
    with launched((sys.executable, *app), told, port, home.log("stock-mcp")) as running:
        yield running


def _contenders(home: Home, ours: Launched, stock: Launched, revision: str) -> list[Contender]:
    """Reading and writing, at ours and at the stock server."""
    tokens = [home.token(person, "mcp") for person in range(PEOPLE)]

    def at_ours(name: str, tool: str, arguments: Mapping[str, Any]) -> Contender:
        sign = b'"outcome":"done"'
        door = McpDoor(url=ours.url, revision=revision, tool=tool, arguments=arguments, sign=sign, tokens=tokens)
        return Contender(name=name, door=door, process=ours.process)

    def at_stock(name: str, tool: str) -> Contender:
        door = McpDoor(url=stock.url, revision=revision, tool=tool, arguments=TITLE, sign=b"bank letter")
        return Contender(name=name, door=door, process=stock.process)

    return [
        at_ours("read", "task_list", {"limit": 1}),
        at_stock("echo", "echo"),
        at_ours("write", "task_create", TITLE),
        at_stock("insert", "note_add"),
    ]


def _interleaved(contenders: Sequence[Contender], server: EmbeddedServer) -> Passes:
    """Pass after pass over all contenders, so that what else the machine does falls on each alike."""
    measured: dict[str, list[Pass]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        asyncio.run(drive(contender.door, "", users=USERS, turns=WARM_UP_CALLS))
    for _ in range(PASSES):
        for contender in contenders:
            measured[contender.name].append(_pass(contender, server))
    return measured


def _pass(contender: Contender, server: EmbeddedServer) -> Pass:
    postgres = postmaster(server)
    server_before, postgres_before = cpu_s(contender.process), cpu_s(postgres)
    taken = asyncio.run(drive(contender.door, "", users=USERS, turns=CALLS))
    count = len(taken)
    return Pass(
        server_ms=(cpu_s(contender.process) - server_before) * 1000 / count,
        postgres_ms=(cpu_s(postgres) - postgres_before) * 1000 / count,
        turns=taken,
    )


def _rows(passes: Passes, *, targets: bool) -> list[Row]:
    def server_ms(name: str) -> float:
        return median(each.server_ms for each in passes[name])

    def postgres_ms(name: str) -> float:
        return median(each.postgres_ms for each in passes[name])

    reading, writing = Target(of="ratio", must=1.5, aim=0.35), Target(of="ratio", must=1.4, aim=0.75)
    return [
        Row(
            name="reading: server CPU, beside a stock echo",
            unit="ms a call",
            ours=server_ms("read"),
            floor=server_ms("echo"),
            target=reading if targets else None,
        ),
        Row(
            name="writing: server CPU, beside a stock insert",
            unit="ms a call",
            ours=server_ms("write"),
            floor=server_ms("insert"),
            target=writing if targets else None,
        ),
        Row(name="reading: PostgreSQL's CPU", unit="ms a call", ours=postgres_ms("read"), floor=postgres_ms("echo")),
        Row(name="writing: PostgreSQL's CPU", unit="ms a call", ours=postgres_ms("write"), floor=postgres_ms("insert")),
    ]


if __name__ == "__main__":
    main()
