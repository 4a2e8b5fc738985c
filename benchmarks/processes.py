"""The servers under measurement: started pinned to one core, and what the operating system says of them."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SERVER_CORE = 0
OTHER_CORE = 1
"""For the load generator, the fake model and PostgreSQL."""
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
MEBIBYTE = 2**20

ROOT = Path(__file__).resolve().parent.parent


class NotHealthy(Exception):
    """A server did not come up; the words are the end of what it wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A running server."""

    url: str
    process: psutil.Process
    started_s: float
    """From its start to its first healthy answer."""


def pin_this_process() -> bool:
    """Keep this process, and what it starts without saying otherwise, off the servers' core; False: it cannot be."""
    if not can_pin():
        return False
    os.sched_setaffinity(0, {OTHER_CORE})
    return True


def can_pin() -> bool:
    """Whether there are two cores to part, and the means."""
    return shutil.which("taskset") is not None and {SERVER_CORE, OTHER_CORE} <= set(range(os.cpu_count() or 1))


def pinned(command: Sequence[str]) -> list[str]:
    """The command, on the servers' core."""
    return ["taskset", "-c", str(SERVER_CORE), *command] if can_pin() else list(command)


@contextmanager
def launched(command: Sequence[str], variables: Mapping[str, str], port: int, log: Path) -> Generator[Launched]:
    """A server that has answered GET /health, for the length of the block.

    Raises  NotHealthy.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OURS} | dict(variables)
    with log.open("ab") as written:
        began = time.perf_counter()
        child = subprocess.Popen(pinned(command), env=environment, cwd=log.parent, stdout=written, stderr=written)
    try:
        url = f"http://127.0.0.1:{port}"
        _await_health(child, url, log)
        yield Launched(url=url, process=psutil.Process(child.pid), started_s=time.perf_counter() - began)
    finally:
        _end(child)


_OURS = frozenset({"DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"})
"""Never handed down: what is measured is told here where everything is."""


def glow(*arguments: str) -> list[str]:
    """A command of ours, from the environment that runs this."""
    return [str(Path(sys.executable).with_name("glow")), *arguments]


def _await_health(child: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and child.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.005)
    raise NotHealthy(log.read_text(errors="replace")[-4000:])


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def cpu_s(root: psutil.Process) -> float:
    """CPU seconds of a process and everything below it, those that have ended included."""
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            spent = process.cpu_times()
            total += spent.user + spent.system + spent.children_user + spent.children_system
    return total


def memory_mib(process: psutil.Process) -> float:
    """Resident memory of one process."""
    return process.memory_info().rss / MEBIBYTE


def machine() -> str:
    """What this runs on, in a line."""
    model = "unknown processor"
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Python {sys.version.split()[0]}"
