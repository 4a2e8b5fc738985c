"""The application: every door of HTTP on one hub, between the middlewares that all of them share."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI
from starlette.routing import BaseRoute

from domain.kernel import NewId, new_id
from server.charts.painter import Painter
from server.chat import agents, conversations, feedback, messages, runs, versions
from server.health import Readiness, readiness_of
from server.health import router as health
from server.http.bodies import Json
from server.http.document import REFUSALS, document_of
from server.http.faults import LastResort, answer_problems
from server.http.headers import SecureAnswers, admit_origins, believe_proxies
from server.http.limits import Limits
from server.http.marks import MarkedRequests
from server.http.negotiation import json_wanted
from server.http.sse import EventStreams
from server.hub import Hub
from server.logs import AccessLog
from server.mcp.mount import mount_mcp
from server.page.routes import router as page
from server.rest import (
    activity,
    analytics,
    approvals,
    autonomy,
    budgets,
    delegations,
    docs,
    document_events,
    downloads,
    knowledge,
    ledger,
    me,
    open_calls,
    policies,
    preferences,
    privacy,
    releases,
    schedules,
    sources,
    tasks,
    tools,
)
from server.settings import Network
from server.slack.mount import slack_mounted
from server.widget import sessions
from server.worker.worker import Worker
from tools.manifest import Manifest

OpenHub = Callable[[], AbstractAsyncContextManager[Hub]]

FIRST_ROUTERS: tuple[APIRouter, ...] = (ledger.files,)
"""Whose paths would else be taken for another's, with an id."""
JSON_ROUTERS: tuple[APIRouter, ...] = (
    me.router,
    policies.router,
    preferences.router,
    autonomy.router,
    budgets.router,
    agents.router,
    conversations.router,
    tools.router,
    knowledge.router,
    downloads.router,
    tasks.router,
    schedules.router,
    sources.router,
    approvals.router,
    delegations.router,
    feedback.router,
    releases.router,
    ledger.router,
    privacy.router,
    activity.router,
    open_calls.router,
    sessions.router,
)
"""Whose routes answer with JSON and nothing else."""
OTHER_ROUTERS: tuple[APIRouter, ...] = (
    messages.router,
    versions.router,
    runs.router,
    knowledge.files,
    document_events.streams,
    tasks.streams,
    analytics.router,
    privacy.files,
)
"""Whose routes choose for themselves."""
OPEN_ROUTERS: tuple[APIRouter, ...] = (health, docs.router, downloads.links, page)
"""Before any credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions:
    """What must be known before the hub is open."""

    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    runs_worker: bool = True
    """Whether this process does background work too."""
    new_id: NewId = new_id
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    """How the Slack door waits for what it may say next."""


def create_app(open_hub: OpenHub, options: AppOptions | None = None) -> FastAPI:
    """The application; its lifespan opens the hub and closes it."""
    options = options or AppOptions()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with open_hub() as hub:
            app.state.hub = hub
            app.state.limits = Limits.of(hub.config)
            app.state.readiness = Readiness(
                partial(readiness_of, hub, runs_worker=options.runs_worker), options.monotonic
            )
            door = mount_mcp(app, hub)
            async with (
                door.running(),
                app.state.painter,
                slack_mounted(app, hub, options.pause),
                _working(hub.worker if options.runs_worker else None),
            ):
                yield

    app = FastAPI(
        title="Prisma Glow",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=_routes(),
    )
    app.state.streams = EventStreams()
    app.state.limits = Limits()
    app.state.painter = Painter()
    app.state.document = _documents(app)
    answer_problems(app)
    _add_middleware(app, options)
    return app


@cache
def _routes() -> list[BaseRoute]:
    """What all applications of a process serve: FastAPI makes a route ready at its first request, which for all of them
    takes as long as to open a hub.
    """
    routes = APIRouter()
    for router in FIRST_ROUTERS:
        routes.include_router(router, responses=REFUSALS)
    for router in JSON_ROUTERS:
        routes.include_router(router, dependencies=[Depends(json_wanted)], responses=REFUSALS)
    for router in OTHER_ROUTERS:
        routes.include_router(router, responses=REFUSALS)
    for router in OPEN_ROUTERS:
        routes.include_router(router)
    return routes.routes


def _add_middleware(app: FastAPI, options: AppOptions) -> None:
    """The last one added stands outermost."""
    app.add_middleware(LastResort, new_id=options.new_id)
    admit_origins(app, options.allowed_origins)
    app.add_middleware(SecureAnswers)
    app.add_middleware(AccessLog, monotonic=options.monotonic)
    app.add_middleware(MarkedRequests, new_id=options.new_id)
    believe_proxies(app, options.trusted_proxies)


def _documents(app: FastAPI) -> Callable[[tuple[Manifest, ...]], Json]:
    """Builds the OpenAPI document when it is first asked for."""
    built: list[Json] = []

    def document(manifests: tuple[Manifest, ...]) -> Json:
        if not built:
            built.append(document_of(app, version("prisma-glow"), manifests))
        return built[0]

    return document


@asynccontextmanager
async def _working(worker: Worker | None) -> AsyncGenerator[None]:
    """Background work for the length of the block."""
    if worker is None:
        yield
        return
    working = asyncio.create_task(worker.run(), name="worker")
    try:
        yield
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
