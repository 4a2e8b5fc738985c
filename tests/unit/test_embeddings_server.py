"""An embedding server is asked politely, believed only where its answer fits, and given up on when it says so."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import httpx2
import pytest

from domain.backoff import asked_wait_s
from domain.kernel import OrganizationId
from knowledge.embeddings.compatible import CompatibleEmbedder, Manners, Surroundings
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable, Space
from knowledge.embeddings.queries import KEPT_S, MOST_KEPT, QueryVectors
from knowledge.embeddings.wire import MOST_TEXTS, MOST_TOKENS, batches
from knowledge.tokens import count_tokens
from tests.support.fake_embeddings import Answer, FakeEmbedder, FakeServer, Json, status, vector_of, whole

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


class Slept(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def embedder_on(
    server: FakeServer, slept: Slept | None = None, model: str = "text-embedding-3-small", key: str | None = "sk-test"
) -> CompatibleEmbedder:
    around = Surroundings(sleep=slept if slept is not None else Slept(), chance=lambda: 0.0, clock=lambda: NOW)
    return CompatibleEmbedder(
        model=model,
        api_key=key,
        base_url="http://127.0.0.1:9/v1",
        manners=Manners(apart_s=0.0),
        surroundings=around,
        http_client=server.client(),
    )


async def test_texts_go_in_batches_and_vectors_come_back_in_their_order() -> None:
    server = FakeServer()
    texts = [f"text {number}" for number in range(MOST_TEXTS + 3)]
    vectors = await embedder_on(server).embed(texts)
    assert [len(body["input"]) for body in server.bodies] == [MOST_TEXTS, 3]
    assert server.bodies[0] == {
        "model": "text-embedding-3-small",
        "input": texts[:MOST_TEXTS],
        "encoding_format": "float",
    }
    assert server.headers[0]["authorization"] == "Bearer sk-test"
    for text, vector in zip(texts, vectors, strict=True):
        assert vector == pytest.approx(vector_of(text))


async def test_a_server_that_asks_for_no_key_is_sent_none() -> None:
    server = FakeServer()
    await embedder_on(server, key=None).embed(["a"])
    assert "authorization" not in server.headers[0]


def test_a_batch_is_bounded_by_tokens_too() -> None:
    long = "word " * 3_000
    listed = list(batches([long] * 20, "text-embedding-3-small"))
    assert sum(map(len, listed)) == 20
    assert all(sum(count_tokens(text) for text in batch) <= MOST_TOKENS for batch in listed)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_a_busy_server_is_asked_again_later_each_time(code: int) -> None:
    server, slept = FakeServer([status(code), status(code)]), Slept()
    assert len(await embedder_on(server, slept).embed(["a"])) == 1
    assert len(server.bodies) == 3
    assert slept == pytest.approx([0.5, 1.0], abs=0.05)


async def test_what_the_server_asks_to_wait_is_waited_by_all() -> None:
    server, slept = FakeServer([status(429, {"Retry-After": "7"})]), Slept()
    embedder = embedder_on(server, slept)
    await embedder.embed(["a"])
    await embedder.embed(["b"])
    assert slept[0] == pytest.approx(7.125, abs=0.05)
    assert len(slept) == 2


async def test_a_wait_that_is_too_long_is_left_to_whoever_asked() -> None:
    server, slept = FakeServer([status(503, {"Retry-After": "3600"})]), Slept()
    with pytest.raises(EmbeddingsUnavailable) as away:
        await embedder_on(server, slept).embed(["a"])
    assert away.value.retry_after_s == 3600
    assert slept == []


async def test_while_a_server_wants_to_be_left_alone_nobody_asks_it() -> None:
    server = FakeServer([status(503, {"Retry-After": "86400"})])
    embedder = embedder_on(server)
    with pytest.raises(EmbeddingsUnavailable):
        await embedder.embed(["a"])
    for asking in (embedder.embed(["b"]), embedder.embed_question("c")):
        with pytest.raises(EmbeddingsUnavailable) as away:
            await asking
        assert 3590 < (away.value.retry_after_s or 0) <= 3600, "an hour at most, whatever was said"
    assert len(server.bodies) == 1


async def test_a_question_does_not_wait_for_the_passages_that_are_embedded() -> None:
    may_answer = asyncio.Event()

    async def slowly(request: httpx2.Request) -> httpx2.Response:
        if "passage" in request.content.decode():
            await may_answer.wait()
        return await server.handle(request)

    server = FakeServer()
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(slowly))
    embedder = CompatibleEmbedder(model="m", api_key=None, base_url="http://127.0.0.1:9/v1", http_client=http)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(embedder.embed([f"passage {number}"]))
        await asyncio.sleep(0)
        assert await embedder.embed_question("why") == pytest.approx(vector_of("why"))
        may_answer.set()


def at_most(count: int) -> Answer:
    """A server that takes no more texts at once."""
    return lambda body: whole(body) if len(body["input"]) <= count else httpx2.Response(413)


async def test_a_server_of_smaller_batches_is_found_out_once() -> None:
    server = FakeServer([at_most(32)] * 50)
    embedder, texts = embedder_on(server), [f"text {number}" for number in range(64)]
    for sizes in ([64, 1, 32, 32], [32, 32]):
        server.bodies.clear()
        vectors = await embedder.embed(texts)
        assert [len(body["input"]) for body in server.bodies] == sizes
        for text, vector in zip(texts, vectors, strict=True):
            assert vector == pytest.approx(vector_of(text))


async def test_a_text_that_is_refused_keeps_no_other_from_its_vector() -> None:
    def choosy(body: Json) -> httpx2.Response:
        return httpx2.Response(422) if "too long" in body["input"] else whole(body)

    server = FakeServer([choosy] * 50)
    embedder, texts = embedder_on(server), [*(f"text {number}" for number in range(9)), "too long"]
    vectors = await embedder.embed(texts)
    assert [vector is None for vector in vectors] == [False] * 9 + [True]
    server.bodies.clear()
    await embedder.embed([f"text {number}" for number in range(64)])
    assert len(server.bodies) == 1, "the number of texts was not at fault"


async def test_a_server_that_takes_no_text_is_not_asked_for_each() -> None:
    server = FakeServer([status(400)] * 50)
    with pytest.raises(EmbeddingsRefused, match="HTTP 400"):
        await embedder_on(server).embed(["a", "b"])
    assert len(server.bodies) == 2


async def test_a_server_that_stays_busy_is_given_up_on_for_now() -> None:
    server = FakeServer([status(503)] * 9)
    with pytest.raises(EmbeddingsUnavailable):
        await embedder_on(server).embed(["a"])
    assert len(server.bodies) == Manners().tries


def _all(body: Json, values: list[object]) -> httpx2.Response:
    data = [{"index": index, "embedding": values} for index in range(len(body["input"]))]
    return httpx2.Response(200, json={"data": data})


USELESS: list[tuple[Answer, str]] = [
    (status(401), "key"),
    (status(404), "model or address"),
    (status(429, error="insufficient_quota"), "quota"),
    (status(307, {"Location": "http://elsewhere.example/v1/embeddings"}), "HTTP 307"),
    (lambda body: whole(body, 1024), "1024 numbers, and this model's have 1536"),
    (lambda body: whole({**body, "input": body["input"][1:]}), "1 vectors to 2 texts"),
    (lambda body: whole({**body, "input": body["input"] * 2}), "4 vectors to 2 texts"),
    (lambda _: httpx2.Response(200, content=b"<html>"), "cannot be read"),
    (lambda _: httpx2.Response(200, json={"data": [{"index": 0}]}), "cannot be read"),
    (lambda _: httpx2.Response(200, json={"data": 7}), "cannot be read"),
    (lambda body: _all(body, [0.0] * 1536), "points nowhere"),
    (lambda body: _all(body, [1e308] * 1536), "points nowhere"),
    (lambda body: _all(body, ["x"] * 1536), "cannot be read"),
    (lambda body: _all(body, []), "points nowhere"),
]


@pytest.mark.parametrize(("answer", "words"), USELESS)
async def test_an_answer_that_no_waiting_mends_is_refused_at_once(answer: Answer, words: str) -> None:
    server = FakeServer([answer])
    with pytest.raises(EmbeddingsRefused) as refused:
        await embedder_on(server).embed(["a", "b"])
    assert words in refused.value.reason
    assert len(server.bodies) == 1
    assert "sk-test" not in str(refused.value)


async def test_the_space_of_an_unknown_model_is_learned_from_its_first_answer() -> None:
    server = FakeServer([lambda body: whole(body, 24)])
    embedder = embedder_on(server, model="small-one")
    assert await embedder.space() == Space(model_id="small-one@24", dimensions=24)
    server.script.append(lambda body: whole(body, 32))
    with pytest.raises(EmbeddingsRefused):
        await embedder.embed(["a"])


async def test_no_more_requests_than_agreed_are_under_way() -> None:
    server = FakeServer()
    embedder = embedder_on(server)
    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(embedder.embed([str(number)]))
    assert server.most_under_way <= Manners().at_once


async def test_a_server_that_cannot_be_reached_is_unavailable() -> None:
    manners = Manners(tries=1, connect_s=0.5)
    embedder = CompatibleEmbedder(model="m", api_key=None, base_url="http://127.0.0.1:9/v1", manners=manners)
    with pytest.raises(EmbeddingsUnavailable):
        await embedder.embed(["a"])
    await embedder.close()


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("5", 5.0), ("0.5", 0.5), ("Sat, 28 Nov 2026 12:00:30 GMT", 30.0), ("nan", None), ("-1", None), ("", None)],
)
def test_what_retry_after_says(asked: str, seconds: float | None) -> None:
    assert asked_wait_s(asked, NOW) == seconds


# Questions ------------------------------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


ONE, OTHER = OrganizationId(uuid4()), OrganizationId(uuid4())


async def test_a_repeated_question_is_asked_once_while_it_is_kept_and_each_organizations_apart() -> None:
    embedder, clock = FakeEmbedder(dimensions=8, model="m"), Clock()
    queries = QueryVectors(embedder, clock)
    assert await queries.vector(ONE, "why") == await queries.vector(ONE, "why")
    assert embedder.asked == ["why"]
    await queries.vector(OTHER, "why")
    clock.now += KEPT_S + 1
    await queries.vector(ONE, "why")
    assert embedder.asked == ["why"] * 3


async def test_questions_are_kept_in_a_bounded_number() -> None:
    embedder = FakeEmbedder(dimensions=2, model="m")
    queries = QueryVectors(embedder, Clock())
    for number in range(MOST_KEPT + 1):
        await queries.vector(ONE, str(number))
    await queries.vector(ONE, str(MOST_KEPT))
    assert len(embedder.asked) == MOST_KEPT + 1
    await queries.vector(ONE, "0")
    assert len(embedder.asked) == MOST_KEPT + 2


async def test_a_server_that_did_not_answer_one_question_is_left_alone_for_a_while() -> None:
    tried: list[object] = []

    def away(texts: object) -> None:
        tried.append(texts)
        raise EmbeddingsUnavailable("gone")

    embedder, clock = FakeEmbedder(dimensions=2, model="m", fault=away), Clock()
    queries = QueryVectors(embedder, clock)
    for _ in range(3):
        with pytest.raises(EmbeddingsUnavailable):
            await queries.vector(ONE, "why")
    assert len(tried) == 1
    clock.now += 60
    embedder.fault = lambda texts: None
    await queries.vector(ONE, "why")


async def test_a_question_that_is_refused_takes_meaning_from_nobody_else() -> None:
    def refused(texts: object) -> None:
        raise EmbeddingsRefused("it refuses the request (HTTP 413)", of_texts=True)

    embedder = FakeEmbedder(dimensions=2, model="m", fault=refused)
    queries = QueryVectors(embedder, Clock())
    with pytest.raises(EmbeddingsRefused):
        await queries.vector(ONE, "why" * 600)
    embedder.fault = lambda texts: None
    await queries.vector(OTHER, "why")
