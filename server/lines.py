"""Lines that come in by a descriptor, for whoever must be able to stop while it waits for the next one."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

_PIECE = 65_536


class Lines:
    """The lines of a descriptor that may be a pipe, a terminal or a file, read by a thread that holds up no exit.

    A wait for the next line can be cancelled. A reader in a worker thread of the loop cannot, and outlives SIGTERM. Of
    a line longer than `longest` bytes only so much is kept that it shows.
    """

    def __init__(self, descriptor: int, *, longest: int) -> None:
        self._descriptor = descriptor
        self._longest = longest
        self._loop = asyncio.get_running_loop()
        self._read: asyncio.Queue[bytes | None] = asyncio.Queue(1)

    def end(self) -> None:
        """No more lines, whatever is still sent."""
        while not self._read.empty():
            self._read.get_nowait()
        self._read.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        threading.Thread(target=self._pump, name="lines", daemon=True).start()
        held = b""
        while (piece := await self._read.get()) is not None:
            *lines, held = (held + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line
            held = held[: self._longest + 1]
        if held.strip():
            yield held

    def _pump(self) -> None:
        """One piece at a time: who sends faster than it is served has to wait."""
        # The loop is gone: nobody waits for what is read.
        with suppress(RuntimeError):
            while True:
                try:
                    piece = os.read(self._descriptor, _PIECE)
                except OSError:
                    piece = b""
                asyncio.run_coroutine_threadsafe(self._read.put(piece or None), self._loop).result()
                if not piece:
                    return
