"""Passages get their vectors step by step in the background, each step a call, and words find them all the while."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast
from uuid import UUID

import pytest

from domain.kernel import new_id
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable
from knowledge.model import DocumentId
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from server.document_following import DocumentFeed
from server.worker.again import Again
from server.worker.documents import DocumentWorker
from tests.support.fake_embeddings import FakeEmbedder
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.handlers.embedding import STEP
from tools.outcomes import Json
from tools.work import Job

HAND = principal_of(mode="person", door="rest")
AGENT = principal_of()
HUB = principal_of(who="service", door="worker")
VECTORS = "SELECT count(*) FROM knowledge_embeddings WHERE organization_id = $1 AND model = $2"
MODEL = "text-embedding-3-small"
PARAGRAPHS = "\n\n".join(f"## Clause {n}\n\nThe automobile number {n} is insured." for n in range(STEP + 20)).encode()


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection, embedder: FakeEmbedder) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools, embedder=embedder) as opened:
        yield opened


@asynccontextmanager
async def without_embeddings(pools: DatabasePools) -> AsyncGenerator[GateOnTest]:
    async with gate_on(pools) as opened:
        yield opened


async def uploaded(gate: GateOnTest, content: bytes, title: str = "Fleet policy") -> str:
    async with gate.staging.holding(HAND, content) as digest:
        asked: Json = {
            "title": title,
            "file_name": "a.md",
            "content_sha256": digest,
            "size_bytes": len(content),
            "audience": "firm",
        }
        outcome = await gate.call("document_upload", asked, HAND)
    return str(part(outcome.result)["document_id"])


def part(result: Json | None, name: str = "document") -> Json:
    assert result is not None
    return cast(Json, result[name])


async def step(gate: GateOnTest, tool: str, document_id: str) -> Json:
    outcome = await gate.call(tool, {"document_id": document_id}, HUB)
    assert outcome.outcome == "done", outcome
    assert outcome.result is not None
    return outcome.result


async def searched(gate: GateOnTest, query: str, mode: str = "hybrid") -> tuple[str, list[str]]:
    outcome = await gate.call("knowledge_search", {"query": query, "mode": mode}, AGENT)
    assert outcome.outcome == "done", outcome
    assert outcome.result is not None
    items = cast("list[Json]", outcome.result["items"])
    return str(outcome.result["mode"]), [str(item["title"]) for item in items]


async def test_a_document_is_found_by_words_at_once_and_by_meaning_once_it_has_its_vectors(
    gate: GateOnTest, embedder: FakeEmbedder, superuser_connection: Connection
) -> None:
    document_id = await uploaded(gate, PARAGRAPHS)
    indexed = await step(gate, "document_index", document_id)
    assert part(indexed)["status"] == "embedding"
    assert gate.queue.jobs[-1] == Job(
        kind="document_embed", organization_id=HAND.organization_id, subject_id=gate.queue.jobs[-1].subject_id
    )
    assert await searched(gate, "automobile") == ("lexical", ["Fleet policy"] * 8)
    read = await gate.call("knowledge_read", {"document_id": document_id}, AGENT)
    assert read.outcome == "done"

    first = await step(gate, "document_embed", document_id)
    assert (part(first)["status"], first["embedded"]) == ("embedding", STEP)
    last = await step(gate, "document_embed", document_id)
    assert (part(last)["status"], last["embedded"]) == ("ready", 20)
    assert await superuser_connection.fetchval(VECTORS, FIRM_A.organization_id, MODEL) == STEP + 20
    assert await searched(gate, "insured car") == ("hybrid", ["Fleet policy"] * 8)
    assert await searched(gate, "car", "vector") == ("vector", ["Fleet policy"] * 8)
    assert await searched(gate, "car", "lexical") == ("lexical", [])
    passages = [text for text in embedder.asked if text.startswith("Fleet policy\nClause")]
    assert len(passages) == len(set(passages)) == STEP + 20


async def test_its_progress_counts_the_passages_that_have_their_vectors_as_each_step_commits_them(
    gate: GateOnTest,
) -> None:
    feed = DocumentFeed(gate.transactions)
    document_id = await uploaded(gate, PARAGRAPHS)
    frames = [await feed.look(HAND, DocumentId(UUID(document_id)))]
    for tool in ("document_index", "document_embed", "document_embed"):
        await step(gate, tool, document_id)
        frames.append(await feed.look(HAND, DocumentId(UUID(document_id))))

    numbers = [frame.sequence for frame in frames]
    assert numbers == sorted(set(numbers))
    told = [json.loads(frame.data) for frame in frames]
    assert [each["type"] for each in told] == [*["document.progress"] * 3, "document.ready"]
    assert [each["progress"] for each in told] == [0.0, 0.3, round(0.3 + 0.7 * STEP / (STEP + 20), 3), 1.0]
    assert told[2]["message"] == f"{STEP} of its {STEP + 20} passages can be found by their meaning."
    pages = [page async for page in feed.pages(HAND, DocumentId(UUID(document_id)), numbers[2])]
    assert pages == [(frames[3],)]


async def test_what_is_stored_is_never_embedded_again(gate: GateOnTest, embedder: FakeEmbedder) -> None:
    document_id = await uploaded(gate, PARAGRAPHS)
    await step(gate, "document_index", document_id)
    await step(gate, "document_embed", document_id)
    before = len(embedder.asked)

    def killed(texts: Sequence[str]) -> None:
        raise asyncio.CancelledError

    embedder.fault = killed
    with pytest.raises(asyncio.CancelledError):
        await gate.call("document_embed", {"document_id": document_id}, HUB)
    embedder.fault = lambda texts: None
    await step(gate, "document_embed", document_id)
    again = await step(gate, "document_embed", document_id)
    assert (part(again)["status"], again["embedded"]) == ("ready", 0)
    assert len(embedder.asked) == before + 20


async def test_two_workers_at_once_leave_one_vector_a_passage(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    document_id = await uploaded(gate, b"## A\n\nautomobile\n\n## B\n\nsalary")
    await step(gate, "document_index", document_id)
    both = await asyncio.gather(*(step(gate, "document_embed", document_id) for _ in range(2)))
    assert sorted(cast(int, each["embedded"]) for each in both) == [0, 2]
    assert await superuser_connection.fetchval(VECTORS, FIRM_A.organization_id, MODEL) == 2


async def test_a_server_that_refuses_leaves_the_document_found_by_its_words_with_the_reason(
    gate: GateOnTest, embedder: FakeEmbedder
) -> None:
    def refused(texts: Sequence[str]) -> None:
        raise EmbeddingsRefused("it refuses our key (HTTP 401)")

    document_id = await uploaded(gate, b"The automobile is insured.")
    await step(gate, "document_index", document_id)
    embedder.fault = refused
    document = part(await step(gate, "document_embed", document_id))
    assert document["status"] == "ready"
    assert "found by its words" in str(document["failure"])
    assert "HTTP 401" in str(document["failure"])
    assert await searched(gate, "automobile") == ("lexical", ["Fleet policy"])
    outcome = await gate.call("knowledge_search", {"query": "automobile", "mode": "vector"}, AGENT)
    assert (outcome.outcome, outcome.error and outcome.error.code) == ("invalid", "embeddings_unavailable")


async def test_passages_that_a_server_refuses_are_told_and_leave_the_others_their_vectors(
    gate: GateOnTest, embedder: FakeEmbedder, superuser_connection: Connection
) -> None:
    embedder.refuses = "unspeakable"
    document_id = await uploaded(gate, b"## A\n\nThe automobile is insured.\n\n## B\n\nAn unspeakable premium.")
    await step(gate, "document_index", document_id)
    assert part(await step(gate, "document_embed", document_id))["status"] == "embedding"
    document = part(await step(gate, "document_embed", document_id))
    assert document["status"] == "ready"
    assert str(document["failure"]).startswith("The embedding server refuses 1 of its passages")
    assert await superuser_connection.fetchval(VECTORS, FIRM_A.organization_id, MODEL) == 1


async def test_a_server_that_is_away_is_come_back_to(
    gate: GateOnTest, embedder: FakeEmbedder, pools: DatabasePools
) -> None:
    def away(texts: Sequence[str]) -> None:
        raise EmbeddingsUnavailable("HTTP 503")

    worker = DocumentWorker(gate=gate.gate, identities=PostgresIdentities(pools.app), new_id=new_id)
    document_id = await uploaded(gate, b"The automobile is insured.")
    await step(gate, "document_index", document_id)
    job = gate.queue.jobs[-1]
    embedder.fault = away
    assert await worker.work(job) == Again()
    embedder.fault = lambda texts: None
    assert await worker.work(job) is None
    assert part(await step(gate, "document_embed", document_id))["status"] == "ready"


async def test_a_document_that_went_meanwhile_ends_its_job(gate: GateOnTest, pools: DatabasePools) -> None:
    worker = DocumentWorker(gate=gate.gate, identities=PostgresIdentities(pools.app), new_id=new_id)
    document_id = await uploaded(gate, b"The automobile is insured.")
    await step(gate, "document_index", document_id)
    job = gate.queue.jobs[-1]
    await gate.call("document_delete", {"document_id": document_id}, HAND)
    assert await worker.work(job) is None


async def test_indexing_anew_keeps_the_vectors_until_there_are_others_and_deleting_takes_them_along(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    document_id = await uploaded(gate, b"The automobile is insured.")
    await step(gate, "document_index", document_id)
    await step(gate, "document_embed", document_id)
    assert part(await step(gate, "document_index", document_id))["status"] == "ready"
    assert await superuser_connection.fetchval(VECTORS, FIRM_A.organization_id, MODEL) == 1
    await step(gate, "document_embed", document_id)
    assert await superuser_connection.fetchval(VECTORS, FIRM_A.organization_id, MODEL) == 1
    await gate.call("document_delete", {"document_id": document_id}, HAND)
    assert await superuser_connection.fetchval(VECTORS, FIRM_A.organization_id, MODEL) == 0


async def test_no_other_organization_can_have_a_document_embedded(gate: GateOnTest, embedder: FakeEmbedder) -> None:
    document_id = await uploaded(gate, b"The automobile is insured.")
    await step(gate, "document_index", document_id)
    before = len(embedder.asked)
    stranger = principal_of(FIRM_B, "service", door="worker")
    outcome = await gate.call("document_embed", {"document_id": document_id}, stranger)
    assert outcome.outcome == "invalid"
    assert len(embedder.asked) == before


async def test_where_no_server_is_set_any_more_the_document_is_ready_by_its_words(
    gate: GateOnTest, pools: DatabasePools
) -> None:
    document_id = await uploaded(gate, b"The automobile is insured.")
    await step(gate, "document_index", document_id)
    async with without_embeddings(pools) as plain:
        document = part(await step(plain, "document_embed", document_id))
        assert document["status"] == "ready"
        assert "failure" not in document
        assert await searched(plain, "automobile") == ("lexical", ["Fleet policy"])


async def test_the_sweep_finds_what_has_no_vectors_of_the_model_in_force(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with without_embeddings(pools) as plain:
        early = await uploaded(plain, b"The automobile is insured.")
        await step(plain, "document_index", early)
    jobs = PostgresJobs(pools.service)
    assert early not in await swept(jobs, None)
    assert early in await swept(jobs, MODEL)
    await superuser_connection.execute("DELETE FROM queue.pgqueuer")
    await step(gate, "document_embed", early)
    assert early not in await swept(jobs, MODEL)
    assert early in await swept(jobs, "another@8")


async def test_two_models_at_once_leave_one_another_s_vectors_in_peace(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection, owner_connection: Connection
) -> None:
    document_id = await uploaded(gate, b"The automobile is insured.")
    await step(gate, "document_index", document_id)
    await step(gate, "document_embed", document_id)
    # As it was before the list of models.
    await owner_connection.execute("UPDATE knowledge_documents SET embedding_models = '{}'")
    jobs = PostgresJobs(pools.service)
    async with gate_on(pools, embedder=FakeEmbedder(model="another", dimensions=8)) as other:
        assert document_id in await swept(jobs, "another@8")
        await superuser_connection.execute("DELETE FROM queue.pgqueuer")
        await step(other, "document_embed", document_id)
    for model in (MODEL, "another@8"):
        assert document_id not in await swept(jobs, model)
    await step(gate, "document_index", document_id)
    await step(gate, "document_embed", document_id)
    assert document_id in await swept(jobs, "another@8")


async def test_what_a_server_would_not_embed_is_tried_again_after_a_day(
    gate: GateOnTest, embedder: FakeEmbedder, pools: DatabasePools, owner_connection: Connection
) -> None:
    def refused(texts: Sequence[str]) -> None:
        raise EmbeddingsRefused("no")

    document_id = await uploaded(gate, b"The automobile is insured.")
    await step(gate, "document_index", document_id)
    embedder.fault = refused
    await step(gate, "document_embed", document_id)
    jobs = PostgresJobs(pools.service)
    assert document_id not in await swept(jobs, MODEL)
    age = "UPDATE knowledge_documents SET updated_at = now() - interval '25 hours' WHERE failure IS NOT NULL"
    await owner_connection.execute(age)
    assert document_id in await swept(jobs, MODEL)


async def swept(jobs: PostgresJobs, model: str | None) -> list[str]:
    """Documents that the sweep has embedded."""
    return [str(job.subject_id) for job in await jobs.sweep(timedelta(0), model) if job.kind == "document_embed"]


async def test_a_question_asks_the_server_once_and_never_for_a_search_by_words(
    gate: GateOnTest, embedder: FakeEmbedder
) -> None:
    document_id = await uploaded(gate, b"The automobile is insured.")
    await step(gate, "document_index", document_id)
    await step(gate, "document_embed", document_id)
    embedder.asked.clear()
    await searched(gate, "insured", "lexical")
    assert embedder.asked == []
    await searched(gate, "insured")
    await searched(gate, "insured", "vector")
    assert embedder.asked == ["insured"]
