"""The process that forks those that read documents: one for all tests that a pytest worker runs.

It is the real one, and each document still has a process of its own; but to start it takes a second of processor time,
and every hub that is opened would start its own.
"""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from knowledge import isolate


class Unending:
    """Stands where a nursery of a hub's own has its process: nobody who stops ends it for the others."""

    def kill(self) -> None:
        """Nothing."""

    async def wait(self) -> int:
        """At once."""
        return 0


@dataclass(frozen=True, slots=True)
class SharedNursery:
    """A way to the nursery of all."""

    control: socket.socket
    process: Unending

    def send(self, link: socket.socket) -> None:
        """Has a new process serve `link`."""
        socket.send_fds(self.control, [b"+"], [link.fileno()])

    def kill(self) -> None:
        """Nothing."""


@cache
def nursery_of_all() -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """The process and the way to it; it ends when this process does, whose end hangs up."""
    control, far_end = socket.socketpair()
    with far_end:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "knowledge.parse_worker", str(far_end.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(far_end.fileno(),),
            env=isolate.environment(),
            start_new_session=True,
        )
    if not control.recv(1):
        raise RuntimeError("the process that reads documents does not start")
    control.setblocking(False)
    return process, control


async def shared_nursery() -> SharedNursery:
    """In the place of a start."""
    _, control = nursery_of_all()
    return SharedNursery(socket.socket(fileno=os.dup(control.fileno())), Unending())


def shared_pids() -> frozenset[int]:
    """The id of the process that all share, once there is one."""
    return frozenset({nursery_of_all()[0].pid} if nursery_of_all.cache_info().currsize else ())
