"""The application on a test's own database, with the demo firm's people, and clients with anybody's token."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from domain.kernel import PrincipalId, utc_now
from domain.resources import resource_folder
from server.app import AppOptions, create_app
from server.database.connection import connected
from server.demo.loader import found_demo
from server.hub import Hub, HubOptions, open_hub
from server.logins import Login
from server.settings import Settings
from server.tokens import Audience
from tests.support.database import Database

PUBLIC_URL = "http://glow.test"
SLUGS = {"acme": "acme-audit", "borealis": "borealis-tax"}

Opened = TypeVar("Opened")


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The application, and who comes to its doors."""

    hub: Hub
    app: FastAPI
    clients: AsyncExitStack = field(repr=False)

    async def client(
        self, who: str = "employee@acme", audience: Audience = "api", headers: Mapping[str, str] | None = None
    ) -> httpx.AsyncClient:
        """A client with a token of this person, `role@firm`."""
        token = await self.token(who, audience)
        return await self.stranger({"Authorization": f"Bearer {token}", **(headers or {})})

    async def stranger(self, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        """A client without any token."""
        # An exception that reaches the transport is a fault of the server's: the test that provoked it fails.
        transport = httpx.ASGITransport(self.app)
        client = httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=headers, timeout=30)
        return await self.clients.enter_async_context(client)

    async def token(self, who: str, audience: Audience = "api", lifetime: timedelta = timedelta(hours=1)) -> str:
        """A token of this person, `role@firm`."""
        return await token_of(self.hub, who, audience, lifetime)


async def token_of(hub: Hub, who: str, audience: Audience = "api", lifetime: timedelta = timedelta(hours=1)) -> str:
    """A token of one of the demo firm's people, `role@firm`."""
    role, firm = who.split("@")
    principal_id = await hub.identities.principal_by_email(f"{role}@{firm}.example")
    if principal_id is None:
        raise LookupError(who)
    return hub.tokens.sign(PrincipalId(principal_id), SLUGS[firm], audience, lifetime)


@asynccontextmanager
async def opened_hub(
    database: Database,
    options: HubOptions | None = None,
    allowed_origins: tuple[str, ...] = (),
    settings: Settings | None = None,
) -> AsyncGenerator[Hub]:
    """The hub over the demo firm's people and tasks; without its documents, which take longer."""
    async with connected(database.dsn(Login.OWNER)) as owner:
        await found_demo(owner, resource_folder("demo"), utc_now())
    settings = settings or settings_of_tests(allowed_origins)
    async with open_hub(settings, database.urls(), PUBLIC_URL, options) as hub:
        yield hub


@asynccontextmanager
async def opened_doors(
    database: Database,
    options: HubOptions | None = None,
    app_options: AppOptions | None = None,
    settings: Settings | None = None,
) -> AsyncGenerator[Doors]:
    """The application with its lifespan running, its worker too."""
    origins = app_options.allowed_origins if app_options else ()
    async with opened_hub(database, options, origins, settings) as hub, AsyncExitStack() as clients:
        app = create_app(lambda: nullcontext(hub), app_options)
        async with app.router.lifespan_context(app):
            yield Doors(hub=hub, app=app, clients=clients)


@asynccontextmanager
async def in_a_task(opening: AbstractAsyncContextManager[Opened]) -> AsyncGenerator[Opened]:
    """The same context, entered and left by one task: what a fixture cannot promise, and task groups insist on."""
    opened: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def hold() -> None:
        async with opening as value:
            opened.set_result(value)
            await leave.wait()

    holding = asyncio.create_task(hold())
    await asyncio.wait([holding, opened], return_when=asyncio.FIRST_COMPLETED)
    if holding.done():
        await holding
    try:
        yield await opened
    finally:
        leave.set()
        await holding


def settings_of_tests(allowed_origins: tuple[str, ...] = (), config: Path | None = None) -> Settings:
    """Settings without anything of the machine's own: the offline model, and a secret for tokens.

    `config`: the operator's file; None: the one that ships.
    """
    return Settings(
        jwt_secret=SecretStr("a secret of tests, 32 bytes long or more"),
        ledger_key_text=SecretStr(base64.b64encode(bytes(range(32))).decode()),
        model_api="offline",
        allowed_origins=allowed_origins,
        system_config_path=config,
    )


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    """The problem an answer holds, checked to be one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = cast("dict[str, object]", answer.json())
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), answer.text
    return problem
