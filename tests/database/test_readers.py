"""A document for a set of readers is found by those alone, whoever asks and by whatever door; the tools that prepare it
are no readers, and hand nothing of it to anybody."""

from collections.abc import AsyncIterator
from typing import cast
from uuid import UUID

import pytest

from domain.kernel import Door, Mode, Principal
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.unit_of_work import BEGIN_CALL, BEGIN_SESSION, OF_NO_TOOL
from tests.support.fake_embeddings import FakeEmbedder
from tests.support.firms import FIRM_A, FIRM_B, seed_firms, stand_in
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.readers import reader_set, shown_to
from tools.outcomes import CallOutcome, Json

HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
HUB = principal_of(who="service", door="worker")
ASKED: Json = {"query": "zephyr clause"}
TEXT = b"# Zephyr\n\nThe zephyr clause binds the partners of the firm for a year, and no longer than that.\n"
EVERYTHING = (
    "knowledge_documents",
    "knowledge_chunks",
    "knowledge_postings",
    "knowledge_embeddings",
    "knowledge_files",
)


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools, embedder=FakeEmbedder()) as opened:
        yield opened


async def uploaded(gate: GateOnTest, content: bytes = TEXT, title: str = "Zephyr", **said: str) -> str:
    async with gate.staging.holding(PARTNER, content) as digest:
        asked: Json = {
            "title": title,
            "file_name": "a.md",
            "content_sha256": digest,
            "size_bytes": len(content),
            **said,
        }
        return cast(str, document_of(await gate.call("document_upload", asked, PARTNER))["document_id"])


async def brought_up(gate: GateOnTest, document_id: str) -> Json:
    document = document_of(await gate.call("document_index", {"document_id": document_id}, HUB))
    while document["status"] == "embedding":
        document = document_of(await gate.call("document_embed", {"document_id": document_id}, HUB))
    return document


def document_of(outcome: CallOutcome) -> Json:
    assert outcome.outcome == "done", outcome
    return cast(Json, cast(Json, outcome.result)["document"])


async def found(gate: GateOnTest, who: Principal, **more: object) -> list[Json]:
    outcome = await gate.call("knowledge_search", {**ASKED, **more}, who)
    assert outcome.outcome == "done", outcome
    return cast("list[Json]", cast(Json, outcome.result)["items"])


async def restricted(gate: GateOnTest, owner: Connection, *addresses: str) -> str:
    """A document that was for a set of readers before it was ever indexed."""
    document_id = await uploaded(gate)
    await shown_to(owner, document_id, await reader_set(owner, FIRM_A.organization_id, *addresses))
    assert (await brought_up(gate, document_id))["status"] == "ready"
    return document_id


async def seen_in(connection: Connection, document_id: str) -> dict[str, int]:
    """Rows of the document by table, in the transaction's own context."""
    chunks = "SELECT chunk_id FROM knowledge_chunks WHERE document_id = $1"
    by = {"knowledge_postings": f"chunk_id IN ({chunks})", "knowledge_embeddings": f"chunk_id IN ({chunks})"}
    return {
        table: await connection.fetchval(
            f"SELECT count(*) FROM {table} WHERE {by.get(table, 'document_id = $1')}", UUID(document_id)
        )
        for table in EVERYTHING
    }


async def test_a_domain_in_a_set_is_every_member_there_and_no_other(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await restricted(gate, owner_connection, "@firm-1.example")
    assert len(await found(gate, PARTNER)) == len(await found(gate, HAND)) == 1
    assert await found(gate, principal_of(who="client", mode="person", door="rest")) == []
    await owner_connection.execute(
        "UPDATE users SET email = 'partner@firm-1.example.org' WHERE user_id = $1", FIRM_A.id("partner")
    )
    assert await found(gate, PARTNER) == []


@pytest.mark.parametrize(("mode", "door"), [("person", "rest"), ("agent", "chat"), ("agent", "worker")])
async def test_only_a_reader_finds_reads_and_is_told_of_it_and_so_for_the_agent_that_acts_for_them(
    gate: GateOnTest, owner_connection: Connection, mode: Mode, door: Door
) -> None:
    document_id = await restricted(gate, owner_connection, "employee@firm-1.example", "nobody@elsewhere.example")
    reader, other = (principal_of(who=who, mode=mode, door=door) for who in ("employee", "partner"))

    for kind in ("lexical", "hybrid", "vector"):
        (passage, *_) = await found(gate, reader, mode=kind)
        assert (passage["document_id"], passage["audience"]) == (document_id, "firm")
        # By meaning alone nothing of the other's can be compared: that is said, and no more.
        assert document_id not in str(await gate.call("knowledge_search", {**ASKED, "mode": kind}, other))
    asked: Json = {"document_id": document_id}
    assert (await gate.call("knowledge_read", asked, reader)).outcome == "done"
    refused = await gate.call("knowledge_read", asked, other)
    missing = await gate.call("knowledge_read", {"document_id": str(FIRM_B.id("thing"))}, other)
    assert refused.error is not None
    assert missing.error is not None
    assert (refused.outcome, refused.error.code) == (missing.outcome, missing.error.code)


async def test_a_client_an_outsider_and_the_service_account_never_read_by_a_set_though_it_names_them(
    gate: GateOnTest, owner_connection: Connection, app_connection: Connection
) -> None:
    document_id = await restricted(
        gate, owner_connection, "client@firm-1.example", "hub@firm-1.example", "employee@firm-2.example"
    )
    await owner_connection.execute(
        "UPDATE knowledge_documents SET engagement_id = $2 WHERE document_id = $1",
        UUID(document_id),
        FIRM_A.id("engagement"),
    )
    for firm, who in ((FIRM_A, "client"), (FIRM_A, "service"), (FIRM_A, "partner"), (FIRM_B, "employee")):
        async with app_connection.transaction():
            await stand_in(app_connection, firm, who)
            assert set((await seen_in(app_connection, document_id)).values()) == {0}, (firm.n, who)
    assert await found(gate, principal_of(who="client", mode="person", door="rest")) == []


async def test_a_member_that_comes_goes_or_is_called_otherwise_reads_or_does_not_from_the_next_question_on(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    await restricted(gate, owner_connection, "new.partner@firm-1.example")
    assert await found(gate, PARTNER) == []
    await owner_connection.execute(
        "UPDATE users SET email = 'New.Partner@Firm-1.example' WHERE user_id = $1", FIRM_A.id("partner")
    )
    assert len(await found(gate, PARTNER)) == 1
    await owner_connection.execute("UPDATE memberships SET role = 'CLIENT' WHERE user_id = $1", FIRM_A.id("partner"))
    assert await found(gate, PARTNER) == []


async def test_other_readers_take_effect_at_once_in_every_table_that_finds_a_document(
    gate: GateOnTest, owner_connection: Connection, app_connection: Connection
) -> None:
    document_id = await restricted(gate, owner_connection, "employee@firm-1.example")
    partners = await reader_set(owner_connection, FIRM_A.organization_id, "partner@firm-1.example")
    await shown_to(owner_connection, document_id, partners)
    for who, sees in (("employee", False), ("partner", True)):
        async with app_connection.transaction():
            await stand_in(app_connection, FIRM_A, who)
            seen = await seen_in(app_connection, document_id)
        assert all(bool(count) is sees for count in seen.values()), (who, seen)


async def test_what_prepares_documents_sees_them_in_its_own_call_and_nowhere_after_it(
    gate: GateOnTest, owner_connection: Connection, app_connection: Connection
) -> None:
    document_id = await restricted(gate, owner_connection)
    organization_id, hub = FIRM_A.organization_id, FIRM_A.id("service")
    async with app_connection.transaction():
        await app_connection.fetchval(BEGIN_CALL, organization_id, hub, "document_index", "{}", "")
        assert all((await seen_in(app_connection, document_id)).values())
        await app_connection.fetchval(BEGIN_SESSION + OF_NO_TOOL, organization_id, hub)
        assert not any((await seen_in(app_connection, document_id)).values())
        await app_connection.fetchval(BEGIN_CALL, organization_id, hub, "document_content", "{}", "")
        assert not any((await seen_in(app_connection, document_id)).values())
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "service")
        assert not any((await seen_in(app_connection, document_id)).values())
        for table in ("knowledge_reader_sets", "knowledge_readers"):
            assert await app_connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_a_near_duplicate_that_one_may_not_see_neither_shows_nor_hides_the_one_that_one_may(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    hidden = await restricted(gate, owner_connection, "employee@firm-1.example")
    open_to_all = await uploaded(gate, TEXT + b"\nIt is so.\n", title="Zephyr for everybody")
    await brought_up(gate, open_to_all)
    (passage,) = await found(gate, PARTNER)
    assert passage["document_id"] == open_to_all
    assert "also_in" not in passage
    shown = await found(gate, HAND)
    told = {each["document_id"] for each in shown} | {
        other["document_id"] for each in shown for other in cast("list[Json]", each.get("also_in", []))
    }
    assert told == {hidden, open_to_all}


async def test_the_same_file_uploaded_by_somebody_else_is_a_document_of_its_own(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    hidden = await restricted(gate, owner_connection, "employee@firm-1.example")
    assert await uploaded(gate) != hidden
