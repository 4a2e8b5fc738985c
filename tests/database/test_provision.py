"""Where a command's database comes from: the settings' own, or the embedded one, brought up to date."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from domain.resources import resource_folder
from server.database.bootstrap import bootstrap_sql
from server.database.connection import connected
from server.database.embedded import EmbeddedServer
from server.database.migrate import load_migrations, pending
from server.database.pool import open_pools
from server.database.provision import migrate_provided, provided
from server.logins import Login
from server.settings import Settings, SettingsInvalid
from tests.support.database import Database, bare_database


@pytest.fixture
def embedded_settings() -> Iterator[Settings]:
    """Settings that name no database, with a home of their own."""
    folder = Path(tempfile.mkdtemp(prefix="glow-provision-"))
    folder.chmod(0o711)
    yield _settings(glow_home=folder / "home")
    shutil.rmtree(folder)


@pytest.fixture
def bare(cluster: EmbeddedServer) -> Iterator[Database]:
    """A bootstrapped database that no migration has seen, on a server that stands for an external one."""
    with bare_database(cluster) as database:
        yield database


async def test_without_a_database_the_embedded_one_serves_migrated(embedded_settings: Settings) -> None:
    migrations = load_migrations(resource_folder("migrations"))
    async with provided(embedded_settings) as urls, open_pools(urls) as pools, pools.app.acquire() as connection:
        assert await pending(connection, migrations) == ()
    assert await migrate_provided(embedded_settings) == ()


async def test_an_external_database_is_migrated_only_when_asked(bare: Database) -> None:
    migrations = load_migrations(resource_folder("migrations"))
    settings = _external(bare)
    async with provided(settings) as urls, connected(urls.app) as connection:
        assert await pending(connection, migrations) == migrations
        assert await migrate_provided(settings) == migrations
        assert await pending(connection, migrations) == ()


async def test_an_external_database_without_the_owner_s_url_says_what_to_set(bare: Database) -> None:
    settings = _external(bare).model_copy(update={"owner_database_url": None})
    with pytest.raises(SettingsInvalid, match="GLOW_OWNER_DATABASE_URL"):
        await migrate_provided(settings)


async def test_public_may_do_nothing_in_a_bootstrapped_database(bare: Database) -> None:
    async with connected(bare.dsn("postgres")) as connection:
        granted = await connection.fetch(
            """
            SELECT grantee FROM pg_database, aclexplode(datacl) WHERE datname = current_database() AND grantee = 0
            UNION ALL
            SELECT grantee FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND grantee = 0
            """
        )
    assert granted == []


def test_the_bootstrap_that_is_printed_holds_no_password_and_says_how_to_run_it() -> None:
    script = bootstrap_sql()
    assert all(f":'{login}_password'" in script for login in Login)
    assert "psql -X -v ON_ERROR_STOP=1" in script


def _external(database: Database) -> Settings:
    return _settings(
        database_url=SecretStr(database.dsn(Login.APP)),
        owner_database_url=SecretStr(database.dsn(Login.OWNER)),
        recorder_database_url=SecretStr(database.dsn(Login.RECORDER)),
        service_database_url=SecretStr(database.dsn(Login.SERVICE)),
    )


def _settings(**values: object) -> Settings:
    """Settings that the environment of whoever runs the tests has no part in."""
    return Settings.model_construct(None, **values)
