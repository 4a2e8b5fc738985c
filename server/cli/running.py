"""Runs a command's work on an event loop, with its logs out of the way of what it prints."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import uvloop

from server.logs import configure_logs

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
    with suppress(KeyboardInterrupt, Terminated):
        run(work, log_level=log_level)


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
