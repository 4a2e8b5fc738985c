"""The newest frames of one run, as whoever follows it sees them: kept once, however many follow."""

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from itertools import islice

from agent.events import RunFrame

KEPT_FRAMES = 256
"""Frames that stay in memory for followers; whoever is further behind reads the database."""
KEPT_BYTES = 1_000_000
"""Of their text, as it lies in memory; the newest frame stays however large it is."""


class FrameTail:
    """Committed frames without a gap, up to `sequence`.

    A follower is nothing but the number of the last frame it has seen, so a slow one costs nothing and holds up nobody.
    """

    def __init__(self, sequence: int = 0) -> None:
        self.sequence = sequence
        """Of the last frame that is shown."""
        self._recent: deque[RunFrame] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """True when nothing follows from here."""
        return self._closed

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change; take it before looking, and no change is missed."""
        return self._changed

    def after(self, sequence: int) -> Sequence[RunFrame] | None:
        """Frames above `sequence`; None when memory no longer reaches back that far."""
        if sequence >= self.sequence:
            return ()
        missing = self.sequence - sequence
        if missing > len(self._recent):
            return None
        return list(islice(self._recent, len(self._recent) - missing, None))

    def add(self, frames: Sequence[RunFrame]) -> None:
        """Keep what comes next; `announce` shows it."""
        if not frames:
            return
        self.sequence = frames[-1].sequence
        self._recent.extend(frames)
        self._bytes += sum(map(_size_of, frames))
        while len(self._recent) > KEPT_FRAMES or (self._bytes > KEPT_BYTES and len(self._recent) > 1):
            self._bytes -= _size_of(self._recent.popleft())

    def close(self) -> None:
        """Nothing follows."""
        self._closed = True
        self.announce()

    def announce(self) -> None:
        """Wake whoever waits for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _size_of(frame: RunFrame) -> int:
    return sys.getsizeof(frame.data)
