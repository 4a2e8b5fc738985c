"""`glow serve` and `glow worker`: the hub opened on the database that the settings mean, and run until a signal."""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from server.cli.listening import local_url, require_free
from server.cli.opening import acting_hub, opened
from server.cli.running import run_until_stopped
from server.hub import Hub
from server.serve import ServeOptions
from server.serve import serve as serve_hub
from server.settings import Settings, load_settings

log = structlog.get_logger()


def serve(host: str, port: int, *, with_worker: bool) -> None:
    """Serve until a signal says to stop.

    Raises  SettingsInvalid: no signing secret, among others.  CommandFailed: the port is taken.
    """
    require_free(host, port)
    run_until_stopped(_serve(ServeOptions(host=host, port=port, runs_worker=with_worker)))


def work() -> None:
    """Take jobs until a signal says to stop."""
    run_until_stopped(_work())


async def _serve(options: ServeOptions) -> None:
    settings = load_settings()
    # Before anything is made on the disk: what is refused for want of a setting leaves nothing behind.
    settings.check_tokens()
    started = partial(log.info, "serve.started", host=options.host, port=options.port)
    await serve_opened(settings, options, started)


async def serve_opened(settings: Settings, options: ServeOptions, started: Callable[[], None]) -> None:
    """Open the hub that the settings mean and serve it until cancelled."""
    async with opened(settings, local_url(options.host, options.port)) as hub:
        await serve_until_cancelled(hub, options, started)


async def _work() -> None:
    async with acting_hub() as hub:
        await hub.worker.run()


async def serve_until_cancelled(hub: Hub, options: ServeOptions, started: Callable[[], None] = lambda: None) -> None:
    """Serve; being cancelled is how it is told to stop, and then it returns once what was under way is answered."""
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_hub(hub, options, stop, lambda _port: started()), name="serve")
    with hub.settings.home.served_at(hub.public_url):
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            stop.set()
            await serving
