"""`glow serve`, `glow worker` and `glow demo` as processes: what they print, whom they serve, and how they end."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.kernel import utc_now
from domain.resources import resource_folder
from server.database.connection import connected
from server.demo.loader import found_demo
from server.logins import Login
from tests.support.database import Database, run_apart
from tests.support.environment import external, names_of_settings, unused_port

GLOW = """
import signal, sys
# A shell that runs the tests in the background has its children ignore Ctrl-C; a terminal's do not.
signal.signal(signal.SIGINT, signal.default_int_handler)
from server.cli.main import main
sys.exit(main())
"""
QUESTION = "When must the engagement letter be renewed, and who signs it?"
PATIENCE_S = 90.0
"""Longer than a supervisor waits for its processes: what it says of one that is stuck is to be read."""


class Glow:
    """One running `glow` command."""

    def __init__(self, process: subprocess.Popen[str], patience_s: float = PATIENCE_S) -> None:
        self.process = process
        self.patience_s = patience_s
        """How long it may take to end."""
        self.output = ""
        """What it printed so far, errors and logs too."""

    def until(self, words: str) -> str:
        """The output once a line holds these words; a command that does not say them in time is killed."""
        assert self.process.stdout is not None
        late = threading.Timer(PATIENCE_S, self.process.kill)
        late.start()
        try:
            for line in self.process.stdout:
                self.output += line
                if words in line:
                    return self.output
        finally:
            late.cancel()
        raise AssertionError(self.output)

    def stop(self, number: signal.Signals) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Its exit code, and all that it printed in `output`."""
        rest, _ = self.process.communicate(timeout=self.patience_s)
        self.output += rest
        return self.process.returncode


@contextmanager
def glow(folder: Path, environment: Mapping[str, str], *words: str) -> Generator[Glow]:
    """The command, running in a folder without `.env`; killed at the end if it still runs."""
    kept = {name: value for name, value in os.environ.items() if name not in names_of_settings()}
    with subprocess.Popen(
        [sys.executable, "-c", GLOW, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(resource_folder("manifests").parent), **environment},
    ) as process:
        try:
            yield Glow(process)
        finally:
            process.kill()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the embedded server's account can reach, as pytest's own it cannot."""
    made = Path(tempfile.mkdtemp(prefix="glow-cli-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return unused_port()


@pytest.fixture
def environment(database: Database, folder: Path) -> dict[str, str]:
    """An installation over a database with the demo firm's people."""

    async def found() -> None:
        async with connected(database.dsn(Login.OWNER)) as owner:
            await found_demo(owner, resource_folder("demo"), utc_now())

    run_apart(found())
    return {**external(database), "GLOW_HOME": str(folder / "home")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_and_ends_well_on_a_signal(
    folder: Path, environment: dict[str, str], port: int, number: signal.Signals
) -> None:
    with glow(folder, environment, "serve", "--port", str(port), "--no-worker") as serving:
        serving.until("serve.started")
        ready = httpx.get(f"http://127.0.0.1:{port}/readiness").json()
        assert (ready["status"], ready["dependencies"]["worker"]["state"]) == ("ready", "unavailable")
        assert serving.stop(number) == 0
        assert "Traceback" not in serving.output
        assert all(json.loads(line)["service"] == "glow" for line in serving.output.splitlines())


def test_serve_without_a_secret_stops_and_says_what_to_set(
    folder: Path, environment: dict[str, str], port: int
) -> None:
    del environment["GLOW_JWT_SECRET"]
    with glow(folder, environment, "serve", "--port", str(port)) as serving:
        assert serving.ended() == 1
        assert "GLOW_JWT_SECRET: set it" in serving.output
        assert "Traceback" not in serving.output


def test_serve_without_any_setting_leaves_nothing_on_the_disk(folder: Path, port: int) -> None:
    home = folder / "home"
    with glow(folder, {"GLOW_HOME": str(home)}, "serve", "--port", str(port)) as serving:
        assert serving.ended() == 1
        assert "GLOW_JWT_SECRET: set it" in serving.output
    assert not home.exists()


def test_a_worker_alone_runs_what_others_asked_for(folder: Path, environment: dict[str, str]) -> None:
    acme = ("--organization", "acme-audit", "--user", "manager@acme.example")
    task = _json(folder, environment, "tools", "call", "task_list", *acme, "--arguments", '{"limit": 100}')
    refresh = next(each for each in task["items"] if each.get("kind") == "refresh_analytics")
    arguments = json.dumps({"task_id": refresh["task_id"]})
    run = _json(folder, environment, "tools", "call", "task_run", *acme, "--arguments", arguments)["task_run"]
    asked = json.dumps({"task_run_id": run["task_run_id"]})
    with glow(folder, environment, "worker") as working:
        while run["status"] not in {"completed", "failed"}:
            run = _json(folder, environment, "tools", "call", "task_run_get", *acme, "--arguments", asked)["task_run"]
        assert run["status"] == "completed"
        assert working.stop(signal.SIGTERM) == 0
        assert "Traceback" not in working.output


def test_the_demo_is_whole_after_a_kill_keeps_its_data_and_shares_its_database(folder: Path, port: int) -> None:
    home = folder / "home"
    url = f"http://127.0.0.1:{port}"
    environment = {"GLOW_HOME": str(home)}
    with glow(folder, environment, "demo", "--port", str(port)) as killed:
        killed.until("5/23")
        killed.process.kill()
    with glow(folder, environment, "demo", "--port", str(port)) as first:
        shown = first.until("Ctrl-C stops")
        assert " 1/23" not in shown
        tokens = dict(re.findall(r"^    (\w+) +http://\S+/#token=(\S+)$", shown, flags=re.MULTILINE))
        assert {"partner", "employee", "client"} <= tokens.keys()
        answer = _asked(url, tokens["partner"])
        assert answer["status"] == "completed"
        assert answer["citations"][0]["title"] == "Engagement letter policy (EL)"
        assert "every twelve months" in answer["text"]
        documents = httpx.get(f"{url}/v1/knowledge/documents?limit=100", headers=_bearer(tokens["partner"])).json()
        assert len(documents["items"]) == 19
        assert {document["status"] for document in documents["items"]} == {"ready"}
        reviewer = ("--organization", "acme-audit", "--user", "eqr@acme.example")
        beside = printed(folder, environment, "token", *reviewer).strip()
        assert httpx.get(f"{url}/v1/me", headers=_bearer(beside)).json()["role"] == "EQR"
        assert first.stop(signal.SIGINT) == 0
        assert first.output.endswith("Stopped; the data is kept.\n")
        assert "Traceback" not in first.output
    assert not (home / "postgres-18" / "data" / "postmaster.pid").exists()
    with glow(folder, environment, "demo", "--port", str(port)) as second:
        assert "Taking in" not in second.until("Ctrl-C stops")
        conversations = httpx.get(f"{url}/v1/conversations", headers=_bearer(tokens["partner"])).json()
        assert [each["conversation_id"] for each in conversations["items"]] == [answer["conversation_id"]]
        assert second.stop(signal.SIGTERM) == 0


def _asked(url: str, token: str) -> Any:
    return httpx.post(f"{url}/v1/chat", json={"message": QUESTION}, headers=_bearer(token), timeout=PATIENCE_S).json()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _json(folder: Path, environment: Mapping[str, str], *words: str) -> Any:
    return json.loads(printed(folder, environment, *words))


def printed(folder: Path, environment: Mapping[str, str], *words: str) -> str:
    """What a command prints that ends by itself."""
    with glow(folder, environment, *words) as command:
        assert command.ended() == 0, command.output
        return command.output
