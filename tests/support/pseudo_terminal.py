"""A pseudo-terminal with a `glow` command at its other end, and a test at the keyboard."""

import asyncio
import os
import pty
import re
import sys
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.command_host import ROOT

PATIENCE_S = 60.0
PROMPT = "▶"
"""In what a terminal shows: here a prompt began to wait for keys."""

_GLOW = """
import fcntl, signal, sys, termios
# The terminal becomes this process's own, so that Ctrl-C reaches it as a signal.
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
# A shell that runs the tests in the background has its children ignore Ctrl-C; a terminal's do not.
signal.signal(signal.SIGINT, signal.default_int_handler)
from server.cli.main import main
sys.exit(main())
"""
_BEGINS_TO_WAIT = b"\x1b[?2004h"
_UNSEEN = re.compile(rb"\x1b\[[0-9;?]*[@-~]|[\s\x08]")
"""A prompt is drawn by moves of the cursor, also over spaces: only what stands between them can be compared."""


@dataclass
class Terminal:
    """What a person sees of a program, and their keys."""

    descriptor: int
    process: Process
    _written: bytes = b""
    _seen: int = 0
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def type(self, keys: str) -> None:
        """Press keys; `\\r` is Enter, `\\x03` Ctrl-C, `\\x04` Ctrl-D."""
        os.write(self.descriptor, keys.encode())

    async def shows(self, words: str) -> str:
        """Returns once the words come behind what was waited for last; all that came up to them, without spaces.

        Raises  AssertionError: they did not come.
        """
        wanted = re.sub(r"\s", "", words)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (found := self._shown().find(wanted, self._seen)) < 0:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{words!r} does not stand in {self._shown()[self._seen :]!r}") from None
        before, self._seen = self._seen, found + len(wanted)
        return self._shown()[before : self._seen]

    async def ended(self) -> int:
        """The program's exit code."""
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)

    def read(self) -> None:
        """Take what the program has written by now; a terminal whose program is gone cannot be read."""
        try:
            piece = os.read(self.descriptor, 65_536)
        except OSError:
            piece = b""
        if not piece:
            asyncio.get_running_loop().remove_reader(self.descriptor)
        self._written += piece
        self._more.set()

    def _shown(self) -> str:
        marked = self._written.replace(_BEGINS_TO_WAIT, PROMPT.encode())
        return _UNSEEN.sub(b"", marked).decode(errors="ignore")


@asynccontextmanager
async def terminal(environment: Mapping[str, str], *words: str) -> AsyncGenerator[Terminal]:
    """The command at a terminal of its own."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 160))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _GLOW, *words),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        # Nobody here answers a program that asks its terminal where the cursor is.
        env={**os.environ, **environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        start_new_session=True,
    )
    os.close(theirs)
    opened = Terminal(ours, process)
    asyncio.get_running_loop().add_reader(ours, opened.read)
    try:
        yield opened
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)
