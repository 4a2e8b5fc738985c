"""Where the Slack door stands in the application: nowhere, unless this server is a Slack app."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module

from fastapi import FastAPI
from starlette.routing import Route

from server.hub import Hub

PATH = "/slack/events"


@asynccontextmanager
async def slack_mounted(
    app: FastAPI, hub: Hub, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncGenerator[None]:
    """The door on this application for the length of the block; without Slack's settings nothing of it is loaded."""
    slack = hub.settings.slack
    if slack is None:
        yield
        return
    # In a thread: bolt takes a while to load.
    await asyncio.to_thread(import_module, "server.slack.door")
    from server.slack.door import slack_door

    async with slack_door(hub, slack, pause=pause) as door:
        app.state.slack = door
        app.router.routes.append(Route(PATH, door.events, methods=["POST"], include_in_schema=False))
        yield
