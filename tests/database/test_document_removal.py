"""What is deleted is gone at once, comes back within its time as it was, and then leaves nothing behind."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast
from uuid import UUID, uuid4

import pytest

from domain.kernel import Principal, new_id
from knowledge.model import DocumentId, SearchQuery
from knowledge.prepare import prepare_document
from knowledge.removal import Purged
from knowledge.service import KnowledgeService
from server.database.connection import Connection, connected
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from server.logins import Login
from tests.support.database import Database
from tests.support.fake_embeddings import FakeEmbedder
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.knowledge import NOW, founded
from tools.outcomes import CallOutcome, Json
from tools.work import Job

HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
AGENT = principal_of()
HUB = principal_of(who="service", door="worker")
URI = "drive:policies/fleet"
TABLES = (
    "knowledge_documents",
    "knowledge_files",
    "knowledge_staged",
    "knowledge_kept_vectors",
    "knowledge_chunks",
    "document_figures",
)
KEPT = "SELECT " + ", ".join(
    f"(SELECT count(*) FROM {table} WHERE document_id = ANY ($1)) AS {table}" for table in TABLES
)
LOOSE = """
SELECT (SELECT count(*) FROM knowledge_postings p WHERE NOT EXISTS (
            SELECT FROM knowledge_chunks c WHERE c.chunk_id = p.chunk_id)) AS postings,
       (SELECT count(*) FROM knowledge_embeddings e WHERE NOT EXISTS (
            SELECT FROM knowledge_chunks c WHERE c.chunk_id = e.chunk_id)) AS vectors,
       (SELECT count(*) FROM knowledge_terms t WHERE t.organization_id = $1 AND NOT EXISTS (
            SELECT FROM knowledge_postings p WHERE p.term_id = t.term_id)) AS words
"""
ITS_TIME_IS_OVER = "UPDATE knowledge_documents SET purge_at = now() - interval '1 second' WHERE deleted_at IS NOT NULL"
COUNTS = (
    "SELECT sum(chunk_count)::int AS chunks, sum(term_count)::int AS terms FROM knowledge_documents "
    "WHERE organization_id = $1 AND deleted_at IS NULL"
)


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection, embedder: FakeEmbedder) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools, embedder=embedder) as opened:
        yield opened


async def upload(gate: GateOnTest, content: bytes, who: Principal = HAND, **said: str) -> str:
    async with gate.staging.holding(who, content) as digest:
        asked: Json = {"title": "Fleet", "file_name": "a.md", "content_sha256": digest, "size_bytes": len(content)}
        outcome = await gate.call("document_upload", {**asked, **said}, who)
    document_id = str(of(outcome, "document")["document_id"])
    await brought_up(gate, document_id)
    return document_id


def of(outcome: CallOutcome, part: str) -> Json:
    assert outcome.outcome == "done", outcome
    return cast(Json, cast(Json, outcome.result)[part])


async def brought_up(gate: GateOnTest, document_id: str) -> None:
    """Indexed, with what lies inside, and embedded to the end."""
    gate.queue.jobs.clear()
    await gate.call("document_index", {"document_id": document_id}, HUB)
    while gate.queue.jobs:
        job = gate.queue.jobs.pop()
        outcome = await gate.call(job.kind, {"document_id": str(job.subject_id)}, HUB)
        assert outcome.outcome == "done", outcome


async def found(gate: GateOnTest, query: str) -> dict[str, float]:
    outcome = await gate.call("knowledge_search", {"query": query, "mode": "lexical", "limit": 100}, AGENT)
    return {
        str(item["document_id"]): cast(float, item["score"])
        for item in cast("list[Json]", cast(Json, outcome.result)["items"])
    }


async def act(gate: GateOnTest, tool: str, document_id: str, who: Principal = HAND) -> CallOutcome:
    return await gate.call(tool, {"document_id": document_id}, who)


async def hits(knowledge: KnowledgeService, words: str) -> set[DocumentId]:
    return {each.document_id for each in (await knowledge.search(SearchQuery(text=words))).items}


async def somebody_waits(inspector: Connection) -> None:
    """Until a transaction waits for another's lock on the words."""
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    async with asyncio.timeout(30):
        while not await inspector.fetchval(waiting):  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(0)


def zipped(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


def refusal(outcome: CallOutcome) -> tuple[str, str]:
    assert outcome.error is not None, outcome
    return outcome.error.code, outcome.error.message


async def test_what_was_deleted_comes_back_whole_and_is_not_embedded_again(
    gate: GateOnTest, embedder: FakeEmbedder, superuser_connection: Connection
) -> None:
    old = await upload(gate, b"# Fleet\n\nThe zebu is insured.", uri=URI)
    new = await upload(gate, b"# Fleet\n\nThe zebu is insured by rail.", uri=URI)
    asked = len(embedder.asked)

    deleted = await act(gate, "document_delete", new)
    assert deleted.outcome == "done"
    assert await found(gate, "zebu") == {}
    for document_id in (old, new):
        read = await gate.call("knowledge_read", {"document_id": document_id}, AGENT)
        assert read.error is not None
    assert (
        await superuser_connection.fetchval("SELECT count(*) FROM knowledge_chunks WHERE document_id = $1", UUID(new))
    ) == 0

    gate.queue.jobs.clear()
    back = of(await act(gate, "document_restore", new), "document")
    assert (back["document_id"], back["status"]) == (new, "queued")
    assert [(job.kind, str(job.subject_id)) for job in gate.queue.jobs] == [("document_index", new)]
    await brought_up(gate, new)

    assert set(await found(gate, "zebu")) == {new}
    assert len(embedder.asked) == asked
    cited = await gate.call("knowledge_read", {"document_id": old, "start": 0, "end": 40}, AGENT)
    assert "zebu is insured." in str(cast(Json, cited.result)["text"])
    assert (
        await superuser_connection.fetchval(
            "SELECT count(*) FROM knowledge_kept_vectors WHERE document_id = $1", UUID(new)
        )
        == 0
    )


async def test_what_lies_inside_goes_and_comes_with_its_upload(gate: GateOnTest) -> None:
    whole = await upload(
        gate, zipped({"one.md": b"The okapi grazes.", "two.md": b"The okapi rests."}), file_name="a.zip"
    )
    inside = set(await found(gate, "okapi")) - {whole}
    assert len(inside) == 2
    alone = min(inside)
    assert (await act(gate, "document_delete", alone)).outcome == "done"
    assert (await act(gate, "document_delete", whole)).outcome == "done"

    code, words = refusal(await act(gate, "document_restore", max(inside)))
    assert (code, whole in words) == ("not_restorable", True)
    code, words = refusal(await act(gate, "document_restore", alone))
    assert (code, "restore that first" in words) == ("not_restorable", True)
    gate.queue.jobs.clear()
    assert (await act(gate, "document_restore", whole)).outcome == "done"
    for job in tuple(gate.queue.jobs):
        await brought_up(gate, str(job.subject_id))
    assert set(await found(gate, "okapi")) >= inside - {alone}
    assert (await act(gate, "document_restore", alone)).outcome == "done"


async def test_a_purge_waits_for_its_time_and_leaves_nothing_behind(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    stays = await upload(gate, b"# Cars\n\nThe zebu and the gnu are insured.", title="Cars")
    score, counts = (
        await found(gate, "zebu insured"),
        await superuser_connection.fetchrow(COUNTS, FIRM_A.organization_id),
    )
    old = await upload(gate, b"# Fleet\n\nThe zebu is insured.", uri=URI)
    goes = await upload(gate, zipped({"one.md": b"The zebu, the quokkaword and 17 EUR."}), uri=URI, file_name="a.zip")
    inside = [each for each in await found(gate, "quokkaword") if each != goes]
    gone = [UUID(each) for each in (old, goes, *inside)]
    assert (len(inside), len(await found(gate, "zebu"))) == (1, 2)
    assert (await gate.call("document_extract", {"document_id": inside[0]}, HAND)).outcome == "done"
    job = Job(kind="document_purge", organization_id=HAND.organization_id, subject_id=UUID(goes))
    jobs = PostgresJobs(pools.service)

    assert (await act(gate, "document_delete", goes)).outcome == "done"
    assert job not in await jobs.sweep(timedelta(0))
    assert refusal(await act(gate, "document_purge", goes, HUB))[0] == "document_not_found"
    await owner_connection.execute(ITS_TIME_IS_OVER)
    assert refusal(await act(gate, "document_restore", goes))[0] == "not_restorable"
    assert [each for each in await jobs.sweep(timedelta(0)) if each.kind == "document_purge"] == [job]
    purged = await act(gate, "document_purge", goes, HUB)

    result = cast(Json, purged.result)
    assert (result["document_id"], result["documents"]) == (goes, 3)
    left = await superuser_connection.fetchrow(KEPT, gone)
    assert left is not None
    assert set(left.values()) == {0}
    loose = await superuser_connection.fetchrow(LOOSE, FIRM_A.organization_id)
    assert loose is not None
    assert dict(loose) == {"postings": 0, "vectors": 0, "words": 0}
    words = "SELECT count(*) FROM knowledge_terms WHERE term LIKE 'quokkaword%'"
    assert await superuser_connection.fetchval(words) == 0
    assert await found(gate, "zebu insured") == score
    assert set(score) == {stays}
    assert await superuser_connection.fetchrow(COUNTS, FIRM_A.organization_id) == counts
    assert refusal(await act(gate, "document_purge", goes, HUB))[0] == "document_not_found"
    assert refusal(await act(gate, "document_restore", goes))[0] == "document_not_found"
    recorded = "SELECT count(*) FROM activity_events WHERE tool = 'document_purge' AND kind = 'tool.completed'"
    assert await superuser_connection.fetchval(recorded) == 1


async def test_the_same_content_elsewhere_keeps_its_file_when_one_of_them_is_purged(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    content = b"# Fleet\n\nThe zebu is insured."
    goes = await upload(gate, content)
    stays = await upload(gate, content, trust="internal")
    assert goes != stays
    await act(gate, "document_delete", goes)
    await owner_connection.execute(ITS_TIME_IS_OVER)
    assert (await act(gate, "document_purge", goes, HUB)).outcome == "done"
    assert set(await found(gate, "zebu")) == {stays}
    assert (await act(gate, "document_content", stays)).outcome == "done"
    await brought_up(gate, stays)
    assert set(await found(gate, "zebu")) == {stays}


async def test_who_may_not_restore_is_refused_and_so_is_what_has_a_successor(gate: GateOnTest) -> None:
    own = await upload(gate, b"The zebu.", uri=URI)
    theirs = await upload(gate, b"The gnu.", PARTNER)
    for document_id in (own, theirs):
        assert (await act(gate, "document_delete", document_id, PARTNER)).outcome == "done"

    assert refusal(await act(gate, "document_restore", theirs))[0] == "not_your_document"
    stranger = principal_of(FIRM_B, "partner", mode="person", door="rest")
    assert refusal(await act(gate, "document_restore", own, stranger))[0] == "document_not_found"
    assert refusal(await act(gate, "document_restore", str(uuid4())))[0] == "document_not_found"
    again = await upload(gate, b"Another zebu.", uri=URI)
    assert refusal(await act(gate, "document_restore", own))[0] == "not_restorable"
    assert (await act(gate, "document_delete", again)).outcome == "done"
    assert (await act(gate, "document_restore", own)).outcome == "done"
    assert refusal(await act(gate, "document_restore", own))[0] == "document_not_found"


async def test_a_word_that_is_about_to_be_used_again_is_not_removed(
    owner_connection: Connection, app_connection: Connection, database: Database
) -> None:
    firm = await founded(owner_connection)
    old = await firm.add(app_connection, "The zebu.")
    async with firm.acting(app_connection, writes=True) as knowledge:
        await knowledge.delete(old.document_id, now=NOW, until=NOW)
    new = await firm.add(app_connection, "The zebu again.", index=False)
    prepared = prepare_document(b"The zebu again.", title="Policy", media_type="text/markdown")

    async with connected(database.dsn(Login.APP)) as other:

        async def purge() -> Purged | None:
            async with firm.acting(other, writes=True) as knowledge:
                return await knowledge.removals.purge(old.document_id, NOW)

        async with firm.acting(app_connection, writes=True) as knowledge:
            await knowledge.store(new.document_id, prepared, new_id=new_id, now=NOW)
            purging = asyncio.create_task(purge())
            await somebody_waits(owner_connection)
        purged = await purging
        assert purged is not None
        assert purged.documents == 1
    async with firm.acting(app_connection) as knowledge:
        assert await hits(knowledge, "zebu") == {new.document_id}


async def test_a_word_that_is_being_removed_is_there_again_for_who_comes_next(
    owner_connection: Connection, app_connection: Connection, database: Database
) -> None:
    firm = await founded(owner_connection)
    old = await firm.add(app_connection, "The zebu.")
    async with firm.acting(app_connection, writes=True) as knowledge:
        await knowledge.delete(old.document_id, now=NOW, until=NOW)
    async with connected(database.dsn(Login.APP)) as other:
        async with firm.acting(app_connection, writes=True) as knowledge:
            await knowledge.removals.purge(old.document_id, NOW)
            adding = asyncio.create_task(firm.add(other, "The zebu again."))
            await somebody_waits(owner_connection)
        new = await adding
    async with firm.acting(app_connection) as knowledge:
        assert await hits(knowledge, "zebu") == {new.document_id}


EVENT = """
SELECT engagement_id, facts::jsonb ->> 'client_own_engagement' AS own_engagement, kind FROM activity_events
WHERE call_id = $1 AND kind IN ('tool.denied', 'tool.allowed')
"""


async def test_policy_knows_of_a_deleted_document_what_it_knows_of_one_that_is_there(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    engagement = FIRM_A.id("engagement")
    document_id = await upload(
        gate, b"# Fleet\n\nFor the client.", audience="client", engagement_id=str(engagement), trust="client"
    )
    client = principal_of(who="client", mode="person", door="rest")
    there = await act(gate, "document_delete", document_id, client)
    assert (await act(gate, "document_delete", document_id)).outcome == "done"
    gone = await act(gate, "document_restore", document_id, client)
    back = await act(gate, "document_restore", document_id)
    seen = [await owner_connection.fetchrow(EVENT, each.call_id) for each in (there, gone, back)]
    assert [row and (row["engagement_id"], row["own_engagement"], row["kind"]) for row in seen] == [
        (engagement, "true", "tool.denied"),
        (engagement, "true", "tool.denied"),
        (engagement, None, "tool.allowed"),
    ]
    assert back.outcome == "done"


async def test_what_is_not_deleted_or_hidden_is_no_document_to_restore(gate: GateOnTest) -> None:
    there = await upload(gate, b"The automobile.")
    hidden = await upload(gate, b"The okapi.")
    await act(gate, "document_delete", hidden)
    stranger = principal_of(FIRM_B, mode="person", door="rest")
    asked = ((there, HAND), (str(uuid4()), HAND), (hidden, stranger))
    refused = [await act(gate, "document_restore", document_id, who) for document_id, who in asked]
    assert [(each.outcome, *refusal(each)) for each in refused] == [
        ("invalid", "document_not_found", "There is no such deleted document.")
    ] * 3
