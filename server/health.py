"""Whether the server lives, and whether it can do its work: each thing it depends on, with its state."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from math import ceil
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from agent.providers.chain import Link
from domain.resources import resource_folder
from server.database.migrate import Migration, load_migrations, pending
from server.database.sendings import PostgresSendings
from server.database.workers import WorkersHeard
from server.http.answers import json_answer
from server.http.document import of_model, shows
from server.hub import Hub
from tools.ports import Unavailable

router = APIRouter(tags=["health"])

PATIENCE_S = 2.0
KEPT_S = 1.0
"""For how long an answer serves whoever asks next: anybody may ask, and a question takes a database's connection."""
OFFLINE = "offline"

State = Literal["ok", "unavailable", "pending", "offline", "elsewhere", "outdated"]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Dependency(BaseModel):
    """The state of one thing that the server depends on."""

    state: State
    detail: str = Field(default="", description="In words, for whoever has to mend it.")


class Workers(BaseModel):
    """The background workers on this database, whatever process or machine they are in."""

    alive: int = Field(description="Those heard of within the last twenty seconds.")
    last_heartbeat_s: float | None = Field(
        description="Seconds since the latest heartbeat of any; null: none was heard that has not left in order."
    )


class Ready(BaseModel):
    """Whether requests can be served. A model or worker that is missing leaves much that works: they do not decide."""

    status: Literal["ready", "not_ready"]
    dependencies: dict[str, Dependency]
    workers: Workers | None = Field(default=None, description="null: the database does not say.")


class Readiness:
    """What was found out last, and finding it out anew: once at a time, and once a second."""

    def __init__(self, find_out: Callable[[], Awaitable[Ready]], monotonic: Callable[[], float]) -> None:
        self._find_out = find_out
        self._monotonic = monotonic
        self._asking = asyncio.Lock()
        self._found: tuple[float, Ready] | None = None

    async def now(self) -> Ready:
        """The state of everything, not older than `KEPT_S`."""
        async with self._asking:
            if self._found is None or self._monotonic() - self._found[0] >= KEPT_S:
                self._found = (self._monotonic(), await self._find_out())
            return self._found[1]


async def readiness_of(hub: Hub, *, runs_worker: bool) -> Ready:
    """The state of everything that the server depends on."""
    heard = await _heard(hub)
    return ready(
        {
            "database": await _asked(hub, _answers),
            "migrations": await _asked(hub, _migrated),
            "model": _model(hub),
            "worker": _own_worker(hub) if runs_worker else worker_elsewhere(heard),
            "configuration": _configuration(hub),
            "ledger": ledger_of(heard, await _places(hub)),
        },
        heard,
    )


@router.get("/health", responses=shows(of_model(Alive)))
async def health() -> Response:
    """The process lives."""
    return json_answer(Alive().model_dump())


@router.get(
    "/readiness", responses={**shows(of_model(Ready)), **shows(of_model(Ready), status=503, description="Not ready")}
)
async def readiness(request: Request) -> Response:
    """The state of the database, its migrations, the model and the worker."""
    known: Readiness = request.app.state.readiness
    shown = await known.now()
    return json_answer(shown.model_dump(), 200 if shown.status == "ready" else 503)


def ready(dependencies: dict[str, Dependency], heard: WorkersHeard | None = None) -> Ready:
    """The verdict over all dependencies."""
    needed = (dependencies["database"], dependencies["migrations"])
    all_there = all(each.state == "ok" for each in needed)
    workers = None if heard is None else Workers(alive=heard.alive, last_heartbeat_s=heard.heard_s)
    return Ready(status="ready" if all_there else "not_ready", dependencies=dependencies, workers=workers)


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
        missing = await pending(connection, _migrations())
    if missing:
        return Dependency(state="pending", detail=f"{len(missing)} migrations are to be applied: glow migrate")
    return Dependency(state="ok")


@cache
def _migrations() -> tuple[Migration, ...]:
    """Those that this program was started with."""
    return load_migrations(resource_folder("migrations"))


def _model(hub: Hub) -> Dependency:
    hosted = hub.settings.hosted_model
    if hosted is None:
        return Dependency(state="offline", detail=hub.model.name)
    away = [link for link in hub.models.links if link.breaker.state != "closed"]
    if not away:
        return Dependency(state="ok", detail=f"{hub.model.name} ({hosted.api})")
    state = "unavailable" if hub.models.links[0] in away else "ok"
    return Dependency(state=state, detail=f"{hub.model.name} ({hosted.api}); {'; '.join(map(_away, away))}")


def _away(link: Link) -> str:
    """What this process has found of a model that it leaves alone, in words that anybody may read."""
    why = link.breaker.why
    rest = f"is asked again in {ceil(rest_s)} s" if (rest_s := link.breaker.rest_s) else "is being tried again"
    return f"{link.model.name} does not answer ({why.message if why else 'it failed'}) and {rest}"


async def _heard(hub: Hub) -> WorkersHeard | None:
    try:
        return await hub.workers.heard(timeout_s=PATIENCE_S)
    except Unavailable:
        return None


def _own_worker(hub: Hub) -> Dependency:
    if hub.worker.alive:
        return Dependency(state="ok")
    return Dependency(state="unavailable", detail="the worker of this process takes no jobs")


def worker_elsewhere(heard: WorkersHeard | None) -> Dependency:
    """What others do for a process that takes no jobs itself."""
    if heard is None:
        return Dependency(state="unavailable", detail="the database does not say whether any worker takes jobs")
    if heard.alive:
        return Dependency(state="elsewhere", detail=f"this process takes no jobs; workers that do: {heard.alive}")
    return Dependency(
        state="unavailable", detail="no worker takes jobs, nothing is done in the background: glow worker"
    )


def ledger_of(heard: WorkersHeard | None, failing: Sequence[str] | None = ()) -> Dependency:
    """Whether the record is sealed, by one key, and its heads are sent. `failing`: places that they do not get to."""
    if heard is None or failing is None:
        return Dependency(state="unavailable", detail="the database does not say whether the record is sealed")
    faults = [] if heard.sealing_fault is None else [heard.sealing_fault]
    if failing:
        faults.append(f"heads do not get to {', '.join(failing)}: see the log of a worker, or glow doctor")
    return Dependency(state="unavailable" if faults else "ok", detail="; ".join(faults))


async def _places(hub: Hub) -> Sequence[str] | None:
    """The names of places that heads do not get to; None: the database does not say."""
    names = {each.place_id: each.name for each in hub.places()}
    if not names:
        return []
    try:
        states = await PostgresSendings(hub.pools.service).states(list(names), timeout_s=PATIENCE_S)
    except Unavailable:
        return None
    return [names[state.place] for state in states if state.failing]


def _configuration(hub: Hub) -> Dependency:
    if not hub.config.broken:
        return Dependency(state="ok")
    # What is wrong with it stands in the log.
    return Dependency(state="outdated", detail="the file cannot be used as it is now; the last good one holds")
