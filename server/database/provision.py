"""Which database the settings mean, for the length of a command: an external one, or the embedded one, migrated."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from domain.resources import resource_folder
from knowledge.embeddings.model import Space
from server.database.connection import connected
from server.database.embedded import EmbeddedServer, acquire
from server.database.embedding_index import make_index
from server.database.migrate import Migration, migrate_database
from server.home import GlowHome
from server.logins import DatabaseUrls, Login
from server.settings import Settings


@asynccontextmanager
async def provided(settings: Settings) -> AsyncGenerator[DatabaseUrls]:
    """The four logins, for the length of the block.

    The embedded database is ours alone, so it is brought up to date here; an external one is migrated by whoever
    holds the owner's login (`glow migrate`), and readiness says when it was not.
    Raises  SettingsInvalid, EmbeddedFailed, HomeUnusable, MigrationRefused, MigrationFailed.
    """
    if not settings.is_embedded:
        yield settings.database_urls()
        return
    async with _running(settings.home) as server:
        await migrate_database(server.dsn(Login.OWNER), resource_folder("migrations"))
        yield server.urls()


async def migrate_provided(settings: Settings) -> tuple[Migration, ...]:
    """What `glow migrate` does: the migrations that were missing, now applied.

    Raises  as `provided`.
    """
    if not settings.is_embedded:
        return await migrate_database(settings.owner_url(), resource_folder("migrations"))
    async with _running(settings.home) as server:
        return await migrate_database(server.dsn(Login.OWNER), resource_folder("migrations"))


async def index_provided(settings: Settings, space: Space) -> bool:
    """Makes the index for a model's vectors as the owner; False: it was there.

    Raises  as `provided`.
    """
    if not settings.is_embedded:
        return await _indexed(settings.owner_url(), space)
    async with _running(settings.home) as server:
        return await _indexed(server.dsn(Login.OWNER), space)


async def _indexed(owner_url: str, space: Space) -> bool:
    async with connected(owner_url, application_name="glow migrate") as connection:
        return await make_index(connection, space)


@asynccontextmanager
async def _running(home: GlowHome) -> AsyncGenerator[EmbeddedServer]:
    server = await asyncio.to_thread(acquire, home)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.release)
