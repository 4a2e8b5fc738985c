"""The second wall: without an allowed, writing ticket of this transaction that declares the table, nothing changes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from server.database.connection import Connection
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms, stand_in

REFUSED = "GL001"

TICKET = """
INSERT INTO activity_events (organization_id, event_id, kind, opens, occurred_at, call_id, tool, effect, writes, door,
    principal_id, principal_kind, mode, attended, facts, approval_id)
VALUES ($1, gen_random_uuid(), $2, true, now(), $3, 'task_create', $4, $5, 'chat', $6, 'person', 'agent', true, '{}',
    $7)
"""
RESTORED = """
INSERT INTO activity_events (organization_id, event_id, kind, opens, occurred_at, recorded_at, xact_id, call_id, tool,
    effect, writes, door, principal_id, principal_kind, mode, attended, facts)
VALUES ($1, gen_random_uuid(), 'tool.allowed', true, now(), now() - interval '1 hour', $2::text::xid8,
    gen_random_uuid(), 'task_create', 'prepare', '{tasks}', 'chat', $3, 'person', 'agent', true, '{}')
"""
TASK = """
INSERT INTO tasks (organization_id, task_id, title, status, created_by, created_at, updated_at)
VALUES ($1, gen_random_uuid(), 'New', 'open', $2, now(), now())
"""
APPROVAL = """
INSERT INTO approvals (organization_id, approval_id, call_id, tool, manifest_digest, policy_digest, arguments,
    arguments_digest, reasons, requested_by, requested_kind, requested_mode, requested_door, requested_scheduled,
    agent_ceiling, needs_role, four_eyes, state, created_at, expires_at)
VALUES ($1, $2, $3, 'task_create', '', '', '{}', '', '{}', $4, 'person', 'agent', 'chat', false, 3, 'EMPLOYEE', false,
    $5, now(), now() + interval '1 day')
"""
TICKETED = """
SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind = 'r'
  AND (SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
       WHERE t.tgrelid = c.oid AND p.proname IN
           ('refuse_without_ticket', 'refuse_unasked_approval', 'refuse_parted_feedback')) = 3
"""
PLUMBING = {
    "conversations",
    "conversation_summaries",
    "messages",
    "runs",
    "run_events",
    "message_words",
    "task_run_progress",
    "call_intents",
    "schedule_progress",
    "schedule_makers",
    "task_run_answers",
    "idempotency_keys",
    "budget_use",
    "budget_reservations",
    "activity_events",
    "activity_payloads",
    "users",
    "schema_migrations",
    "slack_events",
    "slack_threads",
    "slack_approvals",
    "slack_direct_questions",
    "ledger_leaves",
    "ledger_nodes",
    "ledger_keys",
    "ledger_heads",
    "ledger_rotations",
    "ledger_sendings",
    "activity_taints",
}
"""Tables that no ticket guards. Source  ADR-0011; users: the application may not write it at all."""


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    """The server's own login in a database with both firms."""
    await seed_firms(owner_connection)
    return app_connection


@asynccontextmanager
async def context(app: Connection, firm: Firm = FIRM_A, who: str = "employee") -> AsyncGenerator[None]:
    async with app.transaction():
        await stand_in(app, firm, who)
        yield


async def ticket(
    app: Connection,
    firm: Firm = FIRM_A,
    *,
    kind: str = "tool.allowed",
    effect: str = "prepare",
    writes: tuple[str, ...] = ("tasks",),
    call_id: UUID | None = None,
    approval_id: UUID | None = None,
) -> None:
    await app.execute(
        TICKET, firm.organization_id, kind, call_id or uuid4(), effect, list(writes), firm.id("employee"), approval_id
    )


async def write_task(app: Connection, firm: Firm = FIRM_A) -> None:
    await app.execute(TASK, firm.organization_id, firm.id("employee"))


async def refused(app: Connection, statement: str, *arguments: object) -> None:
    with pytest.raises(asyncpg.PostgresError) as raised:
        await app.execute(statement, *arguments)
    assert raised.value.sqlstate == REFUSED


async def test_every_table_is_either_guarded_by_tickets_or_listed_as_plumbing(
    superuser_connection: Connection,
) -> None:
    guarded = {row["name"] for row in await superuser_connection.fetch(TICKETED)}
    rows = await superuser_connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert guarded | PLUMBING == {row["tablename"] for row in rows}
    assert guarded & PLUMBING == set()


async def test_a_ticket_of_this_transaction_lets_its_table_be_written(app: Connection) -> None:
    async with context(app):
        await ticket(app)
        await write_task(app)
        await app.execute("UPDATE tasks SET title = 'Changed'")


async def test_without_a_ticket_a_write_is_refused(app: Connection) -> None:
    async with context(app):
        await refused(app, TASK, FIRM_A.organization_id, FIRM_A.id("employee"))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE tasks SET title = 'x'", "DELETE FROM knowledge_postings", "UPDATE approvals SET state = state"],
)
async def test_an_update_or_delete_without_a_ticket_is_refused(app: Connection, statement: str) -> None:
    async with context(app):
        await refused(app, statement)


async def test_a_ticket_for_another_table_does_not_serve(app: Connection) -> None:
    async with context(app):
        await ticket(app, writes=("task_runs",))
        await refused(app, TASK, FIRM_A.organization_id, FIRM_A.id("employee"))


async def test_a_reading_tools_ticket_does_not_serve(app: Connection) -> None:
    async with context(app):
        await ticket(app, effect="read")
        await refused(app, TASK, FIRM_A.organization_id, FIRM_A.id("employee"))


@pytest.mark.parametrize("kind", ["tool.denied", "tool.waiting", "tool.completed", "tool.invalid"])
async def test_any_other_event_is_no_ticket(app: Connection, kind: str) -> None:
    async with context(app):
        await ticket(app, kind=kind)
        await refused(app, TASK, FIRM_A.organization_id, FIRM_A.id("employee"))


async def test_another_organizations_ticket_does_not_serve(app: Connection) -> None:
    async with app.transaction():
        await stand_in(app, FIRM_B, "employee")
        await ticket(app, FIRM_B)
        await stand_in(app, FIRM_A, "employee")
        await refused(app, TASK, FIRM_A.organization_id, FIRM_A.id("employee"))


async def test_an_earlier_transactions_ticket_does_not_serve(app: Connection) -> None:
    async with context(app):
        await ticket(app)
    async with context(app):
        await refused(app, TASK, FIRM_A.organization_id, FIRM_A.id("employee"))


async def test_a_ticket_that_a_dump_brought_from_a_transaction_of_the_same_number_does_not_serve(
    app: Connection, superuser_connection: Connection
) -> None:
    """A cluster that a dump is restored into counts its transactions from the beginning."""
    async with context(app):
        number = await app.fetchval("SELECT pg_current_xact_id()::text")
        await superuser_connection.execute(RESTORED, FIRM_A.organization_id, number, FIRM_A.id("employee"))
        with pytest.raises(asyncpg.PostgresError) as raised:
            await write_task(app)
    assert raised.value.sqlstate == REFUSED


async def test_a_ticket_in_a_rolled_back_savepoint_does_not_serve(app: Connection) -> None:
    async with context(app):
        savepoint = app.transaction()
        await savepoint.start()
        await ticket(app)
        await savepoint.rollback()
        await refused(app, TASK, FIRM_A.organization_id, FIRM_A.id("employee"))


async def test_a_ticket_serves_inside_a_later_savepoint(app: Connection) -> None:
    async with context(app):
        await ticket(app)
        async with app.transaction():
            await write_task(app)


async def test_the_transaction_of_a_ticket_cannot_be_forged(app: Connection) -> None:
    forged = TICKET.replace("facts, approval_id)", "facts, approval_id, xact_id)").replace("$7)", "$7, '1')")
    async with context(app):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(
                forged, FIRM_A.organization_id, "tool.allowed", uuid4(), "prepare", ["tasks"], uuid4(), None
            )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE activity_events SET decision = 'allow'",
        "DELETE FROM activity_events",
        "DELETE FROM activity_payloads",
        "TRUNCATE activity_events",
        "TRUNCATE tasks",
        "ALTER TABLE tasks DISABLE TRIGGER ALL",
        "ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY",
        "DROP TRIGGER ticket_insert ON tasks",
        "SET session_replication_role = replica",
        "SET ROLE glow_owner",
        "SET SESSION AUTHORIZATION glow_owner",
        "SELECT glow.has_ticket(gen_random_uuid(), 'tasks')",
        "UPDATE memberships SET role = 'PARTNER'",
        "INSERT INTO users (user_id, kind, email, display_name) VALUES (gen_random_uuid(), 'person', 'a@b', 'A')",
        "DELETE FROM tasks",
        "UPDATE task_runs SET input = '{}'",
        "UPDATE autonomy_settings SET level = 3",
        "UPDATE approvals SET arguments = '{}'",
    ],
)
async def test_the_servers_login_lacks_the_right_altogether(app: Connection, statement: str) -> None:
    async with context(app, who="partner"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)


async def test_a_call_gets_one_ticket_only(app: Connection) -> None:
    call_id = uuid4()
    async with context(app):
        await ticket(app, call_id=call_id)
        with pytest.raises(asyncpg.UniqueViolationError) as raised:
            await ticket(app, call_id=call_id)
    assert raised.value.constraint_name == "activity_events_one_ticket"


async def test_a_cascade_needs_no_ticket_only_where_its_table_needs_none(app: Connection) -> None:
    async with context(app):
        await app.execute("DELETE FROM conversations")
        assert await app.fetchval("SELECT count(*) FROM run_events") == 0


async def test_a_pending_approval_is_admitted_by_the_waiting_event_of_its_call(app: Connection) -> None:
    call_id, approval_id = uuid4(), uuid4()
    async with context(app):
        await ticket(app, kind="tool.waiting", call_id=call_id, approval_id=approval_id)
        await app.execute(APPROVAL, FIRM_A.organization_id, approval_id, call_id, FIRM_A.id("employee"), "pending")


@pytest.mark.parametrize("kind", ["none", "tool.allowed", "other call", "other approval"])
async def test_an_approval_nobody_asked_for_is_refused(app: Connection, kind: str) -> None:
    call_id, approval_id = uuid4(), uuid4()
    async with context(app):
        if kind == "tool.allowed":
            await ticket(app, call_id=call_id, approval_id=approval_id, writes=("approvals",))
        if kind == "other call":
            await ticket(app, kind="tool.waiting", approval_id=approval_id)
        if kind == "other approval":
            await ticket(app, kind="tool.waiting", call_id=call_id, approval_id=uuid4())
        await refused(app, APPROVAL, FIRM_A.organization_id, approval_id, call_id, FIRM_A.id("employee"), "pending")


async def test_an_approval_cannot_be_born_approved(app: Connection) -> None:
    call_id, approval_id = uuid4(), uuid4()
    async with context(app):
        await ticket(app, kind="tool.waiting", call_id=call_id, approval_id=approval_id)
        await refused(app, APPROVAL, FIRM_A.organization_id, approval_id, call_id, FIRM_A.id("employee"), "approved")


async def test_the_service_login_needs_tickets_too(
    owner_connection: Connection, service_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    await superuser_connection.execute("GRANT UPDATE ON tasks TO glow_service")
    await superuser_connection.execute("CREATE POLICY loose ON tasks TO glow_service USING (true)")
    await superuser_connection.execute("GRANT SELECT ON tasks TO glow_service")
    await refused(service_connection, "UPDATE tasks SET title = 'x'")


async def test_a_bulk_write_pays_for_its_ticket_once(app: Connection) -> None:
    async with context(app):
        await ticket(app, writes=("knowledge_terms",))
        await app.execute(
            "INSERT INTO knowledge_terms (organization_id, term) SELECT $1, 't' || n FROM generate_series(1, 10000) n",
            FIRM_A.organization_id,
        )
        calls = await app.fetchval("SELECT count(*) FROM knowledge_terms")
    assert calls == 10_001
