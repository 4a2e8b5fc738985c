"""A rerank server is asked once, believed only where its answer scores each passage, and never waited for too long."""

from __future__ import annotations

from collections.abc import Generator
from uuid import uuid4

import orjson
import pytest

from knowledge.embeddings.model import TokensUsed
from knowledge.model import Candidate, ChunkId
from knowledge.reranking.compatible import CompatibleReranker
from knowledge.reranking.model import RerankFailed, RerankRules
from knowledge.reranking.stage import REST_S, SecondStage
from knowledge.reranking.wire import LONGEST_TEXT, RerankApi
from server.settings import Settings, SettingsInvalid, load_settings
from tests.support.fake_reranker import RerankServer, Spoilt, score_of, served_reranker

QUESTION = "Who signs the letter?"
TEXTS = ["tomatoes", "the director signs the letter", "\ud800 a lone half"]


@pytest.fixture
def server() -> Generator[RerankServer]:
    with served_reranker() as served:
        yield served


def reranker_at(server: RerankServer, api: RerankApi = "cohere", key: str | None = "rr-test") -> CompatibleReranker:
    return CompatibleReranker(model="a-reranker", api=api, api_key=key, base_url=server.url)


async def asked(reranker: CompatibleReranker, used: TokensUsed | None = None) -> list[float]:
    try:
        return list(await reranker.scores(QUESTION, TEXTS, used or TokensUsed()))
    finally:
        await reranker.close()


async def test_scores_come_back_in_the_order_of_the_texts_though_the_answer_has_another(server: RerankServer) -> None:
    used = TokensUsed()
    scores = await asked(reranker_at(server), used)
    sent = ["tomatoes", "the director signs the letter", "? a lone half"]
    assert scores == [score_of(QUESTION, text) for text in sent]
    assert max(scores) == scores[1]
    assert server.bodies == [{"model": "a-reranker", "query": QUESTION, "documents": sent, "top_n": 3}]
    assert (server.paths, server.keys) == (["/v2/rerank"], ["Bearer rr-test"])
    assert (used.told, used.untold) == (sum(len(text.split()) for text in sent), 0)


async def test_the_other_form_of_the_api_is_spoken_too(server: RerankServer) -> None:
    used = TokensUsed()
    scores = await asked(reranker_at(server, "tei", key=None), used)
    assert max(scores) == scores[1]
    assert server.bodies[0].keys() == {"query", "texts", "truncate"}
    assert server.keys == [None]
    assert (used.told, used.untold) == (0, 1), "it does not tell what it read"


async def test_a_passage_is_cut_to_what_a_reranker_reads(server: RerankServer) -> None:
    reranker = reranker_at(server)
    await reranker.scores(QUESTION, ["word " * LONGEST_TEXT], TokensUsed())
    await reranker.close()
    assert len(server.bodies[0]["documents"][0]) == LONGEST_TEXT


def answering(content: object, status: int = 200) -> Spoilt:
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return lambda _: (status, body)


def results(*scored: tuple[object, object]) -> dict[str, object]:
    return {"results": [{"index": index, "relevance_score": score} for index, score in scored]}


SPOILT = {
    "no JSON": (answering(b"<html>"), "cannot be read"),
    "no object": (answering([1]), "cannot be read"),
    "no results": (answering({"data": []}), "cannot be read"),
    "results that are none": (answering({"results": [1, 2, 3]}), "cannot be read"),
    "an index that is a list": (answering(results(([], 1.0))), "cannot be read"),
    "one missing": (answering(results((0, 0.1), (1, 0.2))), "does not score each of 3 passages once"),
    "one twice": (answering(results((0, 0.1), (1, 0.2), (1, 0.3))), "does not score each of 3 passages once"),
    "one of nothing": (answering(results((0, 0.1), (1, 0.2), (7, 0.3))), "does not score each of 3 passages once"),
    "an index that is true": (answering(results((0, 0.1), (True, 0.2), (2, 0.3))), "does not score each of 3"),
    "a score in words": (answering(results((0, "high"), (1, 0.2), (2, 0.3))), "is no number"),
    "no score": (answering(results((0, None), (1, 0.2), (2, 0.3))), "is no number"),
    "a score without end": (
        answering(
            b'{"results":[{"index":0,"relevance_score":1e999},{"index":1,"relevance_score":1},'
            b'{"index":2,"relevance_score":1}]}'
        ),
        "cannot be read|is no number",
    ),
    "a refused key": (answering({"message": "no"}, 401), r"refuses our key \(HTTP 401\)"),
    "another address": (answering({}, 404), "does not know this model or address"),
    "too many requests": (answering({}, 429), "asked too much"),
    "a fault of its own": (answering(b"", 500), "HTTP 500"),
    "a redirect elsewhere": (answering(b"", 307), "HTTP 307"),
    "an endless answer": (answering(b" " * 5_000_000), "beyond all measure"),
}


@pytest.mark.parametrize("name", SPOILT)
async def test_an_answer_that_is_none_is_a_failure_in_words_for_people(server: RerankServer, name: str) -> None:
    server.spoilt, reason = SPOILT[name]
    with pytest.raises(RerankFailed, match=reason) as failed:
        await asked(reranker_at(server))
    assert "rr-test" not in str(failed.value)
    assert str(server.server_port) not in str(failed.value)


async def test_a_server_that_is_not_there_is_a_failure_that_cost_nothing() -> None:
    with served_reranker() as gone:
        reranker = reranker_at(gone)
    used = TokensUsed()
    with pytest.raises(RerankFailed, match="cannot be reached"):
        await asked(reranker, used)
    assert (used.told, used.untold) == (0, 0)


# The stage ----------------------------------------------------------------------------------------------------------

CANDIDATES = [Candidate(chunk_id=ChunkId(uuid4()), text=text) for text in TEXTS]


class Now:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_slow_server_is_given_up_on_in_time_and_left_alone_for_a_while(server: RerankServer) -> None:
    server.delay_s = 1.0
    now, reranker = Now(), reranker_at(server)
    stage = SecondStage(reranker, lambda: RerankRules(timeout_s=0.05), now)
    used = TokensUsed()
    late = await stage.reranking(QUESTION, CANDIDATES, used)
    assert (late.failure, late.scores) == ("it took too long", {})
    assert used.untold == 1, "it may have read what it was sent"
    assert stage.is_resting
    now.seconds = REST_S
    assert not stage.is_resting
    await reranker.close()


async def test_scores_are_of_the_passages_that_were_asked_about(server: RerankServer) -> None:
    reranker = reranker_at(server)
    told = await SecondStage(reranker).reranking(QUESTION, CANDIDATES, TokensUsed())
    await reranker.close()
    assert told.failure is None
    assert max(told.scores, key=lambda chunk_id: told.scores[chunk_id]) == CANDIDATES[1].chunk_id


async def test_nothing_is_asked_about_nothing(server: RerankServer) -> None:
    reranker = reranker_at(server)
    told = await SecondStage(reranker).reranking(QUESTION, [], TokensUsed())
    assert (told.failure, told.scores, server.bodies) == (None, {}, [])


# Settings -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> pytest.MonkeyPatch:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    return monkeypatch


def test_without_an_address_there_is_no_second_stage(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-hidden")
    environment.setenv("GLOW_MODEL", "a-model")
    assert load_settings().rerank_server is None


def test_the_models_own_key_never_goes_to_a_rerank_server(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-hidden")
    environment.setenv("GLOW_MODEL", "a-model")
    environment.setenv("GLOW_RERANK_BASE_URL", "https://rerank.example/v2/")
    environment.setenv("GLOW_RERANK_MODEL", "a-reranker")
    server = load_settings().rerank_server
    assert server is not None
    assert (server.model, server.api, server.base_url) == ("a-reranker", "cohere", "https://rerank.example/v2")
    assert server.api_key is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"GLOW_RERANK_MODEL": "m"}, "GLOW_RERANK_MODEL: does nothing without GLOW_RERANK_BASE_URL"),
        ({"GLOW_RERANK_API_KEY": "hidden"}, "GLOW_RERANK_API_KEY: does nothing without"),
        ({"GLOW_RERANK_BASE_URL": "https://r.example"}, "GLOW_RERANK_MODEL: set the model's name"),
        (
            {"GLOW_RERANK_BASE_URL": "http://r.example", "GLOW_RERANK_API": "tei", "GLOW_RERANK_API_KEY": "hidden"},
            "GLOW_RERANK_API_KEY: would be sent over http",
        ),
        ({"GLOW_RERANK_BASE_URL": "https://r.example", "GLOW_RERANK_API": "soap"}, "GLOW_RERANK_API"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    environment: pytest.MonkeyPatch, given: dict[str, str], problem: str
) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=problem) as invalid:
        load_settings()
    assert "hidden" not in str(invalid.value)
