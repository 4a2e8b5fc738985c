"""Migrations: applied once and in order as the owner, refused when the past was changed or the server does not fit."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from domain.resources import resource_folder
from server.database.connection import connected
from server.database.embedded import EmbeddedServer
from server.database.errors import MigrationFailed, MigrationRefused
from server.database.migrate import ADVISORY_LOCK, Patience, load_migrations, migrate, migrate_database, pending
from server.logins import Login
from tests.support.database import Database, bare_database, cluster_of_tests

FIRST = "CREATE TABLE first (id integer);"
SECOND = "ALTER TABLE first ADD COLUMN name text;\nINSERT INTO first VALUES (1, 'one');"

WAITING = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""


@pytest.fixture
def bare(cluster: EmbeddedServer) -> Iterator[Database]:
    """A bootstrapped database that no migration has seen."""
    with bare_database(cluster) as database:
        yield database


@pytest.fixture
def owner_url(bare: Database) -> str:
    """Where the owner of that database logs in."""
    return bare.dsn(Login.OWNER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A migrations folder with two files."""
    write(tmp_path, "0001_expand_first.sql", FIRST)
    write(tmp_path, "0002_expand_name.sql", SECOND)
    return tmp_path


def write(folder: Path, name: str, sql: str) -> None:
    """Puts a migration into a folder."""
    (folder / name).write_text(sql, encoding="utf-8")


async def fetch(url: str, query: str) -> object:
    """The one value of a query."""
    async with connected(url) as connection:
        return await connection.fetchval(query)


async def test_files_are_applied_once_in_order_and_recorded(folder: Path, owner_url: str) -> None:
    applied = await migrate_database(owner_url, folder)
    assert [migration.name for migration in applied] == ["0001_expand_first.sql", "0002_expand_name.sql"]
    assert await migrate_database(owner_url, folder) == ()
    assert await fetch(owner_url, "SELECT name FROM first") == "one"
    assert await fetch(owner_url, "SELECT array_agg(version ORDER BY version) FROM schema_migrations") == [1, 2]


async def test_a_later_file_is_applied_alone(folder: Path, owner_url: str) -> None:
    await migrate_database(owner_url, folder)
    write(folder, "0003_contract_first.sql", "DROP TABLE first;")
    applied = await migrate_database(owner_url, folder)
    assert [(migration.version, migration.phase) for migration in applied] == [(3, "contract")]


async def test_a_failing_file_is_rolled_back_whole_and_named_with_its_line(folder: Path, owner_url: str) -> None:
    write(folder, "0003_expand_broken.sql", "CREATE TABLE third ();\n\nCREATE TABLE first ();\n")
    with pytest.raises(MigrationFailed, match=r'0003_expand_broken\.sql.*relation "first" already exists'):
        await migrate_database(owner_url, folder)
    assert await fetch(owner_url, "SELECT to_regclass('third')") is None
    assert await fetch(owner_url, "SELECT max(version) FROM schema_migrations") == 2
    write(folder, "0003_expand_broken.sql", "CREATE TABLE third ();\n\nSELECT nonsense;\n")
    with pytest.raises(MigrationFailed, match="line 3"):
        await migrate_database(owner_url, folder)


async def test_an_edited_file_is_refused_and_nothing_changes(folder: Path, owner_url: str) -> None:
    await migrate_database(owner_url, folder)
    write(folder, "0001_expand_first.sql", FIRST + " -- better")
    write(folder, "0003_expand_third.sql", "CREATE TABLE third ();")
    with pytest.raises(MigrationRefused, match=r"0001_expand_first\.sql was edited"):
        await migrate_database(owner_url, folder)
    assert await fetch(owner_url, "SELECT to_regclass('third')") is None


async def test_a_database_newer_than_the_program_is_refused(folder: Path, owner_url: str) -> None:
    await migrate_database(owner_url, folder)
    (folder / "0002_expand_name.sql").unlink()
    with pytest.raises(MigrationRefused, match=r"newer than this program: it has 0002_expand_name\.sql"):
        await migrate_database(owner_url, folder)


async def test_a_file_missing_below_an_applied_one_is_refused(folder: Path, owner_url: str) -> None:
    await migrate_database(owner_url, folder)
    async with connected(owner_url) as connection:
        await connection.execute("DELETE FROM schema_migrations WHERE version = 1")
    with pytest.raises(MigrationRefused, match=r"later migrations but not 0001_expand_first\.sql"):
        await migrate_database(owner_url, folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("0004_expand_gap.sql", "expected number 0003"),
        ("0002_expand_twice.sql", "expected number 0003"),
        ("0003_first.sql", "is named NNNN_expand_what"),
        ("3_expand_short.sql", "is named NNNN_expand_what"),
        ("0003_expand_Capital.sql", "is named NNNN_expand_what"),
    ],
)
def test_a_folder_with_a_wrong_name_is_refused(folder: Path, name: str, words: str) -> None:
    write(folder, name, "")
    with pytest.raises(MigrationRefused, match=words):
        load_migrations(folder)


@pytest.mark.parametrize("role", ["postgres", Login.APP, Login.SERVICE])
async def test_only_the_owner_migrates(folder: Path, bare: Database, role: str) -> None:
    with pytest.raises(MigrationRefused, match=f"migrations run as glow_owner .* not as {role}"):
        await migrate_database(bare.dsn(role), folder)


async def test_an_owner_that_walls_do_not_bind_is_refused(folder: Path, bare: Database) -> None:
    async with connected(bare.dsn("postgres")) as connection:
        # In a transaction that is never committed: roles belong to every database of the shared server.
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("ALTER ROLE glow_owner BYPASSRLS; SET SESSION AUTHORIZATION glow_owner")
        with pytest.raises(MigrationRefused, match="without SUPERUSER and BYPASSRLS"):
            await migrate(connection, load_migrations(folder))
        await transaction.rollback()


async def test_a_database_without_vector_is_refused(folder: Path, bare: Database, owner_url: str) -> None:
    async with connected(bare.dsn("postgres")) as superuser:
        await superuser.execute("DROP EXTENSION vector")
    with pytest.raises(MigrationRefused, match="the extension vector is missing"):
        await migrate_database(owner_url, folder)


async def test_an_old_vector_is_refused(folder: Path, bare: Database, owner_url: str) -> None:
    async with connected(bare.dsn("postgres")) as superuser:
        await superuser.execute("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
    with pytest.raises(MigrationRefused, match=r"pgvector 0\.8 or newer is needed, this is 0\.7\.4"):
        await migrate_database(owner_url, folder)


async def test_two_migrators_at_once_apply_each_file_once(folder: Path, owner_url: str) -> None:
    results = await asyncio.gather(*(migrate_database(owner_url, folder) for _ in range(4)))
    assert sorted(len(applied) for applied in results) == [0, 0, 0, 2]


async def test_the_advisory_lock_is_given_back_when_a_file_fails(folder: Path, owner_url: str) -> None:
    write(folder, "0003_expand_broken.sql", "SELECT nonsense;")
    async with connected(owner_url) as connection:
        with pytest.raises(MigrationFailed):
            await migrate(connection, load_migrations(folder))
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        assert await connection.fetchval(held) == 0


async def test_a_table_in_use_is_tried_again_and_then_given_up_without_harm(folder: Path, owner_url: str) -> None:
    write(folder, "0003_expand_locked.sql", "ALTER TABLE first ADD COLUMN more text;")
    impatient = Patience(lock_timeout_s=0.05, attempts=2, pause_s=0.0)
    async with connected(owner_url) as reader, connected(owner_url) as connection:
        await migrate(connection, load_migrations(folder)[:2])
        async with reader.transaction():
            await reader.fetch("SELECT * FROM first")
            with pytest.raises(MigrationFailed, match="a lock was not to be had in 2 attempts"):
                await migrate(connection, load_migrations(folder), impatient)
        assert len(await migrate(connection, load_migrations(folder), impatient)) == 1


async def test_the_application_sees_what_is_pending(folder: Path, bare: Database, owner_url: str) -> None:
    migrations = load_migrations(folder)
    async with connected(bare.dsn(Login.APP)) as app:
        assert await pending(app, migrations) == migrations
        await migrate_database(owner_url, folder)
        assert await pending(app, migrations) == ()
        # An older program on a newer database stays ready: expanding comes first.
        assert await pending(app, migrations[:1]) == ()
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("DELETE FROM schema_migrations")


async def test_a_migrator_waits_for_another(folder: Path, owner_url: str) -> None:
    async with connected(owner_url) as other:
        await other.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        waiting = asyncio.create_task(migrate_database(owner_url, folder))
        while not await other.fetchval(WAITING):
            pass
        assert not waiting.done()
        await other.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)
        assert len(await waiting) == 2


@pytest.mark.parametrize("major", [16])
async def test_the_program_s_own_migrations_run_on_the_oldest_postgresql(major: int) -> None:
    with cluster_of_tests(major) as server, bare_database(server) as database:
        applied = await migrate_database(database.dsn(Login.OWNER), resource_folder("migrations"))
        assert applied == load_migrations(resource_folder("migrations"))


BEFORE_TIMES = """
INSERT INTO organizations (organization_id, slug, name)
    VALUES (gen_random_uuid(), 'one', 'One'), (gen_random_uuid(), 'two', 'Two');
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, trust, status,
    size_bytes, content_sha256, uploaded_by, created_at, updated_at, deleted_at)
SELECT organization_id, gen_random_uuid(), slug, 'u', 'text/plain', 'firm', 'internal', 'ready', 1, '\\x00',
       gen_random_uuid(), now(), now(), now() - interval '1 year'
FROM organizations;
"""
TIMES = "SELECT title, purge_at BETWEEN now() + interval '29 days' AND now() + interval '30 days' AS due"


async def test_what_was_deleted_before_there_was_a_time_gets_one_in_every_organization(
    bare: Database, owner_url: str
) -> None:
    migrations = load_migrations(resource_folder("migrations"))
    async with connected(owner_url) as owner, connected(bare.dsn("postgres")) as inspector:
        await migrate(owner, migrations[:74])
        await inspector.execute(f"SET session_replication_role = replica; {BEFORE_TIMES}")
        await migrate(owner, migrations)
        found = await inspector.fetch(f"{TIMES} FROM knowledge_documents ORDER BY title")
        assert [tuple(row) for row in found] == [("one", True), ("two", True)]
