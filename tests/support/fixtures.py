"""Fixtures that every test with a database shares; the root conftest names this module in `pytest_plugins`."""

from collections.abc import AsyncIterator, Iterator

import pytest

from domain.resources import resource_folder
from knowledge import isolate
from server.database.connection import Connection, connected
from server.database.embedded import EmbeddedServer
from server.database.pool import DatabasePools, open_pools
from server.logins import Login
from tests.support.database import Database, cluster_of_tests, fresh_database, migrated_template
from tests.support.nursery import shared_nursery


@pytest.fixture(scope="session", autouse=True)
def one_nursery() -> Iterator[None]:
    """Documents are read by children of one process that all tests share; see tests.support.nursery."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolate, "start_nursery", shared_nursery)
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedServer]:
    """The embedded PostgreSQL that all workers share."""
    with cluster_of_tests() as server:
        yield server


@pytest.fixture(scope="session")
def template(cluster: EmbeddedServer) -> str:
    """The name of a database with this program's migrations, to be copied."""
    return migrated_template(cluster, resource_folder("migrations"))


@pytest.fixture
def database(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    """A fresh, migrated, empty database; `.dsn(Login.APP)` and `.urls()` say how to reach it."""
    with fresh_database(cluster, template) as fresh:
        yield fresh


@pytest.fixture
async def app_connection(database: Database) -> AsyncIterator[Connection]:
    """A connection as the server's own login, under row level security."""
    async with connected(database.dsn(Login.APP)) as connection:
        yield connection


@pytest.fixture
async def owner_connection(database: Database) -> AsyncIterator[Connection]:
    """A connection as the login that migrates."""
    async with connected(database.dsn(Login.OWNER)) as connection:
        yield connection


@pytest.fixture
async def recorder_connection(database: Database) -> AsyncIterator[Connection]:
    """A connection as the login that only appends events."""
    async with connected(database.dsn(Login.RECORDER)) as connection:
        yield connection


@pytest.fixture
async def service_connection(database: Database) -> AsyncIterator[Connection]:
    """A connection as the login that crosses organizations by explicit policies."""
    async with connected(database.dsn(Login.SERVICE)) as connection:
        yield connection


@pytest.fixture
async def superuser_connection(database: Database) -> AsyncIterator[Connection]:
    """For setting up and inspecting only: what runs as superuser proves nothing about walls."""
    async with connected(database.dsn("postgres")) as connection:
        yield connection


@pytest.fixture
async def pools(database: Database) -> AsyncIterator[DatabasePools]:
    """The server's own pools, on the test's database."""
    async with open_pools(database.urls()) as opened:
        yield opened
