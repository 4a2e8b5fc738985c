"""A file that heads are appended to, one a line: on a share, on a write-once volume, or for a shipper of logs."""

import asyncio
import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from server.heads.place import DeliveryFailed, KeptHead
from server.home import try_lock, wait_until

LOCK_WAIT_S = 5.0
TAIL_BYTES = 256 * 1024
"""How far back it is looked for whether a line stands there already, written by a worker that could not say so."""


@dataclass(frozen=True, slots=True)
class HeadFile:
    """Closed to other accounts where it is made here; a line is on the disk before it counts as sent."""

    path: Path

    @property
    def address(self) -> str:
        return f"file {self.path}"

    async def deliver(self, kept: KeptHead) -> None:
        """Raises  DeliveryFailed."""
        try:
            await asyncio.to_thread(_append, self.path, kept.line())
        except TimeoutError:
            raise DeliveryFailed("the file is locked by another process") from None
        except OSError as error:
            raise DeliveryFailed(f"the file cannot be appended to: {error.strerror}") from error


def _append(path: Path, line: bytes) -> None:
    is_new = not path.exists()
    # Not to wait for a reader where somebody has put a pipe.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise DeliveryFailed("what is there is no file")
        wait_until(lambda: try_lock(descriptor, fcntl.LOCK_EX), LOCK_WAIT_S, "locked")
        size = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
        if tail.startswith(line) or b"\n" + line in tail:
            return
        # What a crash left of a line stays a line of its own, which no verifier takes for one.
        _write(descriptor, line if not tail or tail.endswith(b"\n") else b"\n" + line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        _sync_folder(path.parent)


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _sync_folder(folder: Path) -> None:
    """So that a new file is found again after a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
