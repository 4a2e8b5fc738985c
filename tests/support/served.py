"""The whole application on a loopback port and a test's own database, as an operator would run it."""

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import uvicorn

from domain.kernel import PrincipalId, Role
from server.app import AppOptions, create_app
from server.database.connection import connected
from server.database.embedded import EmbeddedServer
from server.hub import Hub, HubOptions, open_hub
from server.logins import Login
from server.tokens import Audience
from tests.support.calls import add_member
from tests.support.database import Database, fresh_database, run_apart
from tests.support.doors import settings_of_tests
from tests.support.firms import FIRM_A, Firm, seed_firms


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running server, and tokens for it."""

    url: str
    hub: Hub

    def token(self, who: str = "employee", audience: Audience = "api", firm: Firm = FIRM_A) -> str:
        """A token of one of the seeded firm's people."""
        return self.token_of(PrincipalId(firm.id(who)), f"firm-{firm.n}", audience)

    def token_of(self, principal_id: PrincipalId, organization: str, audience: Audience = "api") -> str:
        """A token of anybody."""
        return self.hub.tokens.sign(principal_id, organization, audience, timedelta(hours=1))


@asynccontextmanager
async def served(
    database: Database,
    options: HubOptions | None = None,
    *,
    runs_worker: bool = False,
    allowed_origins: tuple[str, ...] = (),
    config: Path | None = None,
) -> AsyncGenerator[Served]:
    """The application, served for the length of the block. `config`: the operator's file."""
    ready: asyncio.Future[Hub] = asyncio.get_running_loop().create_future()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        @asynccontextmanager
        async def opened() -> AsyncGenerator[Hub]:
            async with open_hub(settings_of_tests(allowed_origins, config), database.urls(), url, options) as hub:
                ready.set_result(hub)
                yield hub

        app = create_app(opened, AppOptions(allowed_origins=allowed_origins, runs_worker=runs_worker))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=5))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        # From here on connections wait in the socket's backlog until the server takes them.
        await asyncio.wait([ready, serving], return_when=asyncio.FIRST_COMPLETED)
        try:
            yield Served(url=url, hub=ready.result())
        finally:
            server.should_exit = True
            # As `server.serve` does: a stream that is still open would hold the end up, and be cancelled with a stack.
            app.state.streams.end_all()
            await serving


@contextmanager
def firms_database(cluster: EmbeddedServer, template: str) -> Generator[Database]:
    """A database with both seeded firms, for a module's tests to share; see `seed_people`."""
    with fresh_database(cluster, template) as database:
        run_apart(seed_people(database))
        yield database


async def seed_people(database: Database) -> None:
    """Both firms; in the first a READONLY and a MANAGER more, whose agent may do nothing without asking."""
    async with connected(database.dsn(Login.OWNER)) as owner:
        await seed_firms(owner)
        for role in (Role.READONLY, Role.MANAGER):
            await add_member(owner, role)
        await owner.execute("UPDATE memberships SET autonomy_ceiling = 1 WHERE role = 'MANAGER'")


@contextmanager
def served_apart(database: Database) -> Generator[Served]:
    """The application, served by a thread with a loop of its own: for clients that block while they wait."""
    ready: Future[Served] = Future()
    ended = threading.Event()

    async def serve() -> None:
        try:
            async with served(database) as running:
                ready.set_result(running)
                await asyncio.to_thread(ended.wait)
        except BaseException as fault:
            if ready.done():
                raise
            ready.set_exception(fault)

    with ThreadPoolExecutor(max_workers=1) as pool:
        serving = pool.submit(asyncio.run, serve())
        try:
            yield ready.result()
        finally:
            ended.set()
            serving.result()
