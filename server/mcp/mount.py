"""Where the MCP door stands in the application, before anybody has come to it: the SDK is loaded by the first request.

Most servers of a firm that has no MCP client never load it, and every server answers its first request sooner.
"""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from server.hub import Hub
from server.mcp.metadata import metadata_routes

if TYPE_CHECKING:
    from server.mcp.door import McpDoor


class LazyMcpDoor:
    """Stands for the door; whoever comes first waits while it is built."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._wanted = asyncio.Event()
        self._opened: asyncio.Future[McpDoor] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Held by the lifespan of the application that serves this door."""
        serving = asyncio.create_task(self._serve(), name="mcp door")
        try:
            yield
        finally:
            serving.cancel()
            self._opened.cancel()
            with suppress(asyncio.CancelledError):
                await serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._wanted.set()
        door = await asyncio.shield(self._opened)
        await door(scope, receive, send)

    async def _serve(self) -> None:
        """Build the door when it is wanted and hold it open: what it runs must be entered and left by one task."""
        await self._wanted.wait()
        try:
            door = await self._build()
        except Exception as fault:  # noqa: BLE001 - it is whoever asked who is to be told
            self._opened.set_exception(fault)
            return
        # What the SDK brought stays: no full collection need look at it again.
        gc.freeze()
        async with door.running():
            self._opened.set_result(door)
            await asyncio.Event().wait()

    async def _build(self) -> "McpDoor":
        # In a thread: others are answered meanwhile.
        await asyncio.to_thread(import_module, "server.mcp.door")
        from server.mcp.door import McpDoor

        return McpDoor(self._hub)


def mount_mcp(app: FastAPI, hub: Hub) -> LazyMcpDoor:
    """Serve the door and its metadata on this application, whose lifespan must hold `running()` of what this gives.

    A plain route and no mount: /mcp itself answers, without a redirect to /mcp/. It is asked first, since matching a
    path against all routers of FastAPI costs a twentieth of a call.
    """
    door = LazyMcpDoor(hub)
    app.router.routes.insert(0, Route("/mcp", door, include_in_schema=False))
    app.router.routes.extend(metadata_routes(hub.public_url, hub.settings.issuer))
    return door
