"""How far a call has come, as the protocol's notifications to a client that asked for them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from tools.outcomes import Tell

log = structlog.get_logger()

Report = Callable[[float, float, str], Awaitable[None]]
"""Takes progress, total and words."""
LAST_WORD_WITHIN_S = 5.0
"""For a client that does not read: its answer waits behind the notification all the same."""


class _Notes:
    """The newest word of a call, on its way to the client."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._newest: tuple[float, str] | None = None
        self._said = float("-inf")
        self._changed = asyncio.Event()
        self._ended = False

    def tell(self, progress: float, message: str) -> None:
        """Take a word, without waiting."""
        self._newest = (progress, message)
        self._changed.set()

    def end(self) -> None:
        """Nothing follows."""
        self._ended = True
        self._changed.set()

    async def send(self) -> None:
        """Send what is newest, to the end; other words alone are left out: the protocol wants progress to grow."""
        while not self._ended:
            await self._changed.wait()
            self._changed.clear()
            if self._newest is not None and self._newest[0] > self._said:
                self._said, words = self._newest
                await self._report(self._said, 1.0, words)


@asynccontextmanager
async def telling(report: Report) -> AsyncGenerator[Tell]:
    """Takes a call's words for the length of the block, and reports them beside it."""
    notes = _Notes(report)
    sending = asyncio.create_task(notes.send(), name="mcp progress")
    try:
        yield notes.tell
    finally:
        notes.end()
        await asyncio.wait([sending], timeout=LAST_WORD_WITHIN_S)
        sending.cancel()
        await asyncio.wait([sending])
        if not sending.cancelled() and (fault := sending.exception()) is not None:
            log.info("mcp.progress_lost", reason=type(fault).__name__)
