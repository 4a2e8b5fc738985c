"""Servers and workers as processes of their own on one database, to be killed, stopped and told to go.

A process that has imported everything forks each of them, so that one costs a few milliseconds.
"""

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import orjson
from pydantic import SecretStr

from agent.run_options import RunOptions
from domain.kernel import PrincipalId, utc_now
from server.hub import Hub, HubOptions, open_hub
from server.logins import DatabaseUrls
from server.logs import configure_logs
from server.serve import ServeOptions, serve
from server.settings import Settings
from server.tokens import Audience, Tokens, audiences
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, settings_of_tests
from tests.support.faulty_server import ROOT
from tests.support.firms import FIRM_A

Json = dict[str, Any]
Role = Literal["server", "worker"]

RUNS = RunOptions(
    heartbeat=timedelta(milliseconds=200),
    stale_after=timedelta(milliseconds=1200),
    grace=timedelta(milliseconds=300),
    most_lost=50,
)
"""Impatient, so that a test need not wait; on a busy machine a run may be taken from a living process, for nothing."""
SAYS_WITHIN_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A running process; `port` is a server's."""

    pid: int
    port: int = 0

    def client(self, who: str = "employee", audience: Audience = "api") -> httpx.AsyncClient:
        """A client with a token of one of the seeded firm's people."""
        token = _tokens().sign(PrincipalId(FIRM_A.id(who)), f"firm-{FIRM_A.n}", audience, timedelta(hours=1))
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class Replicas:
    """Starts processes."""

    process: asyncio.subprocess.Process
    model_url: str

    @asynccontextmanager
    async def running(
        self,
        role: Role = "server",
        *,
        works: bool = False,
        manifests: Path | None = None,
        more: Mapping[str, str | int] | None = None,
    ) -> AsyncGenerator[Replica]:
        """A process that is killed at the end, should it still be alive.

        `works`: a server that takes jobs too. `manifests`: others than the project's. `more`: of the settings.
        """
        assert self.process.stdin is not None
        asked: Json = {"role": role, "works": works, "model_url": self.model_url}
        asked["manifests"] = None if manifests is None else str(manifests)
        asked["more"] = dict(more or {})
        self.process.stdin.write(orjson.dumps(asked) + b"\n")
        born = await self._line()
        replica = Replica(pid=born["pid"], port=born["port"])
        try:
            yield replica
        finally:
            with suppress(ProcessLookupError):
                replica.signal(signal.SIGKILL)

    async def _line(self) -> Json:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), timeout=SAYS_WITHIN_S)
        assert line, "the process that forks them has ended"
        return cast(Json, orjson.loads(line))


@asynccontextmanager
async def replicas(database: Database, model_url: str) -> AsyncGenerator[Replicas]:
    """Processes on this database, which ask the model there, for the length of the block."""
    urls = database.urls()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.replicas", urls.app, urls.recorder, urls.service),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        # A group of their own, which ends as one.
        start_new_session=True,
    )
    try:
        yield Replicas(process, model_url)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


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
    """Fork a process for each request; how it ends is nobody's to wait for.

    What is left at the end goes too: a process whose first word came too late to be heard is killed by nobody else, and
    would hold the pipe on which this one's end is waited for.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        asked = cast(Json, orjson.loads(line))
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asyncio.run(_run(urls, asked, lambda port: _say(answers, port)))
            os._exit(0)
    os.killpg(os.getpgrp(), signal.SIGKILL)


async def _run(urls: DatabaseUrls, asked: Json, say: Callable[[int], None]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    manifests = None if asked["manifests"] is None else Path(asked["manifests"])
    options = HubOptions(run_options=RUNS, manifests=manifests)
    async with open_hub(_settings(asked["model_url"], asked["more"]), urls, PUBLIC_URL, options) as hub:
        if asked["role"] == "worker":
            await _work(hub, stop, say)
        else:
            await serve(hub, ServeOptions(host="127.0.0.1", port=0, runs_worker=asked["works"]), stop, say)


async def _work(hub: Hub, stop: asyncio.Event, say: Callable[[int], None]) -> None:
    working = asyncio.create_task(hub.worker.run())
    say(0)
    await stop.wait()
    working.cancel()
    await asyncio.wait([working])


def _settings(model_url: str, more: Json) -> Settings:
    config = {"system_config_path": Path(more["system_config_path"])} if "system_config_path" in more else {}
    return settings_of_tests().model_copy(
        update={
            "model_api": "chat_completions",
            "model": "fake-1",
            "openai_base_url": model_url,
            "openai_api_key": SecretStr("sk-of-tests"),
            **more,
            **config,
        }
    )


def _say(answers: int, port: int) -> None:
    os.write(answers, orjson.dumps({"pid": os.getpid(), "port": port}) + b"\n")


if __name__ == "__main__":
    app, recorder, service = sys.argv[1:]
    configure_logs(level="ERROR")
    # Loaded once, for all that are forked.
    importlib.import_module("openai")
    # What anything else prints is not an answer.
    told = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _breed(DatabaseUrls(app=app, recorder=recorder, service=service), told)
