"""Runs a command's work on an event loop, with its logs out of the way of what it prints."""

import asyncio
import resource
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import uvloop

from server.logs import configure_logs

MOST_OPEN_FILES = 65_536
Result = TypeVar("Result")


class Terminated(SystemExit):
    """SIGTERM came and the work was cancelled; the exit code is what a shell expects of that."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def run(work: Coroutine[Any, Any, Result], *, log_level: str = "WARNING") -> Result:
    """The result of the work; Ctrl-C and SIGTERM cancel it, so that what it opened is closed.

    Raises  KeyboardInterrupt, Terminated.
    """
    configure_logs(level=log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_terminable(work))


def run_until_stopped(work: Coroutine[Any, Any, None], *, log_level: str = "INFO") -> None:
    """Work for which being stopped by Ctrl-C or SIGTERM is the way it ends."""
    allow_open_files()
    with suppress(KeyboardInterrupt, Terminated):
        run(work, log_level=log_level)


def allow_open_files(most: int = MOST_OPEN_FILES) -> None:
    """As many as the system lets this process have: each stream is one, and the 1,024 of a login are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Where the system has a lower limit than it says, as macOS may, what was allowed stays.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _terminable(work: Coroutine[Any, Any, Result]) -> Result:
    """SIGINT is the runner's own; SIGTERM cancels here."""
    working = asyncio.ensure_future(work)
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        working.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await working
    except asyncio.CancelledError:
        if terminated:
            raise Terminated from None
        raise
