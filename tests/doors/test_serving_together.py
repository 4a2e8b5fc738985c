"""`glow serve --workers N`: several server processes behind one address, whatever is killed or told to go."""

import asyncio
import json
import shutil
import signal
import tempfile
import threading
from asyncio import to_thread
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import psutil
import pytest
from pydantic import SecretStr

from domain.kernel import PrincipalId, utc_now
from server.database.connection import Connection
from server.tokens import Tokens, audiences
from tests.doors.test_cli_serving import Glow, glow
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL
from tests.support.environment import JWT_SECRET, external, unused_port
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Turn
from tests.support.firms import FIRM_A, seed_firms
from tests.support.works import lives

WITHIN_S = 240
"""Three whole servers may be started in that time, on a machine that has much else to do."""
LOOK_S = 0.05
TWO = ("--workers", "2")
GOES_ON_S = 1000
"""How long a model goes on that is never heard to its end."""

pytestmark = pytest.mark.timeout(3 * WITHIN_S)


@contextmanager
def command(folder: Path, settings: Mapping[str, str], *words: str) -> Generator[Glow]:
    """`glow` with these words, and patience."""
    with glow(folder, settings, *words) as running:
        running.patience_s = WITHIN_S
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the embedded server's account can reach, as pytest's own it cannot."""
    made = Path(tempfile.mkdtemp(prefix="glow-together-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return unused_port()


@pytest.fixture
def environment(database: Database, folder: Path) -> dict[str, str]:
    """An installation on a database of its own."""
    return {**external(database), "GLOW_HOME": str(folder / "home"), "GLOW_MODEL_API": "offline"}


def lines(running: Glow, message: str) -> list[Any]:
    """What it has logged so far under that name."""
    told = [json.loads(line) for line in running.output.splitlines() if line.startswith("{")]
    return [each for each in told if each["message"] == message]


def processes(running: Glow) -> dict[int, psutil.Process]:
    """Those that serve together, by their number; the latest of each."""
    latest = {each["process"]: each["pid"] for each in lines(running, "serve.process_started")}
    return {number: psutil.Process(pid) for number, pid in latest.items()}


@contextmanager
def stopped(process: psutil.Process) -> Generator[None]:
    """It stands still for the length of the block."""
    process.suspend()
    wait(lambda: process.status() == psutil.STATUS_STOPPED)
    yield
    process.resume()


def wait(holds: Callable[[], bool]) -> None:
    """Returns once it holds."""

    async def look() -> None:
        async with asyncio.timeout(WITHIN_S):
            while True:
                if holds():
                    return
                await asyncio.sleep(LOOK_S)

    asyncio.run(look())


def answered_by(running: Glow, url: str) -> int:
    """Which process it is that answers."""
    asked = uuid4().hex
    assert httpx.get(f"{url}/health", headers={"X-Request-Id": asked}, timeout=WITHIN_S).status_code == 200
    running.until(asked)
    return int(lines(running, "http.request")[-1]["process"])


class Asking:
    """Somebody who asks again and again, each time by a new connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answered = 0
        self.lost = 0
        self._enough = threading.Event()

    @contextmanager
    def going_on(self) -> Generator[None]:
        """For the length of the block, and until it was answered some times in it."""
        asking = threading.Thread(target=self._ask)
        asking.start()
        try:
            yield
            before = self.answered
            wait(lambda: self.answered > before + 1)
        finally:
            self._enough.set()
            asking.join()

    def _ask(self) -> None:
        while not self._enough.is_set():
            try:
                self.answered += httpx.get(f"{self.url}/health", timeout=WITHIN_S).status_code == 200
            except httpx.TransportError:
                self.lost += 1


def test_each_process_answers_and_one_that_is_killed_is_replaced_while_requests_go_on(
    folder: Path, environment: dict[str, str], port: int
) -> None:
    url = f"http://127.0.0.1:{port}"
    with command(folder, environment, "serve", "--port", str(port), *TWO) as serving:
        serving.until("serve.started")
        both = processes(serving)
        assert both.keys() == {1, 2}
        for silent, speaking in ((1, 2), (2, 1)):
            with stopped(both[silent]):
                assert answered_by(serving, url) == speaking
        ready = httpx.get(f"{url}/readiness", timeout=WITHIN_S).json()
        assert (ready["status"], ready["dependencies"]["worker"]["state"]) == ("ready", "ok")
        asking = Asking(url)
        with asking.going_on():
            both[1].kill()
            serving.until("serve.process_started")
        # What the killed one had taken in, and nothing else.
        assert asking.lost <= 1
        assert processes(serving)[1].pid != both[1].pid
        both = processes(serving)
        for silent, speaking in ((1, 2), (2, 1)):
            # As from a terminal, where Ctrl-C reaches each of them: what is to be done the parent alone says.
            both[speaking].send_signal(signal.SIGINT)
            with stopped(both[silent]):
                assert answered_by(serving, url) == speaking
        assert serving.stop(signal.SIGINT) == 0
        assert "Traceback" not in serving.output
        assert [each["ended"] for each in lines(serving, "serve.process_ended")] == ["signal SIGKILL"]
        assert not lines(serving, "serve.process_killed")


def test_all_of_them_end_with_a_killed_parent_and_with_them_the_embedded_database(folder: Path, port: int) -> None:
    home = folder / "home"
    settings = {"GLOW_HOME": str(home), "GLOW_JWT_SECRET": JWT_SECRET, "GLOW_MODEL_API": "offline"}
    with command(folder, settings, "serve", "--port", str(port), *TWO) as serving:
        serving.until("serve.started")
        left = psutil.Process(serving.process.pid).children(recursive=True)
        assert {each.pid for each in processes(serving).values()} < {each.pid for each in left}
        serving.process.kill()
        # The output ends with the last of those who could write to it.
        serving.ended()
        wait(lambda: not any(map(lives, left)))
    assert not (home / "postgres-18" / "data" / "postmaster.pid").exists()
    with command(folder, settings, "serve", "--port", str(port), *TWO) as again:
        again.until("serve.started")
        assert again.stop(signal.SIGTERM) == 0
        assert "Traceback" not in again.output


def test_what_keeps_a_process_from_serving_is_said_once_and_ends_them_all(
    folder: Path, environment: dict[str, str], port: int
) -> None:
    environment["SYSTEM_CONFIG_PATH"] = str(folder / "missing.yaml")
    with command(folder, environment, "serve", "--port", str(port), *TWO) as serving:
        assert serving.ended() == 1
        assert serving.output.count("missing.yaml") == 1
        assert "Traceback" not in serving.output
        assert not lines(serving, "serve.started")


async def test_told_to_go_each_hands_its_runs_over_and_the_parent_ends_after_them(
    folder: Path,
    environment: dict[str, str],
    port: int,
    owner_connection: Connection,
    superuser_connection: Connection,
) -> None:
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")
    slow = Turn(text="word " * GOES_ON_S, per_token_s=1.0)
    async with FakeOpenAI([slow, *[Turn(text="Done.")] * 9]) as model:
        hosted = {"GLOW_MODEL_API": "chat_completions", "GLOW_MODEL": "fake", "OPENAI_BASE_URL": model.base_url}
        settings = {**environment, **hosted}
        with command(folder, settings, "serve", "--port", str(port), *TWO) as serving:
            await to_thread(serving.until, "serve.started")
            run_id = await begun(f"http://127.0.0.1:{port}", token())
            assert await to_thread(serving.stop, signal.SIGTERM) == 0
            assert len(lines(serving, "runs.handed_over")) == 1
            assert not lines(serving, "serve.process_killed")
            plain = [line for line in serving.output.splitlines() if not line.startswith("{")]
            assert not any("Traceback" in line for line in plain)
        with command(folder, settings, "worker") as working:
            assert await ending(superuser_connection, run_id) == ("completed", 0)
            assert await to_thread(working.stop, signal.SIGTERM) == 0


async def ending(inspector: Connection, run_id: UUID) -> tuple[str, int]:
    """How a run ends, and how many processes were lost with it."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            row = await inspector.fetchrow("SELECT status, lost_carriers FROM runs WHERE run_id = $1", run_id)
            assert row is not None
            if row["status"] != "running":
                return row["status"], row["lost_carriers"]
            await asyncio.sleep(LOOK_S)


def token() -> str:
    """Of somebody at the first firm."""
    tokens = Tokens(
        secret=SecretStr(JWT_SECRET),
        issuer="glow",
        audiences=audiences(None, PUBLIC_URL),
        organization_claim="org",
        clock=utc_now,
    )
    return tokens.sign(PrincipalId(FIRM_A.id("employee")), f"firm-{FIRM_A.n}", "api", timedelta(hours=1))


async def begun(url: str, bearer: str) -> UUID:
    """A run of which somebody was told the first words."""
    headers = {"Authorization": f"Bearer {bearer}", "Accept": "text/event-stream"}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=WITHIN_S) as client,
        client.stream("POST", "/v1/chat", json={"message": "Go."}) as answer,
    ):
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: ") and b"message.delta" in line.encode():
                return UUID(orjson.loads(line.removeprefix("data: "))["run_id"])
    raise AssertionError("nothing was told")
