"""Whether the database answers its four logins, with the rights that each needs, and is migrated."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

from server.database.binaries import installed
from server.database.embedded import EmbeddedOptions, acquire
from server.database.errors import DatabaseError, DatabaseMisconfigured, DatabaseUnavailable
from server.database.inspection import Found, answering, unapplied
from server.database.migrate import OLDEST_PGVECTOR, OLDEST_POSTGRES
from server.doctor.finding import Finding, wrong
from server.logins import DatabaseUrls, Login
from server.settings import Settings


def programs_finding() -> Finding:
    """Whether the embedded PostgreSQL, which no start has made yet, can be."""
    try:
        installed(EmbeddedOptions().major)
    except DatabaseError as missing:
        return wrong("database", str(missing), "install the program's dependencies again")
    return Finding(part="database", state="note", says="the embedded PostgreSQL, made at the first start")


@asynccontextmanager
async def unmigrated_urls(settings: Settings) -> AsyncGenerator[DatabaseUrls]:
    """The four logins, nothing migrated."""
    if not settings.is_embedded:
        yield settings.database_urls()
        return
    server = await asyncio.to_thread(acquire, settings.home)
    try:
        yield server.urls()
    finally:
        await asyncio.to_thread(server.release)


async def logins_findings(urls: DatabaseUrls) -> AsyncGenerator[Finding]:
    """Whether each login gets in with the rights it needs and no more; and the versions that answer."""
    seen: list[Found] = []
    for login in Login:
        url = urls.url(login)
        if url is None:
            says = "GLOW_OWNER_DATABASE_URL is not set: nothing can be migrated from here"
            yield Finding(part=login, state="note", says=says)
            continue
        try:
            found = await answering(url, login)
        except DatabaseUnavailable as away:
            yield wrong(login, str(away), "start the database, or mend host and port in this login's URL")
        except DatabaseMisconfigured as misconfigured:
            yield wrong(login, str(misconfigured), "mend its URL; `glow migrate --bootstrap-sql` makes the logins")
        else:
            seen.append(found)
            yield _rights(login, found)
    for finding in _server(seen[0]) if seen else ():
        yield finding


def _rights(login: Login, found: Found) -> Finding:
    """Whether a login is who it should be, and may neither more nor less than its work needs."""
    remake = "a superuser runs `glow migrate --bootstrap-sql` again, which takes the rights away"
    if found.login != login:
        return wrong(login, f"its URL logs in as {found.login}", f"its URL must log in as {login}")
    if found.unbound:
        return wrong(login, "is superuser or has BYPASSRLS, so that no wall holds against it", remake)
    if found.owns and login is not Login.OWNER:
        return wrong(login, "owns tables, whose rules it could change", f"give them to {Login.OWNER}")
    if found.records is False and login in {Login.APP, Login.RECORDER}:
        return wrong(login, "may not write the record", "run `glow migrate` as the owner")
    if found.reads and login is Login.RECORDER:
        return wrong(login, "may read the record or change it", "revoke all but INSERT on activity_events from it")
    return Finding(part=login, state="ok", says="logs in with the rights it needs, and no more")


def _server(found: Found) -> Iterator[Finding]:
    if found.major < OLDEST_POSTGRES:
        newer = f"PostgreSQL {OLDEST_POSTGRES} or newer is needed"
        yield wrong("postgresql", f"version {found.version}", newer)
    else:
        yield Finding(part="postgresql", state="ok", says=f"version {found.version}")
    if found.vector is None:
        yield wrong("pgvector", "is not installed", "a superuser runs `glow migrate --bootstrap-sql` once")
    elif tuple(int(part) for part in found.vector.split(".")[:2]) < OLDEST_PGVECTOR:
        yield wrong("pgvector", f"version {found.vector} is too old", "a superuser runs ALTER EXTENSION vector UPDATE")
    else:
        yield Finding(part="pgvector", state="ok", says=f"version {found.vector}")


async def migrations_finding(app_url: str, *, embedded: bool) -> Finding:
    """Whether the database is migrated, and if not, who applies what is missing."""
    try:
        missing = await unapplied(app_url)
    except DatabaseUnavailable:
        return Finding(part="migrations", state="note", says="not known while the database does not answer")
    if not missing:
        return Finding(part="migrations", state="ok", says="all applied")
    says = f"{len(missing)} are to be applied, {missing[0]} first"
    if embedded:
        return Finding(part="migrations", state="note", says=f"{says}; the next start applies them")
    return wrong("migrations", says, "run `glow migrate` with GLOW_OWNER_DATABASE_URL set")
