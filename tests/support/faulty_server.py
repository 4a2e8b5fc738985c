"""Real server processes that kill themselves, as by `kill -9`, at one step of a call; for tests alone.

A nursery has imported everything and forks a server for each request on its standard input: {"step", "nth", "works"},
`works` telling whether its worker runs. The server answers with its port; the nursery says how it ended. Only this
program arms the gate's fault hook, by what it is told.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import orjson
import pytest

from agent.model import ModelRequest, ToolCall, ToolResultMessage, UserMessage
from agent.run_options import RunOptions
from domain.kernel import PrincipalId, utc_now
from server.hub import HubOptions, open_hub
from server.logins import DatabaseUrls
from server.logs import configure_logs
from server.serve import ServeOptions, serve
from server.tokens import Audience, Tokens, audiences
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, settings_of_tests
from tests.support.firms import FIRM_A
from tests.support.scripted_model import ScriptedModel, Turn, asks, says
from tools.gate import Fault

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
SPEAKING = "speaking"
"""The step at which it is the model's turn, beside those of the gate."""
RUNS = RunOptions(heartbeat=timedelta(milliseconds=200), stale_after=timedelta(seconds=1))
"""Impatient, so that a test need not wait long for a run to be found without a process."""


# From the outside -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyServer:
    """A running server process."""

    url: str
    nursery: "Nursery"

    def client(self, who: str = "employee", audience: Audience = "api") -> httpx.AsyncClient:
        """A client with a token of one of the seeded firm's people."""
        token = _tokens().sign(PrincipalId(FIRM_A.id(who)), f"firm-{FIRM_A.n}", audience, timedelta(hours=1))
        return httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    async def ended(self) -> int:
        """The signal that ended the process; waits for it."""
        return cast(int, (await self.nursery.line())["signal"])


@dataclass(frozen=True, slots=True)
class Nursery:
    """Starts servers, one at a time."""

    process: asyncio.subprocess.Process

    @asynccontextmanager
    async def server(
        self, step: str | None = None, nth: int = 1, *, works: bool = False
    ) -> AsyncGenerator[FaultyServer]:
        """A server that is killed at the nth time it comes to `step`; one that is still alive is killed at the end.

        `works`: its worker takes jobs.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(orjson.dumps({"step": step, "nth": nth, "works": works}) + b"\n")
        born = await self.line()
        try:
            yield FaultyServer(url=f"http://127.0.0.1:{born['port']}", nursery=self)
        except BaseException:
            # The nursery waits for it: a test that fails is not to wait with it.
            with suppress(ProcessLookupError):
                os.kill(born["pid"], signal.SIGKILL)
            raise
        if step is None:
            os.kill(born["pid"], signal.SIGKILL)
            await self.line()

    async def line(self) -> Json:
        """What it says next."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), timeout=30)
        assert line, "the nursery has ended"
        return cast(Json, orjson.loads(line))


@asynccontextmanager
async def nursery(database: Database) -> AsyncGenerator[Nursery]:
    """Servers on this database, for the length of the block."""
    urls = database.urls()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.faulty_server", urls.app, urls.recorder, urls.service),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield Nursery(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def killed_at(servers: Nursery, step: str, path: str, body: Json, nth: int = 1) -> None:
    """Send a request to a server that dies at this step, and see it die without an answer."""
    await killed_asking(servers, step, lambda client: client.post(path, json=body), nth)


async def killed_asking(
    servers: Nursery, step: str, ask: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]], nth: int = 1
) -> None:
    """The same, whatever is asked."""
    async with servers.server(step, nth) as server, server.client() as client:
        with pytest.raises(httpx.TransportError):
            await ask(client)
        assert await server.ended() == signal.SIGKILL, step


async def killed_working(servers: Nursery, step: str) -> None:
    """Start a server whose worker dies at this step, without being asked for anything."""
    async with servers.server(step, works=True) as server:
        assert await server.ended() == signal.SIGKILL, step


async def posted(server: FaultyServer, path: str, body: Json) -> httpx.Response:
    """The answer of a server that lives."""
    async with server.client() as client:
        return await client.post(path, json=body)


def call_of(tool: str) -> str:
    """Where a tool is called by hand."""
    return f"/v1/tools/{tool}/call"


def _tokens() -> Tokens:
    return Tokens(
        secret=settings_of_tests().signing_secret(),
        issuer="glow",
        audiences=audiences(None, PUBLIC_URL),
        organization_claim="org",
        clock=utc_now,
    )


# Within ---------------------------------------------------------------------------------------------------------------


def _breed(urls: DatabaseUrls, answers: int) -> None:
    """Fork a server for each request, and say how it ended; one after the other."""
    for line in sys.stdin:
        asked = cast(Json, json.loads(line))
        child = os.fork()
        if child == 0:
            fault = _fatal(asked["step"], asked["nth"])
            asyncio.run(_serve(urls, fault, lambda words: _say(answers, words), runs_worker=asked["works"]))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        _say(answers, {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0})


def _fatal(step: str | None, nth: int) -> Fault:
    """The hook: at the nth time of this step the process is gone, without a word."""
    left = nth

    async def fault(reached: str) -> None:
        nonlocal left
        if reached == step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return fault


async def _serve(urls: DatabaseUrls, fault: Fault, say: Callable[[Json], None], *, runs_worker: bool) -> None:
    async def speak() -> None:
        await fault(SPEAKING)

    options = HubOptions(fault=fault, model=ScriptedModel(brain=_obedient, pace=speak), run_options=RUNS)
    async with open_hub(settings_of_tests(), urls, PUBLIC_URL, options) as hub:
        await serve(
            hub,
            ServeOptions(host="127.0.0.1", port=0, runs_worker=runs_worker),
            asyncio.Event(),
            started=lambda port: say({"port": port, "pid": os.getpid()}),
        )


def _obedient(request: ModelRequest) -> Turn:
    """Makes the calls that a message lists as JSON; any other message it answers in words."""
    message = next(each.text for each in reversed(request.messages) if isinstance(each, UserMessage))
    if isinstance(request.messages[-1], ToolResultMessage) or not message.startswith("["):
        return says("I am ", "here.")
    asked = cast("list[list[Any]]", orjson.loads(message))
    return asks(*(ToolCall(provider_id="", name=tool, arguments=orjson.dumps(given).decode()) for tool, given in asked))


def _say(answers: int, words: Json) -> None:
    os.write(answers, orjson.dumps(words) + b"\n")


if __name__ == "__main__":
    app, recorder, service = sys.argv[1:]
    configure_logs(level="ERROR")
    # What anything else prints is not an answer.
    told = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _breed(DatabaseUrls(app=app, recorder=recorder, service=service), told)
