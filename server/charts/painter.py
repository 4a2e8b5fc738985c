"""Has charts drawn, each by a process that ends with it: what draws is never in the server's memory."""

import asyncio
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from server.charts.picture import Picture, PictureFormat

AT_ONCE = 2
MOST_WAITING = 16
DRAWN_WITHIN_S = 30.0
ROOT = Path(__file__).resolve().parents[2]


class DrawingBusy(Exception):
    """As many charts as may wait are waiting."""


class DrawingFailed(Exception):
    """The process that draws broke off, or took too long."""


class Painter:
    """Draws charts, a few at once; `async with` removes what drawing left (a list of fonts)."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._asked = 0
        self._folder: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def draw(self, picture: Picture, format: PictureFormat) -> bytes:
        """The chart as a file.

        Raises  DrawingBusy, DrawingFailed.
        """
        if self._asked >= MOST_WAITING:
            raise DrawingBusy
        self._asked += 1
        try:
            async with self._places:
                return await self._drawn(orjson.dumps(picture.bounded()), format)
        finally:
            self._asked -= 1

    async def _drawn(self, picture: bytes, format: PictureFormat) -> bytes:
        if self._folder is None:
            self._folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="glow-charts-")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "server.charts.drawing", format),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=_environment(self._folder),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(DRAWN_WITHIN_S):
                file, _ = await process.communicate(picture)
        except TimeoutError as late:
            raise DrawingFailed("it took too long") from late
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode != 0 or not file:
            raise DrawingFailed(f"the process ended with {process.returncode}")
        return file


def _environment(folder: str) -> dict[str, str]:
    """Where the code lies and where the list of fonts is kept; nothing that opens a door."""
    return {
        "PYTHONPATH": str(ROOT),
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLCONFIGDIR": folder,
        "HOME": folder,
        "OMP_NUM_THREADS": "1",
    }
