"""Brings the database's schema to what this program needs: plain SQL files, forward only, run as the owner."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import asyncpg

from server.database.connection import AnyConnection, Connection, connected
from server.database.errors import MigrationFailed, MigrationRefused
from server.logins import Login

Phase = Literal["expand", "contract"]

OLDEST_POSTGRES = 16
OLDEST_PGVECTOR = (0, 8)
ADVISORY_LOCK = 7_101_000_412
"""Any number, the same in every version of this program; one migrator at a time in a database."""

_NAME = re.compile(r"(?P<version>\d{4})_(?P<phase>expand|contract)_[a-z0-9_]+\.sql")

_LEDGER = """
CREATE TABLE IF NOT EXISTS public.schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON public.schema_migrations TO glow_app, glow_service;
"""

_LEDGER_EXISTS = "SELECT to_regclass('public.schema_migrations') IS NOT NULL"

_APPLIED = "SELECT version, name, checksum FROM public.schema_migrations ORDER BY version"

_RECORD = "INSERT INTO public.schema_migrations (version, name, checksum) VALUES ($1, $2, $3)"

_TIMEOUTS = "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', '0', true)"

_SERVER = """
SELECT current_setting('server_version_num')::integer / 10000 AS major,
       current_setting('server_version') AS version,
       session_user AS login,
       (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user) AS unbound,
       (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vector
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of the migrations folder."""

    version: int
    phase: Phase
    name: str
    sql: str = field(repr=False)

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a migration waits for locks; it gives way to traffic rather than queue all of it up behind itself."""

    lock_timeout_s: float = 5.0
    attempts: int = 6
    pause_s: float = 1.0
    """Before the second attempt; each later pause is longer by as much."""


def load_migrations(folder: Path) -> tuple[Migration, ...]:
    """The migrations of a folder, in order.

    Raises  MigrationRefused: a name that is none, a number missing or used twice.
    """
    loaded = tuple(_load(path) for path in sorted(folder.glob("*.sql")))
    for expected, migration in enumerate(loaded, start=1):
        if migration.version != expected:
            raise MigrationRefused(f"{folder}: expected number {expected:04d}, found {migration.name}")
    return loaded


async def migrate(
    connection: Connection,
    migrations: Sequence[Migration],
    patience: Patience = Patience(),
) -> tuple[Migration, ...]:
    """The migrations that were missing, now applied; `connection` is the owner's, and no pool's.

    Effect  one transaction a file, under an advisory lock: a second migrator waits, then finds nothing to do.
    Raises  MigrationRefused: wrong login, server or extension too old, an applied file was edited, a gap, or the
            database is newer than this program.  MigrationFailed: a file's SQL failed.
    """
    await _check_server(connection)
    async with _alone(connection):
        await connection.execute(_LEDGER)
        missing = _missing(await _applied(connection), migrations)
        for migration in missing:
            await _apply_patiently(connection, migration, patience)
    return missing


async def migrate_database(owner_url: str, folder: Path) -> tuple[Migration, ...]:
    """`migrate` over a connection of its own, as `glow migrate` runs it."""
    migrations = load_migrations(folder)
    async with connected(owner_url, application_name="glow migrate") as connection:
        return await migrate(connection, migrations)


async def pending(
    connection: AnyConnection,
    migrations: Sequence[Migration],
) -> tuple[Migration, ...]:
    """What is not applied yet; the server is not ready while there is any.

    A newer database is no reason to be unready: expanding comes before the program that needs it, so that an older
    one serves on.
    """
    if not await connection.fetchval(_LEDGER_EXISTS):
        return tuple(migrations)
    versions = {cast(int, row["version"]) for row in await connection.fetch(_APPLIED)}
    return tuple(migration for migration in migrations if migration.version not in versions)


def _load(path: Path) -> Migration:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise MigrationRefused(f"{path.name}: a migration is named NNNN_expand_what.sql or NNNN_contract_what.sql")
    return Migration(
        version=int(match["version"]),
        phase=cast(Phase, match["phase"]),
        name=path.name,
        sql=path.read_text(encoding="utf-8"),
    )


async def _check_server(connection: Connection) -> None:
    server = await connection.fetchrow(_SERVER)
    assert server is not None  # noqa: S101 - a SELECT without FROM has one row
    if server["major"] < OLDEST_POSTGRES:
        raise MigrationRefused(f"PostgreSQL {OLDEST_POSTGRES} or newer is needed, this is {server['version']}")
    if server["login"] != Login.OWNER or server["unbound"]:
        raise MigrationRefused(
            f"migrations run as {Login.OWNER} without SUPERUSER and BYPASSRLS, not as {server['login']}: "
            "set GLOW_OWNER_DATABASE_URL (`glow migrate --bootstrap-sql` makes the login)"
        )
    if server["vector"] is None:
        raise MigrationRefused("the extension vector is missing: a superuser runs `glow migrate --bootstrap-sql` once")
    if _version(server["vector"]) < OLDEST_PGVECTOR:
        raise MigrationRefused(
            f"pgvector {'.'.join(map(str, OLDEST_PGVECTOR))} or newer is needed, this is {server['vector']}: "
            "a superuser runs ALTER EXTENSION vector UPDATE"
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


@asynccontextmanager
async def _alone(connection: Connection) -> AsyncGenerator[None]:
    await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)


async def _applied(connection: Connection) -> dict[int, tuple[str, str]]:
    rows = await connection.fetch(_APPLIED)
    return {row["version"]: (row["name"], row["checksum"]) for row in rows}


def _missing(applied: dict[int, tuple[str, str]], migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    known = {migration.version: migration for migration in migrations}
    for version, (name, checksum) in sorted(applied.items()):
        if version not in known:
            raise MigrationRefused(f"the database is newer than this program: it has {name}, which is unknown here")
        if known[version].checksum != checksum:
            raise MigrationRefused(f"{known[version].name} was edited after it was applied: write a new migration")
    missing = tuple(migration for migration in migrations if migration.version not in applied)
    if missing and applied and missing[0].version < max(applied):
        raise MigrationRefused(f"the database has later migrations but not {missing[0].name}")
    return missing


async def _apply_patiently(connection: Connection, migration: Migration, patience: Patience) -> None:
    for attempt in range(1, patience.attempts + 1):
        try:
            return await _apply(connection, migration, patience)
        except asyncpg.LockNotAvailableError as error:
            if attempt == patience.attempts:
                reason = f"a lock was not to be had in {attempt} attempts of {patience.lock_timeout_s} s ({error})"
                raise MigrationFailed(migration.name, reason) from error
        except asyncpg.PostgresError as error:
            raise MigrationFailed(migration.name, _reason(error, migration)) from error
        await asyncio.sleep(patience.pause_s * attempt)
    return None


async def _apply(connection: Connection, migration: Migration, patience: Patience) -> None:
    async with connection.transaction():
        await connection.execute(_TIMEOUTS, f"{patience.lock_timeout_s * 1000:.0f}ms")
        await connection.execute(migration.sql)
        await connection.execute(_RECORD, migration.version, migration.name, migration.checksum)


def _reason(error: asyncpg.PostgresError, migration: Migration) -> str:
    position = str(getattr(error, "position", None) or "")
    if not position.isdigit():
        return str(error)
    return f"line {migration.sql.count(chr(10), 0, int(position)) + 1}: {error}"
