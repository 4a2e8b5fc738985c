"""A search reads what it shows and compares, also where an organization is large and hundreds beside it are small.

The planner goes by what an organization has on average. What is looked at are the rows that were read, as PostgreSQL
counts them for the transaction, never times.
"""

from collections.abc import Sequence

import pytest

from knowledge.embeddings.model import Space, Vector
from knowledge.model import Passage, SearchFilters
from knowledge.postgres import PostgresIndex
from knowledge.postgres.search import COMPARED_EXACTLY, LEAST_DEPTH, compared_exactly
from knowledge.terms import QueryTerm
from server.database.connection import Connection
from server.database.embedding_index import make_index
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms, stand_in

SPACE = Space(model_id="tiny@8", dimensions=8)
NEAR = Vector(space=SPACE, values=(0.9, 0.1, 0.3, 0.1, 0.2, 0.1, 0.1, 0.1))
ASKED = [QueryTerm("text", ("text",))]
LARGE, SMALL = FIRM_A, FIRM_B
DOCUMENTS, CHUNKS_A_DOCUMENT = 300, 20
FOR_THE_CLIENT = 3 * CHUNKS_A_DOCUMENT + 1
"""Chunks of three documents, and the seed's own."""

SMALL_ONES = """
INSERT INTO organizations (organization_id, slug, name)
    SELECT md5('small ' || n)::uuid, 'small-' || n, 'Small' FROM generate_series(1, 400) n;
INSERT INTO users (user_id, kind, email, display_name)
    SELECT md5('small ' || n)::uuid, 'person', 'small-' || n || '@example.com', 'Small' FROM generate_series(1, 400) n;
INSERT INTO memberships (organization_id, user_id, role)
    SELECT md5('small ' || n)::uuid, md5('small ' || n)::uuid, 'PARTNER' FROM generate_series(1, 400) n;
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, trust, status,
    size_bytes, content_sha256, text, chunk_count, term_count, uploaded_by, created_at, updated_at)
    SELECT md5('small ' || n)::uuid, md5('small ' || n)::uuid, 'Small', 'glow:small', 'text/plain', 'firm', 'internal',
        'ready', 1, '', '', 5, 50, md5('small ' || n)::uuid, now(), now() FROM generate_series(1, 400) n;
INSERT INTO knowledge_terms (organization_id, term)
    SELECT md5('small ' || n)::uuid, 'text' FROM generate_series(1, 400) n;
"""
LARGE_DOCUMENTS = """
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, engagement_id, trust,
    status, size_bytes, content_sha256, text, chunk_count, term_count, uploaded_by, created_at, updated_at)
SELECT $1::uuid, md5('large ' || n)::uuid, 'Large', 'glow:large', 'text/plain',
    CASE WHEN n <= 3 THEN 'client' ELSE 'firm' END, CASE WHEN n <= 3 THEN $2::uuid END, 'internal',
    'ready', 1, '', '', $3::int, $3::int * 10, $4, now(), now()
FROM generate_series(1, $5::int) n
"""
CHUNKS = """
INSERT INTO knowledge_chunks (organization_id, chunk_id, document_id, ordinal, start_offset, end_offset, text,
    token_count, length, audience, engagement_id, trust)
SELECT d.organization_id, md5(d.document_id::text || n)::uuid, d.document_id, n, n, n + 1, 'x', 1, 10, d.audience,
    d.engagement_id, d.trust
FROM knowledge_documents d, generate_series(1, d.chunk_count) n WHERE d.title IN ('Large', 'Small')
"""
# One of ten of the large firm's passages has the word, and each of the small ones'.
POSTINGS = """
INSERT INTO knowledge_postings (organization_id, term_id, chunk_id, frequency, length, audience, engagement_id, trust)
SELECT c.organization_id, t.term_id, c.chunk_id, 1, 10, c.audience, c.engagement_id, c.trust
FROM knowledge_chunks c JOIN knowledge_terms t ON t.organization_id = c.organization_id AND t.term = 'text'
WHERE c.text = 'x' AND (c.organization_id <> $1 OR c.ordinal % 10 = 0)
"""
VECTORS = """
INSERT INTO knowledge_embeddings (organization_id, chunk_id, model, embedding, audience, engagement_id)
SELECT c.organization_id, c.chunk_id, $1, (
    SELECT ('[' || string_agg(round(sin(c.place * (1 + k * 0.37))::numeric, 4)::text, ',') || ']')::halfvec
    FROM generate_series(1, 8) k), c.audience, c.engagement_id
FROM (SELECT *, row_number() OVER (ORDER BY chunk_id) AS place FROM knowledge_chunks) c
"""
READ = """
SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = $1
"""


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    """The server's login, where one firm has a thousand times the passages of each of four hundred."""
    owner = owner_connection
    await seed_firms(owner)
    await owner.execute(SMALL_ONES)
    large = LARGE.organization_id
    of_client = LARGE.id("engagement")
    await owner.execute(LARGE_DOCUMENTS, large, of_client, CHUNKS_A_DOCUMENT, LARGE.id("partner"), DOCUMENTS)
    await owner.execute(CHUNKS)
    await owner.execute(POSTINGS, large)
    await owner.execute(VECTORS, SPACE.model_id)
    await make_index(owner, SPACE)
    for table in ("terms", "documents", "chunks", "postings", "embeddings"):
        await owner.execute(f"ANALYZE knowledge_{table}")
    return app_connection


async def by_words(app: Connection) -> Sequence[Passage]:
    return await PostgresIndex(app).search(ASKED, 10, SearchFilters())


async def by_both(app: Connection) -> Sequence[Passage]:
    return await PostgresIndex(app).search_near(ASKED, NEAR, 10, SearchFilters())


async def by_meaning(app: Connection) -> Sequence[Passage]:
    return await PostgresIndex(app).search_near([], NEAR, 10, SearchFilters())


async def read(app: Connection, table: str) -> int:
    """Rows that have been read of it by now; what counts is the difference."""
    return int(await app.fetchval(READ, table))


async def chunks_read(app: Connection, firm: Firm, who: str) -> tuple[int, int, int]:
    """Passages that were found, passages read and vectors read, by a search of each kind together."""
    async with app.transaction():
        await stand_in(app, firm, who)
        before = [await read(app, table) for table in ("knowledge_chunks", "knowledge_embeddings")]
        found = [*await by_words(app), *await by_both(app), *await by_meaning(app)]
        passages, vectors = await read(app, "knowledge_chunks"), await read(app, "knowledge_embeddings")
        return len(found), passages - before[0], vectors - before[1]


async def test_a_large_organizations_passages_are_read_by_key_whoever_had_the_connection_before(
    app: Connection,
) -> None:
    for _ in range(3):
        for _ in range(6):
            found, passages, vectors = await chunks_read(app, SMALL, "partner")
            assert passages <= 4 * found
            assert vectors <= 4 * found
        found, passages, vectors = await chunks_read(app, LARGE, "partner")
        assert found == 30
        assert passages == found
        assert vectors <= 1_000 < DOCUMENTS * CHUNKS_A_DOCUMENT


async def test_a_client_of_a_large_organization_is_compared_with_what_it_may_see_and_nothing_else(
    app: Connection,
) -> None:
    for _ in range(3):
        found, passages, vectors = await chunks_read(app, LARGE, "client")
        # Few of the client's passages have the word.
        assert found >= 20 + 6
        assert vectors <= 2 * FOR_THE_CLIENT
        assert passages <= 2 * FOR_THE_CLIENT + found
        await chunks_read(app, LARGE, "partner")
        await chunks_read(app, SMALL, "partner")


async def test_what_a_client_is_near_is_exact(app: Connection, owner_connection: Connection) -> None:
    exact = await owner_connection.fetch(
        """
        SELECT c.chunk_id FROM knowledge_embeddings c WHERE c.organization_id = $1 AND model = $2
          AND audience = 'client' AND engagement_id = $3
        ORDER BY (c.embedding::halfvec(8) <=> $4::text::halfvec(8)) + 0, c.chunk_id LIMIT 10
        """,
        LARGE.organization_id,
        SPACE.model_id,
        LARGE.id("engagement"),
        f"[{','.join(map(str, NEAR.values))}]",
    )
    async with app.transaction():
        await stand_in(app, LARGE, "client")
        found = await by_meaning(app)
    assert [passage.chunk_id for passage in found] == [row["chunk_id"] for row in exact]


@pytest.mark.parametrize(
    ("eligible", "vectors", "exactly"),
    [
        (COMPARED_EXACTLY, -1, True),  # before the table's first ANALYZE
        (COMPARED_EXACTLY + 1, -1, False),
        (8_000, 150_000, True),
        (85_000, 150_000, False),
        (20_000, 1_000_000, True),
        (100_000, 10_000_000, False),
    ],
)
def test_passages_that_are_rare_among_all_vectors_are_compared_rather_than_walked_to(
    eligible: int, vectors: float, exactly: bool
) -> None:
    assert compared_exactly(eligible, vectors, LEAST_DEPTH) is exactly
