"""Searches in SQL: by words, by meaning, and both orders fused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from domain.storage.postgres import Connection, Row
from knowledge.embeddings.model import Vector
from knowledge.embeddings.postgres import nearest_sql, vector_text
from knowledge.model import EVEN, ChunkId, DocumentId, Passage, SearchFilters, SearchWeights

COMPARED_EXACTLY: Final = 4_000
"""Passages that are all compared with the question; where more are eligible the model's index is asked, which finds the
nearest of many quickly and may stop before it has found enough of few. A guess: where they cross was not measured."""
DEEPEST: Final = 400
LEAST_DEPTH: Final = 60
"""Places of each order that are fused; a passage far down in both is no answer."""

# Okapi BM25 (k1 = 1.2, b = 0.75, Lucene's idf, which is never negative), exact: every posting of every term counts.
# Each table is read through row level security, so that the statistics are those of the passages which this principal
# may see: a score tells nothing of hidden ones. They are the organization's whichever filters are set, for a filter
# says where to look and not how rare a word is. Filters that are not set fold away when the statement is planned.
_ELIGIBLE = """
eligible AS NOT MATERIALIZED (
    SELECT c.chunk_id
    FROM knowledge_documents d JOIN knowledge_chunks c USING (organization_id, document_id)
    WHERE ($3::uuid IS NULL OR d.document_id = $3) AND ($4::uuid IS NULL OR d.engagement_id = $4)
      AND ($5::text IS NULL OR d.media_type = $5)
      AND ($6::text IS NULL OR strpos(lower(d.title), lower($6)) > 0)
)"""
_LEXICAL = """
corpus AS MATERIALIZED (
    SELECT sum(chunk_count)::float8 AS chunks, sum(term_count)::float8 / nullif(sum(chunk_count), 0) AS mean_length
    FROM knowledge_documents WHERE deleted_at IS NULL
),
-- How rare each term is, by an index-only scan of its postings that keeps none of them.
weights AS MATERIALIZED (
    SELECT t.term_id, ln(1 + (c.chunks - m.passages + 0.5) / (m.passages + 0.5)) AS idf, c.mean_length
    FROM knowledge_terms t CROSS JOIN corpus c CROSS JOIN LATERAL (
        SELECT count(*)::float8 AS passages FROM knowledge_postings p WHERE p.term_id = t.term_id) m
    WHERE t.term = ANY ($1::text[])
),
-- And by another its share in each passage. generate_series gives one row and is taken for a thousand: the planner
-- cannot know how common the terms are, and for the few rows it expects it would sort what is faster summed by hashing.
lexical AS MATERIALIZED (
    SELECT h.chunk_id,
           sum(w.idf * h.frequency::float8 * 2.2::float8
               / (h.frequency::float8 + 0.3::float8 + 0.9::float8 * h.length::float8 / w.mean_length)) AS score
    FROM weights w JOIN knowledge_postings h USING (term_id) CROSS JOIN generate_series(1, (SELECT 1))
    WHERE ($3::uuid IS NULL AND $4::uuid IS NULL AND $5::text IS NULL AND $6::text IS NULL)
       OR h.chunk_id IN (SELECT chunk_id FROM eligible)
    GROUP BY h.chunk_id
    ORDER BY score DESC, h.chunk_id
    LIMIT $2
)"""
_PASSAGES = """
SELECT c.document_id, c.chunk_id, d.title, c.text, best.score, c.page, c.section, c.start_offset, c.end_offset, d.uri,
       c.trust, c.audience, c.engagement_id
FROM best
JOIN knowledge_chunks c USING (chunk_id)
JOIN knowledge_documents d USING (organization_id, document_id)
ORDER BY best.score DESC, c.chunk_id
"""
SEARCH = f"WITH {_ELIGIBLE}, {_LEXICAL}, best AS (SELECT chunk_id, score FROM lexical) {_PASSAGES}"

# Reciprocal ranks, weighted: what both orders have near their top comes first, and neither's scores, which are not
# comparable, count.  Source  Cormack, Clarke and Buettcher, SIGIR 2009, whose constant is 60.
_FUSED = """
ranked AS (
    SELECT chunk_id, $11::float8 / (60 + row_number() OVER (ORDER BY score DESC, chunk_id)) AS part FROM lexical
    UNION ALL
    SELECT chunk_id, $12::float8 / (60 + row_number() OVER (ORDER BY distance, chunk_id)) FROM nearest
),
best AS (
    -- Nothing is given where nothing is near: the question is then answered by its words, and said to be.
    SELECT chunk_id, sum(part) AS score FROM ranked WHERE EXISTS (SELECT FROM nearest)
    GROUP BY chunk_id ORDER BY score DESC, chunk_id LIMIT $10
)"""
_BY_MEANING = "best AS (SELECT chunk_id, 1 - distance AS score FROM nearest ORDER BY distance, chunk_id LIMIT $2)"

# An index walked on from where it would have stopped finds enough also of an organization's few rows among many.
_WALK_ON = """
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('hnsw.iterative_scan', 'relaxed_order', true),
       set_config('hnsw.ef_search', $5, true),
       set_config('hnsw.max_scan_tuples', '200000', true),
       -- What may be looked at, by the counts that stand with the documents; in the same round trip.
       (SELECT coalesce(sum(d.chunk_count), 0)
        FROM knowledge_documents d
        WHERE d.deleted_at IS NULL
          AND ($1::uuid IS NULL OR d.document_id = $1) AND ($2::uuid IS NULL OR d.engagement_id = $2)
          AND ($3::text IS NULL OR d.media_type = $3)
          AND ($4::text IS NULL OR strpos(lower(d.title), lower($4)) > 0)) AS eligible
"""
SEARCHED: Final = 160
"""Candidates that the index keeps while it is walked."""


class PostgresSearch:
    """The searching half of SearchIndex."""

    def __init__(self, connection: Connection, weights: SearchWeights = EVEN) -> None:
        self._connection = connection
        self._weights = weights

    async def search(self, terms: Sequence[str], limit: int, filters: SearchFilters) -> Sequence[Passage]:
        return [_passage(row) for row in await self._connection.fetch(SEARCH, terms, limit, *_values(filters))]

    async def search_near(
        self, terms: Sequence[str], vector: Vector, limit: int, filters: SearchFilters
    ) -> Sequence[Passage]:
        depth = max(LEAST_DEPTH, min(3 * limit, DEEPEST))
        (found,) = await self._connection.fetch(_WALK_ON, *_values(filters), str(max(SEARCHED, depth)))
        exactly = found["eligible"] <= COMPARED_EXACTLY
        near = (vector_text(vector.values), vector.space.model_id)
        if terms:
            sql = fused_sql(vector.space.dimensions, exactly=exactly)
            weights = (self._weights.lexical, self._weights.vector)
            rows = await self._connection.fetch(sql, terms, depth, *_values(filters), *near, depth, limit, *weights)
        else:
            sql = by_meaning_sql(vector.space.dimensions, exactly=exactly)
            rows = await self._connection.fetch(sql, (), limit, *_values(filters), *near, limit)
        return [_passage(row) for row in rows]


def fused_sql(dimensions: int, *, exactly: bool) -> str:
    """Terms, depth, filters, vector, model, depth, limit, weight of words, weight of meaning."""
    near = nearest_sql(dimensions, exactly=exactly)
    return f"WITH {_ELIGIBLE}, {_LEXICAL}, {near}, {_FUSED} {_PASSAGES}"


def by_meaning_sql(dimensions: int, *, exactly: bool) -> str:
    """No terms, limit, filters, vector, model, limit."""
    unused = "unused AS (SELECT $1::text[])"
    return f"WITH {_ELIGIBLE}, {unused}, {nearest_sql(dimensions, exactly=exactly)}, {_BY_MEANING} {_PASSAGES}"


def _values(filters: SearchFilters) -> tuple[object, ...]:
    return (filters.document_id, filters.engagement_id, filters.media_type, filters.title)


def _passage(row: Row) -> Passage:
    return Passage(
        document_id=DocumentId(row["document_id"]),
        chunk_id=ChunkId(row["chunk_id"]),
        title=row["title"],
        text=row["text"],
        score=row["score"],
        page=row["page"],
        section=row["section"],
        start=row["start_offset"],
        end=row["end_offset"],
        uri=row["uri"],
        trust=row["trust"],
        audience=row["audience"],
        engagement_id=row["engagement_id"],
    )
