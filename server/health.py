"""Whether the server lives, and whether it can do its work: each thing it depends on, with its state."""

from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from domain.resources import resource_folder
from server.database.migrate import load_migrations, pending
from server.http.answers import json_answer
from server.http.document import of_model, shows
from server.http.visits import hub_of
from server.hub import Hub
from tools.ports import Unavailable

router = APIRouter(tags=["health"])

PATIENCE_S = 2.0
OFFLINE = "offline"

State = Literal["ok", "unavailable", "pending", "offline", "elsewhere"]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Dependency(BaseModel):
    """The state of one thing that the server depends on."""

    state: State
    detail: str = Field(default="", description="In words, for whoever has to mend it.")


class Ready(BaseModel):
    """Whether requests can be served. A model or worker that is missing leaves much that works: they do not decide."""

    status: Literal["ready", "not_ready"]
    dependencies: dict[str, Dependency]


@router.get("/health", responses=shows(of_model(Alive)))
async def health() -> Response:
    """The process lives."""
    return json_answer(Alive().model_dump())


@router.get(
    "/readiness", responses={**shows(of_model(Ready)), **shows(of_model(Ready), status=503, description="Not ready")}
)
async def readiness(request: Request) -> Response:
    """The state of the database, its migrations, the model and the worker."""
    hub = hub_of(request)
    shown = ready(
        {
            "database": await _asked(hub, _answers),
            "migrations": await _asked(hub, _migrated),
            "model": _model(hub),
            "worker": _worker(hub, runs_here=request.app.state.runs_worker),
        }
    )
    return json_answer(shown.model_dump(), 200 if shown.status == "ready" else 503)


def ready(dependencies: dict[str, Dependency]) -> Ready:
    """The verdict over all dependencies."""
    needed = (dependencies["database"], dependencies["migrations"])
    all_there = all(each.state == "ok" for each in needed)
    return Ready(status="ready" if all_there else "not_ready", dependencies=dependencies)


async def _asked(hub: Hub, question: Callable[[Hub], Awaitable[Dependency]]) -> Dependency:
    try:
        return await question(hub)
    except Unavailable:
        # Why, stands in the log; here it would tell strangers of addresses and logins.
        return Dependency(state="unavailable", detail="the database does not answer")


async def _answers(hub: Hub) -> Dependency:
    async with hub.pools.app.acquire(timeout_s=PATIENCE_S) as connection:
        await connection.fetchval("SELECT 1")
    return Dependency(state="ok")


async def _migrated(hub: Hub) -> Dependency:
    async with hub.pools.app.acquire(timeout_s=PATIENCE_S) as connection:
        missing = await pending(connection, load_migrations(resource_folder("migrations")))
    if missing:
        return Dependency(state="pending", detail=f"{len(missing)} migrations are to be applied: glow migrate")
    return Dependency(state="ok")


def _model(hub: Hub) -> Dependency:
    hosted = hub.settings.hosted_model
    return Dependency(state="ok" if hosted is not None else "offline", detail=hub.model.name)


def _worker(hub: Hub, *, runs_here: bool) -> Dependency:
    if not runs_here:
        return Dependency(state="elsewhere", detail="this process takes no jobs: glow worker does")
    return Dependency(state="ok" if hub.worker.alive else "unavailable")
