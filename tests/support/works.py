"""What processes under a supervisor do in its tests; each begins from nothing, so it is found by its name."""

import asyncio
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import psutil

from server.processes.child import Parent, Work
from server.processes.supervisor import Patience, Supervisor

FOR_EVER_S = 3600


def lives(process: psutil.Process) -> bool:
    """Whether it still does anything; one that nobody has collected does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _note(folder: Path) -> None:
    (folder / str(os.getpid())).touch()


def stands(folder: Path, parent: Parent) -> None:
    """Works until it is told to end."""
    _note(folder)
    parent.serves()
    time.sleep(FOR_EVER_S)


def stands_still(folder: Path, parent: Parent) -> None:
    """Works, and hears nothing that it is told."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stands(folder, parent)


def falls(folder: Path, parent: Parent) -> None:
    """Works for a moment."""
    _note(folder)
    parent.serves()
    sys.exit(3)


def refuses_as_second(folder: Path, parent: Parent) -> None:
    """One of them works, and the other cannot."""
    try:
        (folder / "first").mkdir()
    except FileExistsError:
        parent.refuses("there is no second chair")
        sys.exit(1)
    stands(folder, parent)


def says_nothing(folder: Path, _parent: Parent) -> None:
    """Never comes to work."""
    _note(folder)
    time.sleep(FOR_EVER_S)


def supervise(folder: Path, count: int, work: Work, patience: Patience) -> None:
    """A supervisor of so many processes; its own process is to be killed."""

    def started() -> None:
        (folder / "started").touch()

    asyncio.run(Supervisor(count, work, patience).run(started, lambda: None))


if __name__ == "__main__":
    where = Path(sys.argv[1])
    supervise(where, 2, partial(stands_still, where), Patience(stop_within_s=0.1))
