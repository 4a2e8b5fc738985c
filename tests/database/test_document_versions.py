"""A new version takes the last one's place at once, the same content is stored once, and nothing is embedded twice."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import cast
from uuid import UUID

import pytest

from domain.kernel import Principal
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable
from knowledge.prepare import preparation
from server.database.connection import Connection
from server.database.inspection import LackingVectors, lacking_vectors
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from tests.support.database import Database
from tests.support.fake_embeddings import FakeEmbedder
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.handlers.embedding import STEP
from tools.outcomes import CallOutcome, Json
from tools.work import Job

HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
AGENT = principal_of()
HUB = principal_of(who="service", door="worker")
URI = "drive:policies/fleet"
CLAUSES = [f"## Clause {n}\n\nThe automobile number {n} is insured." for n in range(STEP + 20)]
OLD = "\n\n".join(CLAUSES).encode()
NEW = "\n\n".join([*CLAUSES[1:], "## Clause of trains\n\nThe automobile goes by rail."]).encode()
LONG = "\n\n".join(f"The automobile number {n} is insured by the firm for a year." for n in range(900)).encode()
A_DAY_AGO = "UPDATE knowledge_documents SET updated_at = now() - interval '25 hours' WHERE document_id = $1"
SHOWN = """
SELECT c.document_id, count(DISTINCT c.chunk_id) AS chunks, count(DISTINCT e.chunk_id) AS vectors,
       count(DISTINCT p.chunk_id) AS posted
FROM knowledge_chunks c LEFT JOIN knowledge_embeddings e USING (organization_id, chunk_id)
LEFT JOIN knowledge_postings p USING (organization_id, chunk_id)
WHERE c.document_id = ANY ($1) GROUP BY c.document_id
"""


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection, embedder: FakeEmbedder) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools, embedder=embedder) as opened:
        yield opened


async def upload(gate: GateOnTest, content: bytes, who: Principal = HAND, **said: str) -> CallOutcome:
    async with gate.staging.holding(who, content) as digest:
        asked: Json = {
            "title": "Fleet policy",
            "file_name": "a.md",
            "content_sha256": digest,
            "size_bytes": len(content),
            **said,
        }
        return await gate.call("document_upload", asked, who)


def document_of(outcome: CallOutcome) -> Json:
    assert outcome.outcome == "done", outcome
    return cast(Json, cast(Json, outcome.result)["document"])


async def step(gate: GateOnTest, tool: str, document_id: object) -> Json:
    return document_of(await gate.call(tool, {"document_id": document_id}, HUB))


async def brought_up(gate: GateOnTest, document_id: object) -> Json:
    """Indexed, and embedded to the end."""
    document = await step(gate, "document_index", document_id)
    while gate.queue.jobs and gate.queue.jobs.pop().kind == "document_embed":
        document = await step(gate, "document_embed", document_id)
    return document


async def found(gate: GateOnTest, query: str, mode: str = "hybrid") -> set[str]:
    outcome = await gate.call("knowledge_search", {"query": query, "mode": mode, "limit": 100}, AGENT)
    items = cast("list[Json]", cast(Json, outcome.result)["items"])
    return {str(item["document_id"]) for item in items}


async def test_a_new_version_is_found_in_the_stead_of_the_last_and_never_are_both_nor_neither(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    old = str(document_of(await upload(gate, OLD, uri=URI))["document_id"])
    await brought_up(gate, old)

    later = document_of(await upload(gate, NEW, uri=URI))
    new = str(later["document_id"])
    assert (new != old, later["version"]) == (True, 2)
    gate.queue.jobs.clear()
    seen: list[set[str]] = []
    for tool in ("document_index", "document_embed"):
        seen += [await found(gate, "automobile", mode) for mode in ("hybrid", "lexical", "vector")]
        await step(gate, tool, new)
    after = [await found(gate, "automobile", mode) for mode in ("hybrid", "lexical", "vector")]

    assert seen == [{old}] * 6
    assert after == [{new}] * 3
    rows = await superuser_connection.fetch(SHOWN, [UUID(old), UUID(new)])
    assert [tuple(row) for row in rows] == [(UUID(new), STEP + 20, STEP + 20, STEP + 20)]
    for table in ("knowledge_staged", "knowledge_kept_vectors"):
        assert (
            await superuser_connection.fetchval(f"SELECT count(*) FROM {table} WHERE document_id = $1", UUID(new)) == 0
        )


async def test_what_cites_an_earlier_version_still_reads_its_text(gate: GateOnTest) -> None:
    old = str(document_of(await upload(gate, b"# Old\n\nThe old words.", uri=URI))["document_id"])
    await brought_up(gate, old)
    new = str(document_of(await upload(gate, b"# New\n\nOther words.", uri=URI))["document_id"])
    await brought_up(gate, new)

    read = await gate.call("knowledge_read", {"document_id": old, "start": 0, "end": 20}, AGENT)
    content = await gate.call("document_content", {"document_id": old}, HAND)
    listed = await gate.call("document_list", {}, HAND)

    assert "old words" in str(cast(Json, read.result)["text"])
    assert content.outcome == "done"
    ids = [each["document_id"] for each in cast("list[Json]", cast(Json, listed.result)["items"])]
    assert (new in ids, old in ids) == (True, False)


async def test_nothing_is_embedded_twice_whether_of_a_version_or_of_another_document(
    gate: GateOnTest, embedder: FakeEmbedder
) -> None:
    await brought_up(gate, document_of(await upload(gate, OLD, uri=URI))["document_id"])
    asked = len([text for text in embedder.asked if "Clause" in text])
    assert asked == STEP + 20

    await brought_up(gate, document_of(await upload(gate, NEW, uri=URI))["document_id"])
    other = await brought_up(gate, document_of(await upload(gate, OLD + b"\n\nEnd.", uri="drive:copy"))["document_id"])

    assert other["status"] == "ready"
    again = [text for text in embedder.asked if "Clause" in text][asked:]
    assert [text.splitlines()[-1] for text in again] == ["The automobile goes by rail.", "End."]


async def test_the_same_content_is_stored_once_and_the_answer_says_so(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    first = await upload(gate, b"The same words.", uri=URI)
    again = await upload(gate, b"The same words.", uri=URI)
    unnamed = [await upload(gate, b"Words without a name.") for _ in range(2)]
    elsewhere = await upload(
        gate, b"Words without a name.", audience="client", engagement_id=str(FIRM_A.id("engagement"))
    )

    assert document_of(first)["document_id"] == document_of(again)["document_id"]
    assert cast(Json, again.result)["unchanged"] is True
    assert "unchanged" not in cast(Json, first.result)
    assert document_of(unnamed[0])["document_id"] == document_of(unnamed[1])["document_id"]
    assert document_of(elsewhere)["document_id"] != document_of(unnamed[0])["document_id"]
    stored = "SELECT count(*) FROM knowledge_files WHERE content = $1"
    assert await superuser_connection.fetchval(stored, b"The same words.") == 1


async def test_another_ones_document_is_replaced_by_a_manager_alone(gate: GateOnTest) -> None:
    mine = document_of(await upload(gate, b"Mine.", PARTNER, uri=URI))
    refused = await upload(gate, b"Not mine.", HAND, uri=URI)
    assert refused.error is not None
    assert refused.error.code == "not_your_document"
    assert (await upload(gate, b"Mine again.", PARTNER, uri=URI)).outcome == "done"
    assert mine["version"] == 1


async def test_a_version_that_cannot_be_read_leaves_the_last_one_found(gate: GateOnTest) -> None:
    old = str(document_of(await upload(gate, OLD, uri=URI))["document_id"])
    await brought_up(gate, old)
    async with gate.staging.holding(HAND, b"%PDF-1.7\nnot really") as digest:
        asked: Json = {"title": "x", "file_name": "a.pdf", "content_sha256": digest, "size_bytes": 19, "uri": URI}
        broken = document_of(await gate.call("document_upload", asked, HAND))["document_id"]

    assert (await step(gate, "document_index", broken))["status"] == "failed"
    assert await found(gate, "automobile") == {old}


async def test_a_version_that_is_ready_after_a_later_one_is_found_by_nobody(gate: GateOnTest) -> None:
    first = document_of(await upload(gate, b"The first automobile.", uri=URI))["document_id"]
    second = document_of(await upload(gate, b"The second automobile.", uri=URI))["document_id"]
    await brought_up(gate, second)
    await brought_up(gate, first)
    assert await found(gate, "automobile") == {str(second)}


def refusing(texts: Sequence[str]) -> None:
    raise EmbeddingsRefused("HTTP 401 from the embedding server")


def away(texts: Sequence[str]) -> None:
    raise EmbeddingsUnavailable("HTTP 503")


async def waited(inspector: Connection, document_id: object, minutes: int) -> None:
    """As though it had waited so long for vectors already."""
    aged = "UPDATE knowledge_staged SET staged_at = now() - $2 * interval '1 minute' WHERE document_id = $1"
    await inspector.execute("SET session_replication_role = replica")
    await inspector.execute(aged, UUID(str(document_id)), minutes)


@pytest.mark.parametrize("fault", [refusing, away])
async def test_a_version_that_gets_no_vectors_is_found_by_its_words_after_a_while_and_embedded_once_it_gets_them(
    gate: GateOnTest,
    embedder: FakeEmbedder,
    superuser_connection: Connection,
    pools: DatabasePools,
    database: Database,
    fault: Callable[[Sequence[str]], None],
) -> None:
    old = str(document_of(await upload(gate, OLD, uri=URI))["document_id"])
    await brought_up(gate, old)
    new = str(document_of(await upload(gate, NEW, uri=URI))["document_id"])
    await step(gate, "document_index", new)

    embedder.fault = fault
    early = await gate.call("document_embed", {"document_id": new}, HUB)
    assert (early.outcome, early.error and early.error.code) == ("invalid", "embeddings_unavailable")
    assert await found(gate, "automobile", "lexical") == {old}

    await waited(superuser_connection, new, 6)
    gate.queue.jobs.clear()
    document = await step(gate, "document_embed", new)
    assert await found(gate, "automobile", "lexical") == await found(gate, "rail", "lexical") == {new}
    rows = await superuser_connection.fetch(SHOWN, [UUID(old), UUID(new)])
    assert [tuple(row) for row in rows] == [(UUID(new), STEP + 20, STEP + 19, STEP + 20)]
    if fault is refusing:
        assert document["status"] == "ready"
        assert "found by its words, and not by its meaning: HTTP 401" in str(document["failure"])
        embed = Job(kind="document_embed", organization_id=HAND.organization_id, subject_id=UUID(new))
        jobs = PostgresJobs(pools.service)
        assert embed not in await jobs.sweep(timedelta(0), embedder.model)
        await superuser_connection.execute(A_DAY_AGO, UUID(new))
        assert embed in await jobs.sweep(timedelta(0), embedder.model)
    else:
        assert (document["status"], document["message"]) == (
            "embedding",
            f"{STEP + 19} of its {STEP + 20} passages can be found by their meaning.",
        )
        assert [job.kind for job in gate.queue.jobs] == ["document_embed"]
    assert (await lacking_vectors(database.urls().service)) == LackingVectors(
        refused=int(fault is refusing), waiting=int(fault is away)
    )

    embedder.fault = lambda texts: None
    document = await step(gate, "document_embed", new)
    if document["status"] == "embedding":
        document = await step(gate, "document_embed", new)
    assert (document["status"], document.get("failure")) == ("ready", None)
    assert new in await found(gate, "automobile", "vector")
    rows = await superuser_connection.fetch(SHOWN, [UUID(old), UUID(new)])
    assert [tuple(row) for row in rows] == [(UUID(new), STEP + 20, STEP + 20, STEP + 20)]


async def test_a_version_whose_vectors_keep_coming_waits_for_them_however_long_they_take(
    gate: GateOnTest, embedder: FakeEmbedder, superuser_connection: Connection
) -> None:
    old = str(document_of(await upload(gate, b"The automobile.", uri=URI))["document_id"])
    await brought_up(gate, old)
    new = str(document_of(await upload(gate, OLD, uri=URI))["document_id"])
    await step(gate, "document_index", new)
    await waited(superuser_connection, new, 60)
    await step(gate, "document_embed", new)
    embedder.fault = away
    assert (await gate.call("document_embed", {"document_id": new}, HUB)).outcome == "invalid"
    assert await found(gate, "automobile", "lexical") == {old}


async def test_what_is_only_cut_up_anew_waits_for_vectors_as_long_as_it_takes(
    gate: GateOnTest, embedder: FakeEmbedder, pools: DatabasePools, superuser_connection: Connection
) -> None:
    document_id = str(document_of(await upload(gate, LONG, uri=URI))["document_id"])
    await brought_up(gate, document_id)
    before = await superuser_connection.fetchrow(SHOWN, [UUID(document_id)])
    embedder.fault = refusing
    async with gate_on(pools, embedder=embedder, budget=64) as anew:
        await step(anew, "document_index", document_id)
        await waited(superuser_connection, document_id, 60)
        assert (await anew.call("document_embed", {"document_id": document_id}, HUB)).outcome == "invalid"
    assert await superuser_connection.fetchrow(SHOWN, [UUID(document_id)]) == before


async def test_a_document_that_is_cut_up_anew_stays_found_until_it_is_done(
    gate: GateOnTest, embedder: FakeEmbedder, pools: DatabasePools, superuser_connection: Connection
) -> None:
    document_id = str(document_of(await upload(gate, LONG, uri=URI))["document_id"])
    await brought_up(gate, document_id)
    jobs = PostgresJobs(pools.service)
    index = Job(kind="document_index", organization_id=HAND.organization_id, subject_id=UUID(document_id))
    assert index not in await jobs.sweep(timedelta(0), prepared_as=preparation())
    assert index in await jobs.sweep(timedelta(0), prepared_as=preparation(64))
    modes = ("hybrid", "lexical", "vector")
    before = await superuser_connection.fetchrow(SHOWN, [UUID(document_id)])

    async with gate_on(pools, embedder=embedder, budget=64) as anew:
        await step(anew, "document_index", document_id)
        assert [await found(anew, "automobile", mode) for mode in modes] == [{document_id}] * 3
        assert await superuser_connection.fetchrow(SHOWN, [UUID(document_id)]) == before
        while anew.queue.jobs and anew.queue.jobs.pop().kind == "document_embed":
            assert (await step(anew, "document_embed", document_id))["status"] == "ready"
            assert [await found(anew, "automobile", mode) for mode in modes] == [{document_id}] * 3
    row = await superuser_connection.fetchrow(SHOWN, [UUID(document_id)])
    assert before is not None
    assert row is not None
    assert row["chunks"] == row["vectors"] == row["posted"] > before["chunks"]
    assert index not in await jobs.sweep(timedelta(0), prepared_as=preparation(64))
