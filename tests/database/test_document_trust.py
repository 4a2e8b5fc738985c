"""Whose words a document holds is said anew by a person's own hand: on every row at once, and of no mail or source."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast
from uuid import UUID

import pytest

from domain.kernel import Principal, Role, Trust, new_id
from knowledge.model import Document, DocumentId, DocumentQuery, NewDocument, SearchQuery
from knowledge.parse.document import Part
from knowledge.prepare import prepare_document
from server.database.connection import Connection, connected
from server.database.pool import DatabasePools
from server.logins import Login
from tests.database.test_document_removal import (
    AGENT,
    HAND,
    PARTNER,
    URI,
    act,
    brought_up,
    found,
    of,
    refusal,
    upload,
    zipped,
)
from tests.support.database import Database
from tests.support.fake_embeddings import FakeEmbedder
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.knowledge import NOW, Firm, founded
from tools.outcomes import CallOutcome, Json

CLIENT = principal_of(who="client", mode="person", door="rest")
STRANGER = principal_of(FIRM_B, "partner", mode="person", door="rest")
MAIL = b"From: a@evil.example\r\nTo: b@firm-1.example\r\nSubject: Yak\r\n\r\nThe yak pays.\r\n"
LETTER = b"""From: a@evil.example
To: b@firm-1.example
Subject: Yak
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain

The yak pays.
--x
Content-Type: text/plain
Content-Disposition: attachment; filename="bill.txt"

The yak owes.
--x--
""".replace(b"\n", b"\r\n")
TRUSTS = """
SELECT d.trust AS document, array_agg(DISTINCT c.trust) AS chunks, array_agg(DISTINCT p.trust) AS postings
FROM knowledge_documents d LEFT JOIN knowledge_chunks c USING (organization_id, document_id)
LEFT JOIN knowledge_postings p USING (organization_id, chunk_id)
WHERE d.document_id = $1 GROUP BY 1
"""
LAST = "SELECT outcome, error_code FROM activity_events WHERE call_id = $1 ORDER BY recorded_at DESC, opens LIMIT 1"


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools, embedder=FakeEmbedder()) as opened:
        yield opened


async def trusted(gate: GateOnTest, document_id: str, trust: Trust, who: Principal = HAND) -> CallOutcome:
    return await gate.call("document_trust_set", {"document_id": document_id, "trust": trust}, who)


async def rows_of(inspector: Connection, document_id: str) -> tuple[str, list[str | None], list[str | None]]:
    row = await inspector.fetchrow(TRUSTS, UUID(document_id))
    assert row is not None
    return row["document"], row["chunks"], row["postings"]


async def test_every_row_of_every_version_is_trusted_anew_with_the_commit(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    old = await upload(gate, b"# Fleet\n\nThe zebu is insured.", uri=URI)
    new = await upload(gate, b"# Fleet\n\nThe zebu is insured by rail.", uri=URI)
    for trust in ("internal", "client", "external"):
        shown = of(await trusted(gate, new, trust), "document")
        assert (shown["document_id"], shown["trust"]) == (new, trust)
        assert await rows_of(superuser_connection, new) == (trust, [trust], [trust])
        # Nothing finds an earlier version; its text is read by whoever cites it.
        assert await rows_of(superuser_connection, old) == (trust, [None], [None])
        searched = await gate.call("knowledge_search", {"query": "zebu"}, AGENT)
        (item,) = cast("list[Json]", cast(Json, searched.result)["items"])
        assert (item["document_id"], item["trust"]) == (new, trust)
        assert searched.taint is not None
        assert searched.taint.trust == trust
        for version in (old, new):
            read = await gate.call("knowledge_read", {"document_id": version}, AGENT)
            assert (cast(Json, read.result)["trust"], read.taint and read.taint.trust) == (trust, trust)


async def test_what_lies_inside_follows_and_mail_with_what_it_brought_stays_as_it_is(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    content = zipped({"note.md": b"The yak grazes.", "letter.eml": LETTER})
    whole = await upload(gate, content, file_name="a.zip", trust="internal")
    inside = "SELECT title, document_id::text AS id, trust FROM knowledge_documents WHERE parent_id = $1 ORDER BY title"
    parts = {row["title"]: row["id"] for row in await superuser_connection.fetch(inside, UUID(whole))}
    assert parts.keys() == {"letter.eml", "letter.eml/bill.txt", "note.md"}

    async def stand() -> dict[str, str]:
        kept = {title: await rows_of(superuser_connection, part_id) for title, part_id in parts.items()}
        assert all(chunks == postings == [trust] for trust, chunks, postings in kept.values()), kept
        return {title: trust for title, (trust, _, _) in kept.items()}

    taken_in = {"letter.eml": "external", "letter.eml/bill.txt": "external", "note.md": "internal"}
    assert await stand() == taken_in
    for trust in ("external", "client", "internal"):
        assert (await trusted(gate, whole, trust)).outcome == "done"
        assert await stand() == {**taken_in, "note.md": trust}
    for part_id in parts.values():
        code, words = refusal(await trusted(gate, part_id, "client"))
        assert (code, whole in words) == ("trust_fixed", True)


async def test_a_version_that_was_deleted_comes_back_trusted_like_its_line(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    old = await upload(gate, b"# Fleet\n\nThe zebu is insured.", uri=URI)
    new = await upload(gate, b"# Fleet\n\nThe zebu is insured by rail.", uri=URI)
    assert (await act(gate, "document_delete", old)).outcome == "done"
    assert refusal(await trusted(gate, old, "internal"))[0] == "document_not_found"
    assert (await trusted(gate, new, "internal")).outcome == "done"
    assert of(await act(gate, "document_restore", old), "document")["trust"] == "internal"
    assert (await rows_of(superuser_connection, old))[0] == "internal"


async def test_mail_and_what_a_source_brings_are_trusted_as_they_are(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    mail = await upload(gate, MAIL, file_name="a.eml")
    kept = await upload(gate, b"The gnu.")
    await owner_connection.execute(
        "INSERT INTO knowledge_sources (organization_id, source_id, kind, name) VALUES ($1, $2, 'folder', 'Papers')",
        FIRM_A.organization_id,
        FIRM_A.id("source"),
    )
    await owner_connection.execute(
        "UPDATE knowledge_documents SET source_id = $1 WHERE document_id = $2", FIRM_A.id("source"), UUID(kept)
    )
    for document_id, words in ((mail, "it is mail"), (kept, "it comes from a source")):
        for who in (HAND, PARTNER):
            refused = await trusted(gate, document_id, "internal", who)
            code, said = refusal(refused)
            assert (code, words in said) == ("trust_fixed", True)
            recorded = await superuser_connection.fetchrow(LAST, refused.call_id)
            assert recorded is not None
            assert tuple(recorded) == ("invalid", "trust_fixed")
        assert (await rows_of(superuser_connection, document_id))[0] == "external"
        # What is asked for is so already.
        assert (await trusted(gate, document_id, "external")).outcome == "done"


@pytest.mark.parametrize("is_named", [True, False])
async def test_where_another_of_its_name_or_content_is_trusted_so_already_it_is_a_conflict(
    gate: GateOnTest, is_named: bool
) -> None:
    content, name = b"# Fleet\n\nThe zebu is insured.", {"uri": URI} if is_named else {}
    one = await upload(gate, content, HAND, **name)
    other = await upload(gate, b"The zebu walks." if is_named else content, HAND, **name, trust="internal")
    assert one != other
    assert refusal(await trusted(gate, one, "internal"))[0] == "trust_conflict"
    assert (await trusted(gate, one, "client")).outcome == "done"
    assert (await act(gate, "document_delete", other)).outcome == "done"
    assert (await trusted(gate, one, "internal")).outcome == "done"
    assert refusal(await act(gate, "document_restore", other))[0] == "not_restorable"
    # The next of its name is its next version, and trusted as it is now.
    if is_named:
        again = await upload(gate, b"The zebu runs.", HAND, **name, trust="internal")
        assert set(await found(gate, "zebu")) == {again}


async def test_who_may_not_is_refused_and_recorded(gate: GateOnTest, superuser_connection: Connection) -> None:
    own = await upload(gate, b"The zebu.", uri=URI)
    theirs = await upload(gate, b"The gnu.", PARTNER)
    shared = await upload(gate, b"The gaur.", uri="drive:shared")
    await upload(gate, b"The gaur again.", PARTNER, uri="drive:shared")
    for document_id, who, error in (
        (theirs, HAND, "not_your_document"),
        # A partner's version of it would be trusted anew as well.
        (shared, HAND, "not_your_document"),
        (own, STRANGER, "document_not_found"),
        (str(UUID(int=5)), HAND, "document_not_found"),
        (own, CLIENT, "denied"),
        (own, principal_of(who="service", mode="person", door="rest"), "denied"),
        (own, principal_of(door="rest"), "denied"),
        (own, principal_of(who="partner", door="widget"), "denied"),
        (own, principal_of(who="partner", door="mcp"), "denied"),
        (own, principal_of(who="partner", door="chat"), "denied"),
    ):
        refused = await trusted(gate, document_id, "internal", who)
        assert refusal(refused)[0] == error, who
        recorded = await superuser_connection.fetchrow(LAST, refused.call_id)
        assert recorded is not None
        assert recorded["outcome"] == refused.outcome
        if error == "denied":
            assert refused.outcome == "denied"
    for document_id in (own, theirs, shared):
        assert (await rows_of(superuser_connection, document_id))[0] == "external"
    assert (await trusted(gate, theirs, "internal", PARTNER)).outcome == "done"
    assert (await trusted(gate, own, "internal", PARTNER)).outcome == "done"


async def test_what_is_queued_is_indexed_as_it_is_trusted_by_then(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    async with gate.staging.holding(HAND, b"The zebu.") as digest:
        asked: Json = {"title": "Fleet", "file_name": "a.md", "content_sha256": digest, "size_bytes": 9}
        document_id = str(of(await gate.call("document_upload", asked, HAND), "document")["document_id"])
    assert (await trusted(gate, document_id, "internal")).outcome == "done"
    await brought_up(gate, document_id)
    assert await rows_of(superuser_connection, document_id) == ("internal", ["internal"], ["internal"])


# At once --------------------------------------------------------------------------------------------------------------

Wait = Callable[[], Awaitable[None]]
Act = Callable[[Firm, Connection, Document, Wait], Awaitable[None]]
PART = Part(path="note.md", media_type="text/markdown", content=b"The yak.")


async def nothing() -> None:
    """Waits for nobody."""


async def somebody_waits(inspector: Connection) -> None:
    """Until a transaction of this database waits for another's lock."""
    waiting = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    async with asyncio.timeout(30):
        while not await inspector.fetchval(waiting):  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(0)


async def indexing(firm: Firm, connection: Connection, document: Document, wait: Wait) -> None:
    async with firm.acting(connection, writes=True) as knowledge:
        assert await knowledge.versions.stands_alone(document.document_id)
        prepared = prepare_document(b"The zebu.", title="Policy", media_type="text/markdown")
        await knowledge.store(document.document_id, prepared, new_id=new_id, now=NOW)
        await knowledge.keep_parts(document.document_id, [PART], new_id=new_id, now=NOW)
        await wait()


async def trusting(firm: Firm, connection: Connection, document: Document, wait: Wait) -> None:
    async with firm.acting(connection, writes=True) as knowledge:
        line = await knowledge.trust.hold(document.document_id)
        await knowledge.trust.change(line, "internal", NOW)
        await wait()


@pytest.mark.parametrize("begins", [indexing, trusting])
async def test_what_is_indexed_meanwhile_ends_with_no_row_that_is_trusted_as_before(
    owner_connection: Connection,
    app_connection: Connection,
    superuser_connection: Connection,
    database: Database,
    begins: Act,
) -> None:
    firm = await founded(owner_connection)
    document = await firm.add(app_connection, "The zebu.", trust="external", index=False)
    follows = trusting if begins is indexing else indexing
    async with connected(database.dsn(Login.APP)) as other:
        following: list[asyncio.Task[None]] = []

        async def let_the_other_come() -> None:
            following.append(asyncio.ensure_future(follows(firm, other, document, nothing)))
            await somebody_waits(superuser_connection)

        await begins(firm, app_connection, document, let_the_other_come)
        await asyncio.gather(*following)
    for table in ("knowledge_documents", "knowledge_chunks", "knowledge_postings"):
        trusts = await superuser_connection.fetch(f"SELECT DISTINCT trust FROM {table}")
        assert [row["trust"] for row in trusts] == ["internal"], table
    async with firm.acting(app_connection) as knowledge:
        assert [item.trust for item in (await knowledge.search(SearchQuery(text="zebu"))).items] == ["internal"]
        assert len((await knowledge.list(DocumentQuery(parent_id=document.document_id))).items) == 1


async def test_a_version_that_is_uploaded_meanwhile_is_of_the_line_or_of_one_of_its_own(
    owner_connection: Connection, app_connection: Connection, superuser_connection: Connection, database: Database
) -> None:
    firm = await founded(owner_connection)
    first = await added(firm, app_connection, b"The zebu.", "external")
    async with connected(database.dsn(Login.APP)) as other:
        async with firm.acting(app_connection, writes=True) as knowledge:
            line = await knowledge.trust.hold(first)
            uploading = asyncio.ensure_future(added(firm, other, b"The zebu again.", "external"))
            await somebody_waits(superuser_connection)
            await knowledge.trust.change(line, "internal", NOW)
        second = await uploading
    async with firm.acting(app_connection, writes=True) as knowledge:
        assert [(await knowledge.get(each)).trust for each in (first, second)] == ["internal", "external"]
        assert [each.document_id for each in await knowledge.trust.hold(first)] == [first]


async def added(firm: Firm, connection: Connection, content: bytes, trust: Trust) -> DocumentId:
    """A document, always of the same name."""
    new = NewDocument(
        document_id=DocumentId(new_id()),
        title="Fleet",
        media_type="text/markdown",
        content=content,
        audience="firm",
        engagement_id=None,
        trust=trust,
        uploaded_by=firm.people[Role.EMPLOYEE],
        created_at=NOW,
        uri=URI,
    )
    async with firm.acting(connection, writes=True) as knowledge:
        return (await knowledge.add(new)).document_id
