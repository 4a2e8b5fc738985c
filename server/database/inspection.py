"""Looks at a database as one of its logins and says what it finds, for whoever has to mend it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

from domain.policies.model import OwnPolicy
from domain.resources import resource_folder
from server.database.connection import Connection, connected
from server.database.errors import DatabaseMisconfigured, DatabaseUnavailable
from server.database.migrate import load_migrations, pending
from server.database.sendings import PlaceState, states_on
from server.database.workers import WorkersHeard, heard_on, jobs_wait
from server.logins import Login

_FOUND = """
SELECT current_setting('server_version_num')::integer / 10000 AS major,
       current_setting('server_version') AS version,
       session_user::text AS login,
       (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user) AS unbound,
       (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vector,
       EXISTS (SELECT FROM pg_class WHERE relowner = session_user::regrole AND relkind = 'r') AS owns,
       has_any_column_privilege(to_regclass('public.activity_events'), 'INSERT') AS records,
       has_any_column_privilege(to_regclass('public.activity_events'), 'SELECT, UPDATE')
           OR has_table_privilege(to_regclass('public.activity_events'), 'DELETE, TRUNCATE') AS reads
"""

# The newest change of each policy, where it does not take the policy away.
_POLICIES = """
SELECT o.slug, p.policy_id, p.text
FROM (
    SELECT DISTINCT ON (c.organization_id, c.policy_id) c.organization_id, c.policy_id, c.text
    FROM organization_policies c
    ORDER BY c.organization_id, c.policy_id, c.changed_at DESC, c.change_id DESC
) p JOIN organizations o USING (organization_id)
WHERE p.text IS NOT NULL
ORDER BY o.slug, p.policy_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A database as one login sees it."""

    version: str
    major: int
    vector: str | None
    """The version of pgvector; None: it is not installed."""
    login: str
    unbound: bool
    """Whether row level security would not bind this login."""
    owns: bool
    """Whether it owns tables."""
    records: bool | None
    """Whether it may add to the record; None: there is none yet."""
    reads: bool | None
    """Whether it may read or change the record; None: there is none yet."""


async def answering(url: str, login: Login) -> Found:
    """What answers at a login's URL.

    Raises  DatabaseUnavailable, DatabaseMisconfigured: nothing answers, or not to this login.
    """
    try:
        async with connected(url, application_name="glow doctor") as connection:
            row = await connection.fetchrow(_FOUND)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise DatabaseMisconfigured(login, str(error)) from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(login, f"{_place(url)}: {error or type(error).__name__}") from error
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return Found(
        version=row["version"],
        major=row["major"],
        vector=row["vector"],
        login=row["login"],
        unbound=row["unbound"],
        owns=row["owns"],
        records=row["records"],
        reads=row["reads"],
    )


async def unapplied(url: str) -> tuple[str, ...]:
    """The names of the migrations that this database has not seen, asked as glow_app.

    Raises  DatabaseUnavailable.
    """
    async with _asking(url, Login.APP) as connection:
        return await _unapplied(connection)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundWork:
    """Who does it, and whether any waits to be done."""

    workers: WorkersHeard
    jobs_wait: bool


async def background_work(url: str) -> BackgroundWork:
    """What becomes of jobs on this database, asked as glow_service.

    Raises  DatabaseUnavailable: also where its migrations are not applied.
    """
    async with _asking(url, Login.SERVICE) as connection:
        return BackgroundWork(workers=await heard_on(connection), jobs_wait=await jobs_wait(connection))


@dataclass(frozen=True, slots=True, kw_only=True)
class LackingVectors:
    """Documents, of all organizations, with passages that are found by their words alone."""

    refused: int
    """No vectors came for them: they are asked for again once a day."""
    waiting: int
    """They are being asked for."""


_LACKING_VECTORS = """
SELECT count(*) FILTER (WHERE status = 'ready' AND failure IS NOT NULL) AS refused,
       count(*) FILTER (WHERE status = 'embedding') AS waiting
FROM knowledge_documents WHERE deleted_at IS NULL AND replaced_by IS NULL
"""


async def lacking_vectors(url: str) -> LackingVectors:
    """How many documents lack vectors, asked as glow_service.

    Raises  DatabaseUnavailable: also where its migrations are not applied.
    """
    async with _asking(url, Login.SERVICE) as connection:
        row = await connection.fetchrow(_LACKING_VECTORS)
    return LackingVectors(refused=row["refused"] if row else 0, waiting=row["waiting"] if row else 0)


async def sendings(url: str, places: Sequence[str]) -> Sequence[PlaceState]:
    """How heads get to those places, asked as glow_service.

    Raises  DatabaseUnavailable: also where its migrations are not applied.
    """
    async with _asking(url, Login.SERVICE) as connection:
        return await states_on(connection, places)


async def _unapplied(connection: Connection) -> tuple[str, ...]:
    missing = await pending(connection, load_migrations(resource_folder("migrations")))
    return tuple(migration.name for migration in missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationsPolicy:
    """One of an organization's own policies that is in force."""

    organization: str
    """Its slug."""
    policy: OwnPolicy


async def policies_in_force(url: str) -> Sequence[OrganizationsPolicy]:
    """The organizations' own policies, asked as glow_service.

    Raises  DatabaseUnavailable: also where its migrations are not applied.
    """
    async with _asking(url, Login.SERVICE) as connection:
        rows = await connection.fetch(_POLICIES)
    return [
        OrganizationsPolicy(organization=row["slug"], policy=OwnPolicy(id=row["policy_id"], text=row["text"]))
        for row in rows
    ]


@asynccontextmanager
async def _asking(url: str, login: Login) -> AsyncGenerator[Connection]:
    """A connection of that login for the length of the block.

    Raises  DatabaseUnavailable: nothing answers, or what is asked for is not there.
    """
    try:
        async with connected(url, application_name="glow doctor") as connection:
            yield connection
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(login, f"{_place(url)}: {error or type(error).__name__}") from error


def _place(url: str) -> str:
    """Host, port and database of a URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}{parts.path}"
