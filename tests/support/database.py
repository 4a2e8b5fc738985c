"""The database of tests: one embedded PostgreSQL for all workers, a migrated template, a copy for each test."""

import asyncio
import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
from anyio.from_thread import start_blocking_portal

from server.database.bootstrap import bootstrap
from server.database.connection import connected
from server.database.embedded import EmbeddedOptions, EmbeddedServer, embedded
from server.database.migrate import load_migrations, migrate_database
from server.home import GlowHome, exclusive
from server.logins import DatabaseAddress, DatabaseUrls, Login

SETTINGS: Mapping[str, str] = {
    # Nothing here outlives a test, so nothing is worth waiting for the disk.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_size": "256MB",
    "max_wal_senders": "0",
    "max_connections": "400",
    "autovacuum_naptime": "10min",
    # Each login works through them, in Python; what they make hard to guess opens nothing here.
    "scram_iterations": "1",
}

MEMORY_FOLDER = Path("/dev/shm")
ROOM_NEEDED_BYTES = 4 << 30
COPIES_BETWEEN_VACUUMS = 32

Result = TypeVar("Result")

_numbers = itertools.count()
_prepared_by: dict[int, Callable[[str], object]] = {}
"""What runs statements as superuser on the server at that port."""

_STALE_TEMPLATES = r"""
SELECT datname FROM pg_database
WHERE datname LIKE 'template\_glow\_%' AND NOT datallowconn
  AND (pg_stat_file('base/' || oid || '/PG_VERSION')).modification < now() - interval '12 hours'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database of one test's own."""

    address: DatabaseAddress = field(repr=False)
    name: str

    def dsn(self, role: str) -> str:
        """The URL for a Login, or for `postgres`, which sets up and inspects but never runs code under test."""
        return self.address.dsn(role)

    def urls(self) -> DatabaseUrls:
        """The four URLs, as the server's settings would give them."""
        return self.address.urls()


def home_of_tests(major: int) -> GlowHome:
    """A home shared by every test run of this account on this machine, so that only the first pays for initdb.

    Raises  PermissionError: the folder in the machine's temporary folder is another account's.
    """
    parent = _parent_of_homes()
    key = hashlib.sha256(repr((major, sorted(SETTINGS.items()), str(parent))).encode()).hexdigest()[:8]
    home = GlowHome(parent / f"glow-tests-{os.geteuid()}-{key}")
    if home.ensure().stat().st_uid != os.geteuid():
        raise PermissionError(f"{home.path} belongs to another account")
    return home


@contextmanager
def cluster_of_tests(major: int = 18) -> Generator[EmbeddedServer]:
    """The shared server, without durability."""
    home = home_of_tests(major)
    with embedded(home, EmbeddedOptions(major=major, settings=SETTINGS)) as server:
        with exclusive(home.path / "templates.lock"):
            _drop_leftovers(server)
        with _preparing(server):
            yield server


def migrated_template(server: EmbeddedServer, folder: Path) -> str:
    """The name of a database with the migrations of `folder`, made by whoever comes first and kept for later runs."""
    checksums = [migration.checksum for migration in load_migrations(folder)]
    name = "template_glow_" + hashlib.sha256("\n".join(checksums).encode()).hexdigest()[:16]
    with exclusive(server.cluster.folder.parent / "templates.lock"):
        if server.superuser(f"SELECT NOT datallowconn FROM pg_database WHERE datname = '{name}'") != "t":
            server.superuser(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            bootstrap(server.superuser, server.address.passwords, database=name)
            run_apart(migrate_database(_at(server, name).dsn(Login.OWNER), folder))
            # Marks it whole, and keeps connections out: copying needs a database that nobody is in.
            server.superuser(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    return name


@contextmanager
def fresh_database(server: EmbeddedServer, template: str) -> Generator[Database]:
    """A copy of `template`, dropped at the end of the block."""
    number = next(_numbers)
    name = f"test_{os.getpid()}_{number}"
    run = _prepared_by[server.address.port]
    run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY OWNER glow_owner')
    run(f"""
        REVOKE ALL ON DATABASE "{name}" FROM PUBLIC;
        GRANT CONNECT ON DATABASE "{name}" TO {", ".join(Login)};
    """)
    try:
        yield Database(address=_at(server, name), name=name)
    finally:
        run(f'DROP DATABASE "{name}" WITH (FORCE)')
        if number % COPIES_BETWEEN_VACUUMS == 0:
            # Each copy leaves some hundred dead rows in it, and once there are many a copy takes half a second.
            run("VACUUM (SKIP_LOCKED) pg_shdepend")


@contextmanager
def bare_database(server: EmbeddedServer) -> Generator[Database]:
    """A bootstrapped database without any migration, dropped at the end of the block."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    bootstrap(server.superuser, server.address.passwords, database=name)
    try:
        yield Database(address=_at(server, name), name=name)
    finally:
        server.superuser(f'DROP DATABASE "{name}" WITH (FORCE)')


def run_apart(work: Coroutine[object, object, Result]) -> Result:
    """The result of a coroutine, run on a loop and thread of its own: a fixture must not touch the test's loop."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextmanager
def _preparing(server: EmbeddedServer) -> Generator[None]:
    """A superuser's connection for the length of the block: psql, begun twice for each test, takes 25 ms a time."""
    dsn = _at(server, "postgres").dsn("postgres")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(connected(dsn)) as connection:
        _prepared_by[server.address.port] = lambda statements: portal.call(connection.execute, statements)
        try:
            yield
        finally:
            del _prepared_by[server.address.port]


def _parent_of_homes() -> Path:
    """Memory where there is plenty of it: on a disk, copying a database takes a test twice as long."""
    with suppress(OSError):
        room = os.statvfs(MEMORY_FOLDER)
        if room.f_bavail * room.f_frsize >= ROOM_NEEDED_BYTES and os.access(MEMORY_FOLDER, os.W_OK):
            return MEMORY_FOLDER
    return Path(tempfile.gettempdir())


def _at(server: EmbeddedServer, database: str) -> DatabaseAddress:
    address = server.address
    return DatabaseAddress(host=address.host, port=address.port, database=database, passwords=address.passwords)


def _drop_leftovers(server: EmbeddedServer) -> None:
    """Removes the databases of test runs that were killed, and templates that nobody has used for long."""
    listed = server.superuser("SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'").splitlines()
    dead = [name for name in listed if not psutil.pid_exists(int(name.split("_")[1]))]
    stale = server.superuser(_STALE_TEMPLATES).splitlines()
    for name in (*dead, *stale):
        server.superuser(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
