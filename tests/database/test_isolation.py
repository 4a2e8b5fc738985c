"""The first wall: row level security, table by table as the catalogue has them, under the server's own login."""

import asyncpg
import pytest

from domain.kernel import OrganizationId
from server.database.connection import Connection
from server.database.queue import payload_of
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms, stand_in
from tools.work import Job

WITHOUT_ORGANIZATION = {"users": "seen through memberships: a person may belong to several organizations"}
NOT_TENANT = {"schema_migrations": "what was migrated; the application may not even read it"}

TABLES = """
SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
       has_table_privilege('glow_app', c.oid, 'SELECT') AS readable,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organization_id') AS tenant,
       (SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND i.indisunique ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1) AS first_key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname
"""
FOREIGN_KEYS = """
SELECT c.conrelid::regclass::text AS child, c.conname AS name, c.confrelid::regclass::text AS parent,
       (SELECT array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)) AS columns
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE c.contype = 'f' AND n.nspname = 'public'
"""

PICKED = """
INSERT INTO queue.pgqueuer (priority, status, entrypoint, payload) VALUES (0, 'picked', 'document_index', $1)
"""


@pytest.fixture
async def firms(owner_connection: Connection) -> tuple[Firm, Firm]:
    return await seed_firms(owner_connection)


async def tenant_tables(connection: Connection) -> list[str]:
    rows = await connection.fetch(TABLES)
    return [row["name"] for row in rows if row["name"] not in NOT_TENANT]


async def test_every_table_has_forced_row_level_security_and_a_key_that_begins_with_the_organization(
    superuser_connection: Connection,
) -> None:
    rows = [row for row in await superuser_connection.fetch(TABLES) if row["name"] not in NOT_TENANT]
    assert len(rows) >= 25
    assert [row["name"] for row in rows if not (row["enabled"] and row["forced"])] == []
    assert [row["name"] for row in rows if not row["tenant"]] == list(WITHOUT_ORGANIZATION)
    loose = [row["name"] for row in rows if row["tenant"] and row["first_key"] != "organization_id"]
    assert loose == []


async def test_every_foreign_key_between_tenant_tables_carries_the_organization(
    superuser_connection: Connection,
) -> None:
    rows = await superuser_connection.fetch(FOREIGN_KEYS)
    roots = {"organizations", "users"}
    loose = [
        f"{row['child']}.{row['name']}"
        for row in rows
        if row["parent"] not in roots and "organization_id" not in row["columns"]
    ]
    assert loose == []


async def test_every_table_is_seeded_for_both_firms(firms: tuple[Firm, Firm], superuser_connection: Connection) -> None:
    for table in await tenant_tables(superuser_connection):
        if table in WITHOUT_ORGANIZATION:
            continue
        for firm in firms:
            found = await superuser_connection.fetchval(
                f"SELECT count(*) FROM {table} WHERE organization_id = $1",
                firm.organization_id,
            )
            assert found, f"{table} has no row of firm {firm.n}: add one to the seed"


@pytest.mark.parametrize("who", ["partner", "employee", "client", "service"])
async def test_no_principal_sees_a_row_of_another_organization_in_any_table(
    firms: tuple[Firm, Firm], superuser_connection: Connection, app_connection: Connection, who: str
) -> None:
    tables = await tenant_tables(superuser_connection)
    for mine, other in (firms, firms[::-1]):
        async with app_connection.transaction():
            await stand_in(app_connection, mine, who)
            for table in set(tables) - set(WITHOUT_ORGANIZATION):
                foreign = await app_connection.fetchval(
                    f"SELECT count(*) FROM {table} WHERE organization_id = $1",
                    other.organization_id,
                )
                assert foreign == 0, f"{who} of firm {mine.n} sees {table} of firm {other.n}"
            emails = await app_connection.fetch("SELECT email FROM users")
            assert {row["email"].partition("@")[2] for row in emails} == {f"firm-{mine.n}.example"}


async def test_without_a_context_nothing_is_visible(
    firms: tuple[Firm, Firm], superuser_connection: Connection, app_connection: Connection
) -> None:
    for table in await tenant_tables(superuser_connection):
        assert await app_connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_a_principal_without_a_membership_sees_nothing_of_the_firm(
    firms: tuple[Firm, Firm], app_connection: Connection
) -> None:
    async with app_connection.transaction():
        role = await app_connection.fetchval(
            "SELECT glow.begin_session($1, $2)", FIRM_A.organization_id, FIRM_B.id("partner")
        )
        assert role is None
        for table in ("knowledge_documents", "knowledge_chunks", "tasks", "approvals", "conversations"):
            assert await app_connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_a_connection_handed_from_one_organization_to_another_and_back_shows_each_its_own(
    firms: tuple[Firm, Firm], app_connection: Connection
) -> None:
    for firm in (FIRM_A, FIRM_B, FIRM_A):
        async with app_connection.transaction():
            await stand_in(app_connection, firm, "partner")
            rows = await app_connection.fetch("SELECT organization_id FROM tasks")
            assert {row["organization_id"] for row in rows} == {firm.organization_id}
        assert await app_connection.fetchval("SELECT count(*) FROM tasks") == 0


async def test_a_client_sees_only_what_is_for_clients_in_its_own_engagements(
    firms: tuple[Firm, Firm], app_connection: Connection
) -> None:
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "client")
        for table, key in (
            ("knowledge_documents", "document_id"),
            ("knowledge_files", "document_id"),
            ("knowledge_chunks", "chunk_id"),
            ("knowledge_postings", "chunk_id"),
            ("knowledge_embeddings", "chunk_id"),
            ("tasks", "task_id"),
        ):
            rows = await app_connection.fetch(f"SELECT {key} AS id FROM {table}")
            assert [row["id"] for row in rows] == [FIRM_A.id("client_thing")], table
        for table in ("knowledge_sources", "sign_offs", "task_runs", "task_run_progress"):
            assert await app_connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
        engagements = await app_connection.fetch("SELECT engagement_id FROM engagements")
        assert [row["engagement_id"] for row in engagements] == [FIRM_A.id("engagement")]


@pytest.mark.parametrize(("who", "sees"), [("partner", 1), ("employee", 1), ("client", 0), ("service", 0)])
async def test_the_record_is_read_by_its_own_principal_and_by_who_answers_for_the_organization(
    firms: tuple[Firm, Firm], app_connection: Connection, who: str, sees: int
) -> None:
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, who)
        assert await app_connection.fetchval("SELECT count(*) FROM activity_events") == sees
        assert await app_connection.fetchval("SELECT count(*) FROM activity_payloads") == sees


@pytest.mark.parametrize(("who", "sees"), [("employee", 1), ("partner", 0), ("client", 0)])
async def test_a_conversation_is_its_owners_alone(
    firms: tuple[Firm, Firm], app_connection: Connection, who: str, sees: int
) -> None:
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, who)
        for table in ("conversations", "messages", "runs", "run_events"):
            assert await app_connection.fetchval(f"SELECT count(*) FROM {table}") == sees, table


async def test_a_row_cannot_be_written_into_another_organization(
    firms: tuple[Firm, Firm], app_connection: Connection
) -> None:
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "employee")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app_connection.execute(
                "INSERT INTO conversations (organization_id, conversation_id, owner_id, title, agent, created_at, "
                "updated_at) VALUES ($1, gen_random_uuid(), $2, '', '', now(), now())",
                FIRM_B.organization_id,
                FIRM_A.id("employee"),
            )


async def test_a_foreign_row_is_neither_changed_nor_removed(
    firms: tuple[Firm, Firm], app_connection: Connection
) -> None:
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "employee")
        changed = await app_connection.execute(
            "UPDATE conversations SET title = 'mine' WHERE organization_id = $1", FIRM_B.organization_id
        )
        removed = await app_connection.execute(
            "DELETE FROM conversations WHERE organization_id = $1", FIRM_B.organization_id
        )
        assert (changed, removed) == ("UPDATE 0", "DELETE 0")


async def test_the_owner_obeys_no_context_yet_is_no_superuser(owner_connection: Connection) -> None:
    row = await owner_connection.fetchrow(
        "SELECT rolsuper OR rolbypassrls OR rolcreaterole AS powers FROM pg_roles WHERE rolname = session_user"
    )
    assert row is not None
    assert row["powers"] is False


async def test_the_owners_backfill_changes_rows(firms: tuple[Firm, Firm], owner_connection: Connection) -> None:
    assert await owner_connection.execute("UPDATE tasks SET description = 'backfilled'") == "UPDATE 4"


async def test_the_recorder_appends_for_any_organization_and_reads_nothing(
    firms: tuple[Firm, Firm], recorder_connection: Connection
) -> None:
    for firm in firms:
        await recorder_connection.execute(
            "INSERT INTO run_events (organization_id, run_id, sequence, type, data) VALUES ($1, $2, 2, 't', '{}')",
            firm.organization_id,
            firm.id("thing"),
        )
    for table in ("run_events", "activity_events", "activity_payloads", "tasks"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await recorder_connection.fetchval(f"SELECT count(*) FROM {table}")


async def test_the_service_login_sees_ids_and_states_but_no_contents(
    firms: tuple[Firm, Firm], service_connection: Connection
) -> None:
    assert await service_connection.fetchval("SELECT count(run_id) FROM runs") == 2
    for forbidden in (
        "SELECT text FROM knowledge_documents",
        "SELECT input FROM task_runs",
        "SELECT data FROM run_events",
        "SELECT content FROM messages",
        "SELECT facts FROM activity_events",
        "UPDATE runs SET owner_id = owner_id",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service_connection.execute(forbidden)


@pytest.mark.parametrize(("who", "sees"), [("employee", 1), ("partner", 1), ("client", 0), ("service", 0)])
async def test_an_approval_is_seen_by_who_asked_for_it_and_who_may_decide_it(
    firms: tuple[Firm, Firm], app_connection: Connection, who: str, sees: int
) -> None:
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, who)
        assert await app_connection.fetchval("SELECT count(*) FROM approvals") == sees


async def test_nobody_plants_a_run_in_a_colleagues_conversation(
    firms: tuple[Firm, Firm], app_connection: Connection
) -> None:
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "partner")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app_connection.execute(
                "INSERT INTO runs (organization_id, run_id, conversation_id, owner_id, agent, model, door, status, "
                "heartbeat_at, created_at) VALUES ($1, gen_random_uuid(), $2, $3, 'a', 'm', 'chat', 'running', now(), "
                "now())",
                FIRM_A.organization_id,
                FIRM_A.id("thing"),
                FIRM_A.id("partner"),
            )


async def test_functions_that_see_past_row_security_look_nowhere_else_first(superuser_connection: Connection) -> None:
    rows = await superuser_connection.fetch(
        "SELECT p.proname, p.proconfig FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = 'glow' AND p.prosecdef"
    )
    assert len(rows) >= 7
    assert {tuple(row["proconfig"]) for row in rows} == {("search_path=pg_catalog, public, pg_temp",)}


async def test_what_workers_read_is_told_to_its_own_organization_alone(
    firms: tuple[Firm, Firm], app_connection: Connection, service_connection: Connection
) -> None:
    for firm in firms:
        payload = payload_of(
            Job(
                kind="document_index",
                organization_id=OrganizationId(firm.organization_id),
                subject_id=firm.id("thing"),
            )
        )
        await service_connection.execute(PICKED, payload)
    told = "SELECT array(SELECT glow.documents_parsing())"
    for firm in firms:
        async with app_connection.transaction():
            await stand_in(app_connection, firm, "partner")
            assert await app_connection.fetchval(told) == [firm.id("thing")]
    assert await app_connection.fetchval(told) == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app_connection.execute("SELECT FROM queue.pgqueuer")
