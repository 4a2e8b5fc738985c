"""`glow serve --workers N`: so many servers, each a process of its own, that take connections from the same sockets.

The parent answers nobody and imports as little as it can: it holds the sockets, the embedded database and the address
that other commands are told, and keeps the processes alive.
"""

import asyncio
import socket
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog

from server.cli.listening import listening_on, local_url
from server.cli.running import run_until_stopped
from server.database.provision import provided
from server.processes.child import Parent
from server.processes.supervisor import Supervisor
from server.settings import Settings, load_settings

log = structlog.get_logger()

REFUSED = 1


def serve(host: str, port: int, workers: int, *, with_worker: bool) -> None:
    """Serve with so many processes until a signal says to stop; a second one ends them at once.

    Raises  SettingsInvalid: no signing secret, among others.  CommandFailed: the port is taken.
            NotServing: a process could not begin, or had to be killed at the end.
    """
    with listening_on(host, port) as sockets:
        run_until_stopped(_serve(host, port, sockets, workers, with_worker=with_worker))


async def _serve(host: str, port: int, sockets: tuple[socket.socket, ...], workers: int, *, with_worker: bool) -> None:
    settings = load_settings()
    # Before anything is made on the disk: what is refused for want of a setting leaves nothing behind.
    settings.check_tokens()
    # The embedded database is made and migrated once, and outlives whichever process ends; each holds it too, so that
    # it is stopped in order also where this process is killed.
    async with provided(settings):
        with settings.home.served_at(settings.public_url or local_url(host, port)):
            work = partial(_serve_as_one, settings, host, port, sockets, with_worker)
            started = partial(log.info, "serve.started", host=host, port=port, workers=workers)
            await Supervisor(workers, work).run(started, partial(_close, sockets, workers))


def _close(sockets: tuple[socket.socket, ...], workers: int) -> None:
    """Nobody shall wait for an answer at a socket whose servers go."""
    log.info("serve.stopping", workers=workers)
    for each in sockets:
        each.close()


def _serve_as_one(
    settings: Settings,
    host: str,
    port: int,
    sockets: tuple[socket.socket, ...],
    with_worker: bool,
    parent: Parent,
) -> None:
    """One of the processes, for its whole life."""
    from server.cli.faults import words_for
    from server.cli.serving import serve_opened
    from server.serve import ServeOptions

    options = ServeOptions(host=host, port=port, runs_worker=with_worker, listening=sockets)
    try:
        run_until_stopped(cancelled_once(serve_opened(settings, options, parent.serves)))
    except Exception as fault:
        words = words_for(fault)
        if words is None:
            raise
        parent.refuses(words)
        sys.exit(REFUSED)


async def cancelled_once(work: Coroutine[Any, Any, None]) -> None:
    """Work that hears only the first of several signals: a supervisor of the machine's, and our own, both send one."""
    working = asyncio.ensure_future(work)
    told = False
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError:
            if not told:
                working.cancel()
            told = True
    working.result()
