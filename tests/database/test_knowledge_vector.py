"""Search by meaning: full pages for whoever is small among many, what may be seen and no more, and the right plans."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import cast

import orjson
import pytest

from domain.kernel import Role
from knowledge.embeddings.model import Embedded, Space, Vector, unit
from knowledge.model import ChunkId, DocumentId, Passage, SearchFilters, SearchQuery, SearchResult, SearchWeights
from knowledge.postgres import PostgresIndex, knowledge_service, search_values
from knowledge.postgres.search import COMPARED_EXACTLY, by_meaning_sql, fused_sql
from knowledge.searching import NoEmbeddings
from knowledge.terms import QueryTerm
from server.database.connection import Connection
from server.database.embedding_index import has_index, index_name, make_index
from tests.support.fake_embeddings import vector_of
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms, stand_in
from tests.support.knowledge import NOW, founded
from tests.support.knowledge import Firm as KnowledgeFirm

SPACE = Space(model_id="tiny@8", dimensions=8)
LARGE_CHUNKS, SMALL_CHUNKS = 20_000, 200
"""The small organization has one of a hundred vectors."""


def at(text: str) -> Vector:
    return Vector(space=SPACE, values=tuple(vector_of(text, 8)))


async def embed_all(connection: Connection, firm: KnowledgeFirm, *documents: DocumentId) -> None:
    for document_id in documents:
        async with firm.acting(connection, writes=True) as knowledge:
            pending = await knowledge.unembedded(document_id, SPACE.model_id, 1_000)
            step = Embedded(
                space=SPACE,
                chunk_ids=tuple(chunk.chunk_id for chunk in pending),
                vectors=tuple(tuple(vector_of(chunk.text, 8)) for chunk in pending),
            )
            await knowledge.embed(document_id, step, now=NOW)


async def search(
    connection: Connection, firm: KnowledgeFirm, query: SearchQuery, role: Role = Role.EMPLOYEE
) -> SearchResult:
    async with firm.acting(connection, role) as knowledge:
        return await knowledge.search(query, at(query.text))


# What is found -------------------------------------------------------------------------------------------------------


async def test_meaning_finds_what_no_word_finds_and_both_orders_are_fused(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    both = await firm.add(app_connection, "insured car", title="A")
    words = await firm.add(app_connection, "automobile insured partner fee ledger", title="B")
    meaning = await firm.add(app_connection, "vehicle", title="C")
    await embed_all(app_connection, firm, both.document_id, words.document_id, meaning.document_id)
    found = await search(app_connection, firm, SearchQuery(text="insured automobile", mode="hybrid"))
    assert found.mode == "hybrid"
    assert {passage.title for passage in found.items} == {"A", "B", "C"}
    lexical = await search(app_connection, firm, SearchQuery(text="insured automobile", mode="lexical"))
    assert {passage.title for passage in lexical.items} == {"A", "B"}
    near = await search(app_connection, firm, SearchQuery(text="automobile", mode="vector"))
    assert near.mode == "vector"
    assert [round(passage.score, 3) for passage in near.items] == sorted(
        (round(passage.score, 3) for passage in near.items), reverse=True
    )
    assert -1 <= near.items[-1].score <= near.items[0].score <= 1.001


async def test_the_order_that_weighs_more_decides_who_comes_first(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    by_words = await firm.add(app_connection, "automobile ledger fee partner premium", title="Words")
    by_meaning = await firm.add(app_connection, "car", title="Vehicle")
    await embed_all(app_connection, firm, by_words.document_id, by_meaning.document_id)
    for weights, first in (
        (SearchWeights(lexical=1.0, vector=0.01), "Words"),
        (SearchWeights(lexical=0.01, vector=1.0), "Vehicle"),
    ):
        async with firm.acting(app_connection):
            service = knowledge_service(app_connection, weights)
            found = await service.search(SearchQuery(text="automobile"), at("automobile"))
        assert (found.mode, found.items[0].title, len(found.items)) == ("hybrid", first, 2)


async def test_scores_are_reciprocal_ranks(owner_connection: Connection, app_connection: Connection) -> None:
    firm = await founded(owner_connection)
    document = await firm.add(app_connection, "insured car")
    await embed_all(app_connection, firm, document.document_id)
    found = await search(app_connection, firm, SearchQuery(text="insured car"))
    assert found.items[0].score == pytest.approx(1 / 61 + 1 / 61)


async def test_a_question_of_common_words_alone_is_answered_by_meaning(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    document = await firm.add(app_connection, "who is who")
    await embed_all(app_connection, firm, document.document_id)
    found = await search(app_connection, firm, SearchQuery(text="who is it"))
    assert (found.mode, len(found.items)) == ("hybrid", 1)


async def test_without_any_vector_the_words_answer_and_say_so(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm, stranger = await founded(owner_connection), await founded(owner_connection, "borealis")
    await firm.add(app_connection, "insured car")
    document = await stranger.add(app_connection, "insured car")
    await embed_all(app_connection, stranger, document.document_id)
    found = await search(app_connection, firm, SearchQuery(text="insured car"))
    assert (found.mode, len(found.items)) == ("lexical", 1)
    with pytest.raises(NoEmbeddings):
        await search(app_connection, firm, SearchQuery(text="insured car", mode="vector"))


async def test_a_document_without_vectors_is_found_by_its_words_though_others_have_some(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    embedded = await firm.add(app_connection, "insured car", title="Fleet")
    waiting = await firm.add(app_connection, "insured automobile", title="Policy", engagement_id=firm.engagement)
    await embed_all(app_connection, firm, embedded.document_id)
    for filters in (
        SearchFilters(document_id=waiting.document_id),
        SearchFilters(engagement_ids=(firm.engagement,)),
        SearchFilters(title="policy"),
    ):
        found = await search(app_connection, firm, SearchQuery(text="automobile", filters=filters))
        assert (found.mode, [passage.title for passage in found.items]) == ("lexical", ["Policy"])
    unheard = SearchQuery(text="unheard", filters=SearchFilters(document_id=waiting.document_id))
    assert await search(app_connection, firm, unheard) == SearchResult(mode="hybrid", items=())


async def test_filters_and_visibility_hold_in_both_orders(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    of_firm = await firm.add(app_connection, "insured car", title="Fleet")
    mandate = await firm.add(app_connection, "insured car", engagement_id=firm.engagement, title="Mandate")
    own = await firm.add(app_connection, "insured car", audience="client", engagement_id=firm.engagement, title="Own")
    other = await firm.add(
        app_connection, "insured car", audience="client", engagement_id=firm.other_engagement, title="Other"
    )
    everything = (of_firm, mandate, own, other)
    await embed_all(app_connection, firm, *(document.document_id for document in everything))
    for mode in ("hybrid", "vector"):
        for filters, titles in (
            (SearchFilters(), {"Fleet", "Mandate", "Own", "Other"}),
            (SearchFilters(document_id=own.document_id), {"Own"}),
            (SearchFilters(engagement_ids=(firm.engagement,)), {"Mandate", "Own"}),
            (SearchFilters(title="flee"), {"Fleet"}),
            (SearchFilters(media_types=("application/pdf",)), set[str]()),
        ):
            found = await search(app_connection, firm, SearchQuery(text="car", mode=mode, filters=filters))
            shown = {other.title for passage in found.items for other in (passage, *passage.also_in)}
            assert shown == titles
            assert found.mode == mode
        seen = await search(app_connection, firm, SearchQuery(text="car", mode=mode), Role.CLIENT)
        assert [(passage.title, passage.also_in) for passage in seen.items] == [("Own", ())]


async def test_a_document_that_is_gone_or_indexed_anew_is_no_longer_near(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    document = await firm.add(app_connection, "insured car")
    await embed_all(app_connection, firm, document.document_id)
    async with firm.acting(app_connection, writes=True) as knowledge:
        await knowledge.delete(document.document_id, now=NOW)
    assert (await search(app_connection, firm, SearchQuery(text="car"))).items == ()


async def test_a_vector_of_another_organization_cannot_be_written(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm, stranger = await founded(owner_connection), await founded(owner_connection, "borealis")
    document = await firm.add(app_connection, "insured car")
    async with firm.acting(app_connection) as knowledge:
        pending = await knowledge.unembedded(document.document_id, SPACE.model_id, 10)
    own = await stranger.add(app_connection, "anything")
    step = Embedded(
        space=SPACE, chunk_ids=tuple(chunk.chunk_id for chunk in pending), vectors=(tuple(vector_of("x", 8)),)
    )
    async with stranger.acting(app_connection, writes=True) as knowledge:
        written, _ = await knowledge.embed(own.document_id, step, now=NOW)
    assert written == 0


# One of a hundred ----------------------------------------------------------------------------------------------------

FILL_CHUNKS = """
INSERT INTO knowledge_chunks (organization_id, chunk_id, document_id, ordinal, start_offset, end_offset, text,
    token_count, length, audience, trust)
SELECT $1::uuid, md5($1::uuid::text || n)::uuid, $2, n, n, n + 1, 'x', 1, 10, 'firm', 'internal'
FROM generate_series(1, $3::int) n
"""
FILL_VECTORS = """
INSERT INTO knowledge_embeddings (organization_id, chunk_id, model, embedding, audience)
SELECT $1::uuid, md5($1::uuid::text || n.number)::uuid, $2, n.embedding::halfvec, 'firm'
FROM unnest($3::int[], $4::text[]) AS n (number, embedding)
"""
COUNTS = """
UPDATE knowledge_documents SET chunk_count = $3, term_count = $3 * 10, status = 'ready'
WHERE organization_id = $1 AND document_id = $2
"""


def directions(source: random.Random, count: int, around: float) -> list[tuple[float, ...]]:
    """Vectors that lie mostly on one side: an organization's documents are alike."""
    made = (unit([source.gauss(around, 1.0) for _ in range(8)]) for _ in range(count))
    return [values for values in made if values is not None]


def text_of(values: Sequence[float]) -> str:
    return f"[{','.join(map(str, values))}]"


async def fill(owner: Connection, firm: Firm, vectors: Sequence[tuple[float, ...]]) -> None:
    organization, document, count = firm.organization_id, firm.id("thing"), len(vectors)
    await owner.execute(FILL_CHUNKS, organization, document, count)
    numbers = list(range(1, count + 1))
    await owner.execute(FILL_VECTORS, organization, SPACE.model_id, numbers, [text_of(each) for each in vectors])
    await owner.execute(COUNTS, organization, document, count)


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    """The server's login, where one firm has a hundred times the vectors of the other, and they lie elsewhere."""
    source = random.Random(11)
    await seed_firms(owner_connection)
    await fill(owner_connection, FIRM_A, directions(source, LARGE_CHUNKS, 0.6))
    await fill(owner_connection, FIRM_B, directions(source, SMALL_CHUNKS, -0.6))
    await make_index(owner_connection, SPACE)
    for table in ("knowledge_chunks", "knowledge_embeddings", "knowledge_documents"):
        await owner_connection.execute(f"ANALYZE {table}")
    return app_connection


async def near(app: Connection, firm: Firm, vector: Vector, limit: int) -> Sequence[Passage]:
    async with app.transaction():
        await stand_in(app, firm, "partner")
        return await PostgresIndex(app).search_near([], vector, limit, SearchFilters())


EXACT = """
SELECT e.chunk_id FROM knowledge_embeddings e
WHERE e.organization_id = $1 AND e.model = $2
ORDER BY (e.embedding::halfvec(8) <=> $3::text::halfvec(8)) + 0, e.chunk_id LIMIT $4
"""


async def exact(owner: Connection, firm: Firm, vector: Vector, limit: int) -> set[ChunkId]:
    rows = await owner.fetch(EXACT, firm.organization_id, SPACE.model_id, text_of(vector.values), limit)
    return {ChunkId(row["chunk_id"]) for row in rows}


def questions(count: int) -> list[Vector]:
    source = random.Random(5)
    # Of both firms' sides: the small one's neighbours lie among the large one's.
    listed = directions(source, count, 0.6) + directions(source, count, -0.6)
    return [Vector(space=SPACE, values=values) for values in listed]


@pytest.mark.parametrize(("firm", "least"), [(FIRM_A, 0.96), (FIRM_B, 1.0)], ids=["large", "one of a hundred"])
async def test_every_page_is_full_and_holds_the_nearest_whoever_asks(
    app: Connection, owner_connection: Connection, firm: Firm, least: float
) -> None:
    hits = 0
    asked = questions(10)
    for vector in asked:
        found = await near(app, firm, vector, 10)
        assert len(found) == 10
        hits += len({passage.chunk_id for passage in found} & await exact(owner_connection, firm, vector, 10))
    assert hits / (10 * len(asked)) >= least
    assert len(await near(app, firm, asked[0], 100)) == 100


async def test_the_index_too_walks_on_until_a_small_organizations_page_is_full(app: Connection) -> None:
    """What an organization beyond exact comparison relies on, shown on the small one."""
    async with app.transaction():
        await stand_in(app, FIRM_B, "partner")
        await PostgresIndex(app).search_near([], questions(1)[0], 10, SearchFilters())
        await app.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        for vector in questions(5):
            values = (*search_values((), 10, SearchFilters()), text_of(vector.values), SPACE.model_id, 10)
            plan = await explained(app, by_meaning_sql(8, exactly=False), values)
            assert ("knowledge_embeddings", index_name(SPACE)) in plan
            assert len(await app.fetch(by_meaning_sql(8, exactly=False), *values)) == 10


async def explained(app: Connection, sql: str, values: Sequence[object]) -> dict[tuple[str, str], int]:
    """Each scan of a table in a plan, by its index if any, and the rows that it gave or threw away."""
    text = await app.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", *values)
    plan = cast("list[dict[str, object]]", orjson.loads(text))[0]["Plan"]
    return dict(_scans(cast("dict[str, object]", plan)))


def _scans(node: dict[str, object]) -> list[tuple[tuple[str, str], int]]:
    loops = cast(float, node.get("Actual Loops", 1))
    rows = cast(float, node.get("Actual Rows", 0)) + cast(float, node.get("Rows Removed by Filter", 0))
    place = (str(node.get("Relation Name", "")), str(node.get("Index Name", "")))
    own = [(place, round(rows * loops))] if place[0] else []
    return own + [each for child in cast("list[dict[str, object]]", node.get("Plans", [])) for each in _scans(child)]


async def test_plans_stay_right_on_a_connection_handed_from_large_to_small_and_back(app: Connection) -> None:
    vector = questions(1)[0]
    for _ in range(3):
        for _ in range(6):
            assert await touched(app, FIRM_A, vector, exactly=False) <= 2_000
        assert await touched(app, FIRM_B, vector, exactly=True) <= 2 * SMALL_CHUNKS
    assert SMALL_CHUNKS < COMPARED_EXACTLY < LARGE_CHUNKS


async def touched(app: Connection, firm: Firm, vector: Vector, *, exactly: bool) -> int:
    """Vectors that a hybrid search reads, by a statement prepared before."""
    asked = [QueryTerm("text", ("text",))]
    async with app.transaction():
        await stand_in(app, firm, "partner")
        found = await PostgresIndex(app).search_near(asked, vector, 10, SearchFilters())
        assert len(found) == 10
        assert await app.fetchval("SELECT current_setting('plan_cache_mode')") == "force_custom_plan"
        values = (
            *search_values(asked, 60, SearchFilters()),
            text_of(vector.values),
            SPACE.model_id,
            60,
            10,
            1.0,
            1.0,
            60.0,
            float(LARGE_CHUNKS),
            10.0 * LARGE_CHUNKS,
        )
        plan = await explained(app, fused_sql(8, exactly=exactly), values)
    return sum(rows for (table, _), rows in plan.items() if table == "knowledge_embeddings")


async def test_settings_of_a_search_end_with_its_transaction(app: Connection) -> None:
    await near(app, FIRM_A, questions(1)[0], 10)
    assert await app.fetchval("SELECT current_setting('plan_cache_mode')") == "auto"
    assert await app.fetchval("SELECT current_setting('hnsw.iterative_scan')") == "off"


async def test_an_index_that_was_cut_off_is_made_anew_and_one_that_is_there_is_left(
    owner_connection: Connection, app_connection: Connection
) -> None:
    other = Space(model_id="it's another@16", dimensions=16)
    assert await make_index(owner_connection, other)
    assert not await make_index(owner_connection, other)
    assert await has_index(app_connection, other)
    assert await has_index(app_connection, Space(model_id="text-embedding-3-small", dimensions=1536))
    assert not await has_index(app_connection, Space(model_id="unknown@8", dimensions=8))
