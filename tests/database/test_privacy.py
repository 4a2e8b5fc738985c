"""A person's data: erased, wherever it stands, while the record goes on to verify."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from domain.kernel import CallId, OrganizationId, Principal, PrincipalId, new_id
from domain.privacy.service import ROWS_AT_ONCE
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from server.worker.again import Again
from server.worker.erasing import SOON, ErasureWorker
from tests.database.test_ledger_export import Desk
from tests.support.erasures import columns_of, found_in, listed
from tests.support.firms import FIRM_A, FIRM_B, seed_firms, stand_in
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.ledger import seal
from tests.support.verifiers import Found, checked, lost_rows
from tools.outcomes import CallOutcome
from tools.work import Job

WITHIN_S, LOOK_S = 90, 0.05
WORD = "zyxcanary"
EMAIL = f"{WORD}@firm-1.example"
NAME = f'Zoë "{WORD}" Zyx'
AT = datetime(2026, 11, 29, tzinfo=UTC)

PERSON = FIRM_A.id("employee")
THING = FIRM_A.id("thing")
PARTNER = principal_of(FIRM_A, "partner", mode="person", door="rest")
SECOND = principal_of(FIRM_A, "second", mode="person", door="rest")
HAND = principal_of(mode="person", door="rest")

SECOND_PARTNER = """
WITH person AS (
    INSERT INTO users (user_id, kind, email, display_name)
    VALUES ($1, 'person', 'second@firm-1.example', 'Second') RETURNING user_id)
INSERT INTO memberships (organization_id, user_id, role) SELECT $2, user_id, 'PARTNER' FROM person
"""
# What the seed has sealed is of nothing, and its payload is not what its event says.
NOTHING_SEALED = """
DELETE FROM ledger_rotations; DELETE FROM ledger_heads; DELETE FROM ledger_keys; DELETE FROM ledger_nodes;
DELETE FROM ledger_leaves;
DELETE FROM activity_payloads;
"""
# It leaves work in hand that nobody carries.
AT_REST = """
UPDATE runs SET status = 'completed', finished_at = now();
UPDATE task_run_progress SET status = 'completed', finished_at = now();
DELETE FROM call_intents;
UPDATE approvals SET state = 'cancelled', decided_at = now();
"""

CANCELLED = "SELECT kind FROM activity_events WHERE call_id = $1 AND approval_id IS NOT NULL ORDER BY occurred_at DESC"
# Many messages and many calls of the person's.
MANY = """
WITH n AS (SELECT gen_random_uuid() AS id, i FROM generate_series(1, $4::integer) i), said AS (
    INSERT INTO messages (organization_id, message_id, conversation_id, run_id, ordinal, role, content, created_at)
    SELECT $1, id, $3, $3, 10 + i, 'user', '{"text":"x"}', now() FROM n
), made AS (
    INSERT INTO activity_events (organization_id, event_id, kind, opens, occurred_at, call_id, tool, effect, door,
        principal_id, principal_kind, mode, attended, facts)
    SELECT $1, id, 'tool.completed', true, now(), id, 'task_list', 'read', 'chat', $2, 'person', 'agent', true, '{}'
    FROM n RETURNING event_id)
INSERT INTO activity_payloads (organization_id, event_id, salt, arguments) SELECT $1, event_id, '', '{}' FROM made
"""

# Which rows of a table are the person's, for what is planted.
WHOSE = {
    "conversations": "owner_id = $1",
    "delegations": "delegator_id = $1",
    "conversation_summaries": "conversation_id IN (SELECT conversation_id FROM conversations WHERE owner_id = $1)",
    "feedback": "given_by = $1",
    "idempotency_keys": "principal_id = $1",
    "identities": "user_id = $1",
    "messages": "conversation_id IN (SELECT conversation_id FROM conversations WHERE owner_id = $1)",
    "preferences": "user_id = $1",
    "run_events": "run_id IN (SELECT run_id FROM runs WHERE owner_id = $1)",
    "runs": "owner_id = $1",
}
KEPT_ROWS = {
    ("tasks", "title"): "created_by = $1",
    ("sign_offs", "comment"): "true",
    ("task_run_answers", "text"): "true",
    ("autonomy_settings", "reason"): "true",
    ("knowledge_documents", "title"): "true",
}
# Words of a fixed form, or of other kinds than text.
NO_WORDS = {
    ("activity_payloads", "salt"),
    ("call_intents", "tool"),
    ("idempotency_keys", "content_digest"),
    ("slack_threads", "team_id"),
    ("slack_threads", "channel_id"),
    ("slack_threads", "thread_ts"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """Firm A, one of whose people is about to be erased."""

    gate: GateOnTest
    desk: Desk
    worker: ErasureWorker
    inspector: Connection
    owner: Connection

    async def call(self, tool: str, arguments: object, principal: Principal = HAND) -> CallOutcome:
        return await self.gate.call(tool, arguments, principal)

    async def approved(self, person: str = EMAIL) -> UUID:
        """An erasure that a partner asked for and a second one approved; its id."""
        asked = await self.call("privacy_erase", {"person": person}, PARTNER)
        assert asked.outcome == "waiting", asked
        assert asked.approval is not None
        answer = {"approval_id": str(asked.approval.approval_id), "decision": "approve"}
        decided = await self.call("approval_decide", answer, SECOND)
        assert decided.outcome == "done", decided
        call = cast(dict[str, Any], decided.result)["call"]
        assert call["outcome"] == "done", call
        return UUID(call["result"]["erasure_id"])

    async def erased(self, erasure_id: UUID) -> None:
        """Carry it out to its end."""
        # What other databases of the cluster have open is waited for too.
        async with asyncio.timeout(WITHIN_S):
            while (again := await self.worker.work(job(erasure_id))) is not None:
                assert again.after is not None, "a batch was refused"
                await asyncio.sleep(LOOK_S)

    async def comes_to(self, state: str, erasure_id: UUID) -> None:
        """Carry it out until it has come so far."""
        async with asyncio.timeout(WITHIN_S):
            while await self.state() != state:
                assert await self.worker.work(job(erasure_id)) is not None
                await asyncio.sleep(LOOK_S)

    async def state(self) -> str:
        return cast(str, await self.inspector.fetchval("SELECT state FROM erasures WHERE user_id = $1", PERSON))

    async def removed(self, erasure_id: UUID) -> object:
        """How many rows went, by table."""
        return orjson.loads(
            await self.inspector.fetchval("SELECT removed FROM erasures WHERE erasure_id = $1", erasure_id)
        )

    async def sealed(self) -> None:
        await seal(self.desk.pools.service)


def job(erasure_id: UUID) -> Job:
    return Job(kind="privacy_erase", organization_id=OrganizationId(FIRM_A.organization_id), subject_id=erasure_id)


@pytest.fixture
async def office(
    pools: DatabasePools,
    owner_connection: Connection,
    recorder_connection: Connection,
    superuser_connection: Connection,
    tmp_path: Path,
) -> AsyncIterator[Office]:
    await seed_firms(owner_connection)
    await owner_connection.execute(SECOND_PARTNER, FIRM_A.id("second"), FIRM_A.organization_id)
    await owner_connection.execute(
        "UPDATE users SET email = $2, display_name = $3 WHERE user_id = $1", PERSON, EMAIL, NAME
    )
    await owner_connection.execute(NOTHING_SEALED)
    async with gate_on(pools) as gate:
        yield Office(
            gate=gate,
            desk=Desk(
                transactions=gate.transactions,
                pools=pools,
                recorder=recorder_connection,
                inspector=superuser_connection,
                events=(),
                folder=tmp_path,
            ),
            worker=ErasureWorker(gate=gate.gate, identities=PostgresIdentities(pools.app), new_id=new_id),
            inspector=superuser_connection,
            owner=owner_connection,
        )


async def planted(office: Office) -> CallId:
    """The word everywhere: by calls where there are some, else put there; gives a call of the person's."""
    inspector = office.inspector
    await office.call("preference_set", {"words": f"Call me {WORD}."})
    searched = await office.call("knowledge_search", {"query": WORD})
    made = await office.call("task_create", {"title": f"Ask {WORD}"})
    await office.call("task_create", {WORD: WORD})
    await office.call("no_such_tool", {"a": WORD})
    await office.call("autonomy_set", {"scope": "organization", "level": "L3", "reason": WORD})
    # At L1 the agent asks; a partner decides one, and another is left open.
    await office.owner.execute("UPDATE autonomy_settings SET level = 1")
    for decision in ("reject", "approve", None):
        asked = await office.call("task_create", {"title": f"{WORD} {decision}"}, principal_of())
        assert asked.approval is not None
        answer = {"approval_id": str(asked.approval.approval_id), "decision": decision, "comment": f"No, {WORD}."}
        if decision is not None:
            assert (await office.call("approval_decide", answer, PARTNER)).outcome == "done"
    # What others' calls repeat of it.
    assert (await office.call("call_get", {"call_id": str(made.call_id)}, PARTNER)).outcome == "done"
    assert (await office.call("task_create", {"title": "Yours", "assignee": EMAIL}, PARTNER)).outcome == "done"
    await inspector.execute("SET session_replication_role = replica")
    for table, column in sorted(listed().erased):
        if table in WHOSE and (table, column) not in NO_WORDS:
            kind = await inspector.fetchval(
                "SELECT format_type(atttypid, NULL) FROM pg_attribute "
                "WHERE attrelid = $1::text::regclass AND attname = $2",
                table,
                column,
            )
            if kind == "text" and (table, column) not in {("messages", "content"), ("runs", "door")}:
                await inspector.execute(
                    f"UPDATE {table} SET {column} = concat({column}, '{WORD}') WHERE {WHOSE[table]}", PERSON
                )
    await inspector.execute(
        f"""UPDATE messages SET content = '{{"text":"{WORD}"}}' WHERE {WHOSE["messages"]}""", PERSON
    )
    await inspector.execute(
        f"UPDATE message_words SET words = to_tsvector('simple', '{WORD}') WHERE owner_id = $1", PERSON
    )
    for (table, column), whose in KEPT_ROWS.items():
        await inspector.execute(
            f"UPDATE {table} SET {column} = concat({column}, '{WORD}') WHERE {whose} AND $1::uuid IS NOT NULL", PERSON
        )
    await inspector.execute("SET session_replication_role = DEFAULT")
    assert searched.outcome == "done"
    return CallId(made.call_id)


async def test_every_column_that_refers_to_a_person_or_can_hold_words_is_listed_as_erased_or_kept(
    superuser_connection: Connection,
) -> None:
    said, there = listed(), await columns_of(superuser_connection)
    everything = said.erased | set(said.kept) | said.of_nobody
    assert there - everything == set(), "say in docs/privacy.md what becomes of these when a person is erased"
    assert said.erased & (set(said.kept) | said.of_nobody) == set()
    assert set(said.kept) & said.of_nobody == set()
    assert [column for column, why in said.kept.items() if not why] == []
    tables = {
        row[0] for row in await superuser_connection.fetch("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')")
    }
    assert {table for table, _ in everything} - tables == set(), "docs/privacy.md names tables that there are not"


async def test_what_is_erased_is_in_no_table_and_everything_verifies(office: Office) -> None:
    await office.owner.execute(AT_REST)
    call_id = await planted(office)
    await office.sealed()
    said = listed()
    words = {column for column in said.erased if not column[1].endswith(("_id", "_by"))} - NO_WORDS
    before = await found_in(office.inspector, WORD)
    assert {each for each in words if each[0] in {*WHOSE, "activity_payloads", "message_words", "users"}} - before == {
        ("runs", "door")
    }
    old_export, old_head = office.desk.file(await office.desk.lines(), "old.ndjson"), await office.desk.head("old.json")
    proof = await proof_of(office, call_id, "old-proof.json")

    erasure_id = await office.approved()
    await office.erased(erasure_id)

    assert await office.state() == "done"
    after = await found_in(office.inspector, WORD)
    assert after & (said.erased - {("approvals", "arguments")}) == set()
    assert after <= set(said.kept), "it is in columns of which nobody says that they keep it"
    assert set(KEPT_ROWS) <= after
    assert await payloads_of(office.inspector) == 0
    assert WORD not in str(await office.inspector.fetch("SELECT arguments FROM approvals"))
    person = await office.inspector.fetchrow("SELECT email, display_name FROM users WHERE user_id = $1", PERSON)
    assert person is not None
    assert tuple(person) == (f"erased-{PERSON}@erased.invalid", "Erased person")

    await office.sealed()
    new_export = office.desk.file(await office.desk.lines(), "new.ndjson")
    assert WORD not in new_export.read_text()
    lost = lost_rows(new_export)
    assert (lost.own_words, lost.unnamed) == ([], [])
    named = cast(dict[str, int], (await office.removed(erasure_id)))["activity_payloads"]
    assert 0 < len(lost.by_batches) == named
    assert checked(old_export, [old_head]) == Found(None)
    assert checked(new_export, [old_head, proof]) == Found(None)
    assert checked(proof) == Found(None)
    link = await office.desk.head("link.json", since=orjson.loads(old_head.read_bytes())["head"]["size"])
    assert checked(await proof_of(office, call_id, "new-proof.json"), [old_head], [], [link]) == Found(None)


async def test_a_preference_that_is_changed_and_forgotten_leaves_an_export_that_holds(office: Office) -> None:
    kept = await office.call("preference_set", {"words": "Use metric units."})
    said = await office.call("preference_set", {"words": f"Call me {WORD}."})
    preference_id = cast(dict[str, Any], said.result)["preference"]["preference_id"]
    again = await office.call("preference_set", {"words": "Call me Zo.", "preference_id": preference_id})
    gone = await office.call("preference_forget", {"preference_id": preference_id})
    assert [each.outcome for each in (kept, said, again, gone)] == ["done"] * 4
    await office.sealed()
    export = office.desk.file(await office.desk.lines())
    # Each of the two calls has a ticket with its arguments, and an outcome with its result.
    assert len(lost_rows(export).own_words) == 4
    assert WORD not in export.read_text()


async def proof_of(office: Office, call_id: CallId, name: str) -> Path:
    """That the person's call is in the ledger, as a partner is given it."""
    outcome = await office.call("audit_prove", {"call_id": str(call_id)}, PARTNER)
    assert outcome.result is not None
    return office.desk.file([orjson.dumps(outcome.result)], name)


async def payloads_of(inspector: Connection) -> int:
    return cast(
        int,
        await inspector.fetchval(
            "SELECT count(*) FROM activity_payloads p JOIN activity_events e USING (organization_id, event_id) "
            "WHERE e.principal_id = $1",
            PERSON,
        ),
    )


async def test_what_is_under_way_ends_before_anything_is_removed(office: Office) -> None:
    await office.owner.execute("DELETE FROM task_run_cancellations")
    erasure_id = await office.approved()
    again = await office.worker.work(job(erasure_id))
    assert (again, await office.state()) == (Again(after=SOON), "ending")
    inspector = office.inspector
    assert await inspector.fetchval("SELECT cancel_requested FROM runs WHERE owner_id = $1", PERSON)
    assert await inspector.fetchval("SELECT status FROM task_run_progress WHERE task_run_id = $1", THING) == "cancelled"
    assert await inspector.fetchval("SELECT state FROM approvals WHERE approval_id = $1", THING) == "cancelled"
    assert await inspector.fetchval(CANCELLED, THING) == "tool.cancelled"
    assert {each.kind for each in office.gate.queue.jobs} >= {"run", "task_run", "call_settle"}
    assert await inspector.fetchval("SELECT count(*) FROM messages WHERE message_id = $1", THING) == 1

    # A run, and a call outside: each is waited for.
    for ends in ("UPDATE runs SET status = 'cancelled', finished_at = now()", "DELETE FROM call_intents"):
        assert await office.worker.work(job(erasure_id)) == Again(after=SOON)
        await office.owner.execute(ends)
    # So is a transaction that began before, and may still write down what it has read.
    async with office.owner.transaction(), office.inspector.transaction():
        await office.inspector.execute("SELECT pg_current_xact_id()")
        await office.comes_to("copies", erasure_id)
        assert await office.worker.work(job(erasure_id)) == Again(after=SOON)
        assert await office.state() == "copies"
    await office.erased(erasure_id)
    assert await office.state() == "done"
    assert await inspector.fetchval("SELECT count(*) FROM messages WHERE message_id = $1", THING) == 0


async def test_what_they_uploaded_and_somebody_deleted_is_purged_at_once_and_the_firms_stays(office: Office) -> None:
    await office.owner.execute(AT_REST)
    content = b"# Notes\n\nA letter."
    documents: list[str] = []
    for title in ("Goes", "Stays"):
        async with office.gate.staging.holding(HAND, content) as digest:
            asked = {"title": title, "file_name": "a.md", "content_sha256": digest, "size_bytes": len(content)}
            taken = await office.call("document_upload", asked)
        documents.append(cast(dict[str, Any], taken.result)["document"]["document_id"])
    goes, stays = documents
    assert (await office.call("document_delete", {"document_id": goes})).outcome == "done"
    await office.erased(await office.approved())

    purges = {each.subject_id for each in office.gate.queue.jobs if each.kind == "document_purge"}
    assert purges == {UUID(goes)}
    service = principal_of(who="service", door="worker")
    assert (await office.call("document_purge", {"document_id": goes}, service)).outcome == "done"
    left = await office.inspector.fetch(
        "SELECT document_id FROM knowledge_documents WHERE document_id = ANY ($1)", [UUID(goes), UUID(stays)]
    )
    assert [row["document_id"] for row in left] == [UUID(stays)]


async def test_whoever_is_erased_is_kept_out_and_what_they_try_is_forgotten(office: Office) -> None:
    await office.owner.execute(AT_REST)
    identities = PostgresIdentities(office.desk.pools.app)
    assert await identities.memberships(PrincipalId(PERSON)) != ()
    assert await identities.linked("https://sign-in.example", "seeded-1") != ()
    await office.erased(await office.approved())
    assert await identities.memberships(PrincipalId(PERSON)) == ()
    assert await identities.linked("https://sign-in.example", "seeded-1") == ()
    assert await identities.principal_by_email(EMAIL) is None
    async with office.desk.session("employee") as session:
        assert session.role is None
    due = "SELECT count(*) FROM glow.erasures_due()"
    assert await office.inspector.fetchval(due) == 0

    for tool in ("task_list", "task_create", "no_such_tool"):
        tried = await office.call(tool, {"title": WORD})
        assert (tried.outcome, tried.result) in {("denied", None), ("invalid", None)}
    assert await payloads_of(office.inspector) == 3
    assert await office.inspector.fetchval(due) == 1
    (swept,) = [
        each
        for each in await PostgresJobs(office.desk.pools.service).sweep(timedelta(0))
        if each.kind == "privacy_erase"
    ]
    assert await office.worker.work(swept) is None
    assert await payloads_of(office.inspector) == 0
    assert await office.inspector.fetchval(due) == 0


async def test_a_name_that_another_organization_has_too_stays_until_that_one_erases_it(office: Office) -> None:
    await office.owner.execute(AT_REST)
    await office.owner.execute(
        "INSERT INTO memberships (organization_id, user_id, role) VALUES ($1, $2, 'EMPLOYEE')",
        FIRM_B.organization_id,
        PERSON,
    )
    await office.erased(await office.approved())
    assert await office.inspector.fetchval("SELECT email FROM users WHERE user_id = $1", PERSON) == EMAIL
    other = principal_of(FIRM_B, "partner", mode="person", door="rest")
    asked = await office.call("privacy_erase", {"person": EMAIL}, other)
    assert asked.outcome == "waiting"
    members = await PostgresIdentities(office.desk.pools.app).memberships(PrincipalId(PERSON))
    assert [member.organization for member in members] == ["firm-2"]
    await office.owner.execute(
        "UPDATE memberships SET erased_at = now() WHERE organization_id = $1", FIRM_B.organization_id
    )
    again = await office.approved()
    await office.erased(again)
    assert await office.inspector.fetchval("SELECT email FROM users WHERE user_id = $1", PERSON) != EMAIL


async def test_an_erasure_is_one_whoever_asks_and_is_done_anew_once_it_is_done(office: Office) -> None:
    await office.owner.execute(AT_REST)
    first = await office.approved()
    service = principal_of(who="service", door="worker")
    assert (await office.call("privacy_erase_step", {"erasure_id": str(first)}, service)).outcome == "done"
    assert await office.state() == "ending"
    renamed = f"erased-{PERSON}@erased.invalid"
    assert await office.approved(renamed) == first
    await office.erased(first)
    finished = await office.inspector.fetchval("SELECT finished_at FROM erasures WHERE erasure_id = $1", first)
    # As after a backup was restored.
    await office.owner.execute("UPDATE users SET email = $2 WHERE user_id = $1", PERSON, EMAIL)
    await office.owner.execute(
        "INSERT INTO preferences (organization_id, preference_id, user_id, words, call_id, created_at, updated_at) "
        "VALUES ($1, $2, $3, 'Call me.', $2, now(), now())",
        FIRM_A.organization_id,
        uuid4(),
        PERSON,
    )
    assert await office.approved() == first
    await office.erased(first)
    row = await office.inspector.fetchrow("SELECT finished_at, removed FROM erasures WHERE erasure_id = $1", first)
    assert row is not None
    assert row["finished_at"] > finished
    assert orjson.loads(row["removed"])["preferences"] == 1
    async with office.desk.session() as session:
        (shown,) = [each for each in await session.work.privacy.list() if each.erasure_id == first]
    assert (shown.state, shown.removed["preferences"]) == ("done", 1)
    async with office.desk.session("client") as session:
        assert await session.work.privacy.list() == []


async def test_who_may_not_and_what_cannot_be_erased_is_refused_and_recorded(office: Office) -> None:
    for who, reason in (("employee", "role_too_low"), ("client", "role_too_low"), ("service", "agent_may_not")):
        refused = await office.call(
            "privacy_erase", {"person": EMAIL}, principal_of(who=who, mode="person", door="rest")
        )
        assert refused.outcome == "denied"
        assert refused.verdict is not None
        assert reason in refused.verdict.reasons
    agent = await office.call("privacy_erase", {"person": EMAIL}, principal_of(who="partner", door="rest"))
    assert agent.outcome == "denied"
    for person in ("nobody@firm-1.example", "employee@firm-2.example"):
        assert (await office.call("privacy_erase", {"person": person}, PARTNER)).outcome == "invalid"
    asked = await office.call("privacy_erase", {"person": EMAIL}, PARTNER)
    assert asked.approval is not None
    answer = {"approval_id": str(asked.approval.approval_id), "decision": "approve"}
    own = await office.call("approval_decide", answer, PARTNER)
    assert own.verdict is not None
    assert own.verdict.reasons == ("four_eyes_needed",)
    hub = await office.call("privacy_erase", {"person": "hub@firm-1.example"}, PARTNER)
    assert hub.approval is not None
    decided = await office.call("approval_decide", {**answer, "approval_id": str(hub.approval.approval_id)}, SECOND)
    assert cast(dict[str, Any], decided.result)["call"]["error"]["code"] == "not_a_person"
    step = {"erasure_id": str(uuid4())}
    assert (await office.call("privacy_erase_step", step, PARTNER)).outcome == "denied"
    worker = principal_of(who="service", door="worker")
    assert (await office.call("privacy_erase_step", step, worker)).error is not None


async def test_the_servers_login_erases_nothing_by_itself(office: Office, app_connection: Connection) -> None:
    erasure_id = await office.approved()
    for statement in (
        "DELETE FROM activity_payloads",
        "SELECT known_as FROM erasures",
        "SELECT glow.erase_rows(NULL, NULL, NULL, 1)",
        "SELECT glow.late_payloads(NULL, NULL, NULL)",
        "UPDATE users SET email = 'x'",
    ):
        async with stood_in(app_connection, "partner"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app_connection.execute(statement)
    async with stood_in(app_connection, "service"):
        with pytest.raises(asyncpg.PostgresError, match="no ticket") as refused:
            await app_connection.execute("SELECT glow.erase_step($1, 10, now())", erasure_id)
    assert refused.value.sqlstate == "GL001"
    assert await office.state() == "asked"


@asynccontextmanager
async def stood_in(connection: Connection, who: str) -> AsyncGenerator[None]:
    transaction = connection.transaction()
    await transaction.start()
    try:
        await stand_in(connection, FIRM_A, who)
        yield
    finally:
        await transaction.rollback()


async def test_much_is_erased_in_batches(office: Office) -> None:
    await office.owner.execute(AT_REST)
    await office.owner.execute(MANY, FIRM_A.organization_id, PERSON, THING, 2 * ROWS_AT_ONCE + 1)
    erasure_id = await office.approved()
    await office.erased(erasure_id)
    batches = [
        orjson.loads(row["result"])["removed"]
        for row in await office.inspector.fetch(
            "SELECT p.result FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id) "
            "WHERE e.tool = 'privacy_erase_step' AND e.kind = 'tool.completed'"
        )
    ]
    assert all(sum(batch.values()) <= ROWS_AT_ONCE + 20 for batch in batches)
    for table in ("messages", "activity_payloads"):
        assert sum(batch.get(table, 0) for batch in batches) > 2 * ROWS_AT_ONCE
    assert await payloads_of(office.inspector) == 0
