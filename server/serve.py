"""Runs the application on a socket until it is told to stop; then streams end at once and runs get their grace."""

import asyncio
import gc
import socket
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from server.app import AppOptions, create_app
from server.http.sse import EventStreams
from server.hub import Hub

DRAIN_S = 10
"""For requests that are being answered when it stops; runs in the background have a grace of their own."""
HEADERS_LIMIT = 64 * 1024
UNTAKEN_MS = 60_000
"""For what a connection was sent and does not take; then the kernel ends it, where closing it would wait for ever."""


class NotStarted(Exception):
    """The server could not begin to serve; the log says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where to listen, and whether this process does background work too."""

    host: str
    port: int
    """0 takes a free one."""
    runs_worker: bool = True
    listening: tuple[socket.socket, ...] = ()
    """Sockets that listen there already, shared with other processes; none: it opens its own."""


def _nobody(_port: int) -> None:
    """Nobody wants to know."""


async def serve(hub: Hub, options: ServeOptions, stop: asyncio.Event, started: Callable[[int], None] = _nobody) -> None:
    """Serve until `stop` is set, and return when what was under way is answered; whoever opened the hub closes it.

    `started`: called once with the port, when connections are taken.
    Raises  NotStarted: the address is taken, or may not be used.
    """
    app = create_app(lambda: nullcontext(hub), _app_options(hub, options))
    server = StoppableServer(_config(app, options), started)
    stopping = asyncio.create_task(_stop(server, app.state.streams, hub, stop))
    try:
        await server.serve(list(options.listening) or None)
    except SystemExit as refused:
        raise NotStarted(f"{options.host}:{options.port} cannot be listened on") from refused
    finally:
        stopping.cancel()
    if not server.started:
        raise NotStarted("the application did not start")


class StoppableServer(uvicorn.Server):
    """Leaves signals to whoever runs it, where uvicorn's own would end the process with the hub still open."""

    def __init__(self, config: uvicorn.Config, started: Callable[[int], None]) -> None:
        super().__init__(config)
        self._announce = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell that it is so."""
        await super().startup(sockets)
        if self.started:
            # What is loaded by now stays: no full collection need look at it again.
            gc.freeze()
            for server in self.servers:
                drop_stalled(server.sockets)
            self._announce(self.servers[0].sockets[0].getsockname()[1])

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """None are taken."""
        yield


async def _stop(server: uvicorn.Server, streams: EventStreams, hub: Hub, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True
    streams.end_all()
    hub.task_runs.end_all()
    hub.settlements.end_all()


def drop_stalled(listening: "Iterable[socket.socket]") -> None:
    """Have connections that come in by these end by themselves when their readers take nothing; Linux alone can."""
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        for each in listening:
            each.setsockopt(socket.IPPROTO_TCP, option, UNTAKEN_MS)


def _app_options(hub: Hub, options: ServeOptions) -> AppOptions:
    return AppOptions(
        allowed_origins=hub.settings.allowed_origins,
        trusted_proxies=hub.settings.trusted_proxies,
        runs_worker=options.runs_worker,
    )


def _config(app: FastAPI, options: ServeOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        lifespan="on",
        # Every line is ours (server/logs.py), and so is the reading of X-Forwarded-*.
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # h11 bounds what a request's headers may hold; httptools, which is faster, does not.
        http="h11",
        h11_max_incomplete_event_size=HEADERS_LIMIT,
        timeout_graceful_shutdown=DRAIN_S,
    )
