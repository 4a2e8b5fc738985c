"""A second stage orders what a search found, shows nothing else, and is done without where it fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import pytest

from domain.kernel import Principal, Role
from knowledge.model import Reranking, SearchQuery
from knowledge.reranking.compatible import CompatibleReranker
from knowledge.reranking.model import RerankRules
from knowledge.reranking.stage import SecondStage
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.fake_reranker import RerankServer, served_reranker
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.knowledge import founded
from tools.handlers import searching_with

Json = dict[str, Any]
HAND = principal_of(mode="person", door="rest")
HUB = principal_of(who="service", door="worker")
AGENT = principal_of()
CLIENT = principal_of(who="client", mode="person", door="rest")
QUESTION = "letter of the partner signature"
PATIENT = RerankRules(timeout_s=30.0)
PAPERS = {
    "Letters": "The partner letter: a letter of the partner is a letter by a partner.",
    "Signing": "A letter needs a signature",
    "Fees": "The fee of a letter is five euro.",
}
"""By words the first answers best; the fake reranker prefers what ends with the question's last word."""


@pytest.fixture
def server() -> Generator[RerankServer]:
    with served_reranker() as served:
        yield served


@pytest.fixture
async def seeded(owner_connection: Connection) -> None:
    await seed_firms(owner_connection)


@asynccontextmanager
async def reranking(
    pools: DatabasePools, server: RerankServer, rules: RerankRules = PATIENT
) -> AsyncGenerator[GateOnTest]:
    reranker = CompatibleReranker(model="a-reranker", api="cohere", api_key=None, base_url=server.url)
    stage = SecondStage(reranker, lambda: rules)
    try:
        async with gate_on(pools, {"knowledge_search": searching_with(None, stage)}) as gate:
            yield gate
    finally:
        await reranker.close()


@pytest.fixture
async def gate(pools: DatabasePools, seeded: None, server: RerankServer) -> AsyncIterator[GateOnTest]:
    async with reranking(pools, server) as opened:
        for title, text in PAPERS.items():
            await stored(opened, title, text)
        yield opened


async def stored(gate: GateOnTest, title: str, text: str, audience: str = "firm") -> str:
    content = text.encode()
    async with gate.staging.holding(HAND, content) as digest:
        asked: Json = {
            "title": title,
            "file_name": "a.md",
            "content_sha256": digest,
            "size_bytes": len(content),
            "audience": audience,
        }
        if audience == "client":
            asked["engagement_id"] = str(FIRM_A.id("engagement"))
        uploaded = await gate.call("document_upload", asked, HAND)
    document_id = str(cast(Json, cast(Json, uploaded.result)["document"])["document_id"])
    assert (await gate.call("document_index", {"document_id": document_id}, HUB)).outcome == "done"
    return document_id


async def found(gate: GateOnTest, who: Principal = AGENT, **more: object) -> Json:
    outcome = await gate.call("knowledge_search", {"query": QUESTION, "limit": 3, **more}, who)
    assert outcome.outcome == "done", outcome
    return cast(Json, outcome.result)


def titles(result: Json) -> list[str]:
    return [each["title"] for each in result["items"]]


async def test_the_second_stage_decides_the_order_and_explain_shows_both(gate: GateOnTest) -> None:
    result = await found(gate, explain=True)
    assert titles(result)[0] == "Signing"
    assert sorted(titles(result)) == sorted(PAPERS)
    assert result["rerank"] == {"model": "a-reranker", "done": True}
    why = [each["explain"] for each in result["items"]]
    assert [each["lexical_rank"] for each in why] != [1, 2, 3]
    scores = [each["rerank_score"] for each in why]
    assert scores == sorted(scores, reverse=True)
    assert [each["score"] for each in result["items"]] == [each["fused_score"] for each in why]


@pytest.mark.parametrize("fault", ["error", "malformed", "slow"])
async def test_where_it_fails_the_order_is_as_without_it_and_the_result_says_why(
    pools: DatabasePools, gate: GateOnTest, server: RerankServer, fault: str
) -> None:
    async with reranking(pools, server, RerankRules(candidates=0)) as without:
        usual = await found(without)
    assert "rerank" not in usual
    if fault == "slow":
        server.delay_s = 2.0
    else:
        server.spoilt = lambda _: (500, b"") if fault == "error" else (200, b'{"results": [{"index": 0}]}')
    reason = {"error": "HTTP 500", "malformed": "cannot be read", "slow": "too long"}[fault]
    async with reranking(pools, server, RerankRules(timeout_s=0.2)) as hindered:
        result = await found(hindered, explain=True)
        assert titles(result) == titles(usual)
        assert result["rerank"]["done"] is False
        assert reason in result["rerank"]["reason"]
        assert not any("rerank_score" in each["explain"] for each in result["items"])
        asked = len(server.bodies)
        again = await found(hindered)
        assert (titles(again), len(server.bodies)) == (titles(usual), asked), "nobody waits for it twice"
        assert again["rerank"]["done"] is False


async def test_it_is_asked_about_as_many_as_the_operator_says_and_the_others_come_after(
    pools: DatabasePools, gate: GateOnTest, server: RerankServer
) -> None:
    async with reranking(pools, server, RerankRules(candidates=2, timeout_s=30.0)) as few:
        result = await found(few, explain=True)
    assert len(server.bodies[-1]["documents"]) == 2
    assert ["rerank_score" in each["explain"] for each in result["items"]] == [True, True, False]


async def test_it_reads_only_what_whoever_asks_may_see(gate: GateOnTest, server: RerankServer) -> None:
    await stored(gate, "Ours", "What the client may read of the partner signature", audience="client")
    result = await found(gate, CLIENT)
    assert titles(result) == ["Ours"]
    assert [text.splitlines()[0] for text in server.bodies[-1]["documents"]] == ["Ours"]


async def test_what_is_scored_and_not_found_is_not_shown(
    owner_connection: Connection, app_connection: Connection
) -> None:
    """Scores of another's search, of another time, or made up: they order what is found now, and nothing more."""
    firm = await founded(owner_connection)
    await firm.add(app_connection, "The letter of the partner", title="Internal")
    await firm.add(
        app_connection, "A letter to the client", title="Shown", audience="client", engagement_id=firm.engagement
    )
    query = SearchQuery(text="letter")
    async with firm.acting(app_connection) as knowledge:
        everything = (await knowledge.search(query)).items
    scores = {each.chunk_id: 9.0 for each in everything}
    async with firm.acting(app_connection, Role.CLIENT) as knowledge:
        shown = await knowledge.search(query, None, Reranking(model="m", scores=scores))
        candidates = await knowledge.candidates(query, None, 30)
    assert len(everything) == 2
    assert [each.title for each in shown.items] == ["Shown"]
    assert [each.text.splitlines()[0] for each in candidates] == ["Shown"]


async def test_what_it_costs_is_held_of_budgets_and_a_search_goes_on_without_it(
    gate: GateOnTest, server: RerankServer
) -> None:
    partner = principal_of(who="partner", mode="person", door="rest")
    budget: Json = {"scope": "organization", "reason": "To try it.", "measure": "tokens", "limit": 1}
    assert (await gate.call("budget_set", budget, partner)).outcome == "done"
    result = await found(gate)
    assert sorted(titles(result)) == sorted(PAPERS)
    assert result["rerank"] == {"model": "a-reranker", "done": False, "reason": "no budget of tokens is left"}
    assert server.bodies == []


async def test_a_call_records_what_the_reranker_read(gate: GateOnTest, superuser_connection: Connection) -> None:
    result = await found(gate)
    assert result["rerank"]["done"] is True
    cost = await superuser_connection.fetchval(
        "SELECT cost_micros FROM activity_events WHERE tool = 'knowledge_search' AND organization_id = $1"
        " ORDER BY occurred_at DESC LIMIT 1",
        UUID(str(FIRM_A.organization_id)),
    )
    assert cost is None, "it has no price here, so that nobody knows"
