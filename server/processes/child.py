"""What a process is that others like it stand beside: it ends when it is told to, and when its parent is gone."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import structlog

from server.logs import name_process

log = structlog.get_logger()


class Parent:
    """What a process can say to the one that started it."""

    def __init__(self, told: Connection) -> None:
        self._told = told

    def serves(self) -> None:
        """The work is being done from here on."""
        self._told.send("")

    def refuses(self, words: str) -> None:
        """The work cannot be done; the words are for a person at a terminal."""
        self._told.send(words)


Work = Callable[[Parent], None]
"""What a process does until SIGTERM comes; it must be picklable, since each process begins from nothing."""


def live(work: Work, number: int, told: Connection, end_within_s: float) -> None:
    """The life of one process.

    `end_within_s`: how long it may take to end once its parent is gone.
    """
    # Ctrl-C reaches every process of the terminal's group: what it means for this one, the parent says.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    name_process(number)
    threading.Thread(target=_end_with_parent, args=(end_within_s,), name="parent", daemon=True).start()
    work(Parent(told))


def _end_with_parent(within_s: float) -> None:
    """A thread of its own, so that also a process whose event loop stands still ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this process was started by one
    parent.join()
    log.error("serve.parent_lost", detail="the process that started this one is gone; this one ends too")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(within_s)
    os.kill(os.getpid(), signal.SIGKILL)
