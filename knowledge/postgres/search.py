"""Searches in SQL: by words, by meaning, and both orders fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from domain.storage.postgres import Connection, Row
from knowledge.embeddings.model import Space, Vector, fusion_of
from knowledge.embeddings.postgres import nearest_sql, vector_text
from knowledge.fingerprint import Fingerprint
from knowledge.model import (
    AS_MEASURED,
    ChunkId,
    DocumentId,
    MatchedTerm,
    Passage,
    Ranks,
    SearchFilters,
    SearchWeights,
    audience_of,
)
from knowledge.terms import QueryTerm, without_mark

COMPARED_EXACTLY: Final = 4_000
"""Passages that are all compared with the question, however few others there are. Where more are eligible the model's
index is asked for the nearest, which is quick where most of what it holds is eligible."""
WALKED_PAST: Final = 9
"""Passages that could be compared while the index walks past one.  Source  measured on benchmarks/search's corpus."""
DEEPEST: Final = 400
LEAST_DEPTH: Final = 60
"""Places of each order that are fused; a passage far down in both is no answer."""

# Okapi BM25 (k1 = 1.2, b = 0.75, Lucene's idf, which is never negative), exact: every posting of every term counts.
# Each table is read through row level security, so that the statistics are those of the passages which this principal
# may see: a score tells nothing of hidden ones. They are the organization's whichever filters are set, for a filter
# says where to look and not how rare a word is. Filters that are not set fold away when the statement is planned.
_DOCUMENTS = """($4::uuid IS NULL OR d.document_id = $4)
      AND ($5::uuid[] IS NULL OR d.engagement_id = ANY ($5))
      AND ($6::text[] IS NULL OR d.media_type = ANY ($6))
      AND ($7::text IS NULL OR strpos(lower(d.title), lower($7)) > 0)
      AND ($8::timestamptz IS NULL OR d.created_at >= $8) AND ($9::timestamptz IS NULL OR d.created_at < $9)"""
_UNFILTERED = (
    "num_nonnulls($4::uuid, $5::uuid[], $6::text[], $7::text, $8::timestamptz, $9::timestamptz, $10::text[]) = 0"
)
# Phrases are looked for in the text itself, but only of passages whose postings have their words ($11, in step with
# $12, of $13 words). "x0x" parts title, headings and text: no phrase reaches over it. CASE keeps that order of
# the two.
_FOLDED = (
    "replace(replace(lower(regexp_replace(normalize(concat_ws(' x0x ', d.title, c.section, c.text), NFKD), "
    "'[\u0300-\u036f]', '', 'g')), 'ß', 'ss'), 'ς', 'σ')"
)
_PHRASES = f"""CASE WHEN c.chunk_id IN (
        SELECT p.chunk_id FROM knowledge_terms t JOIN knowledge_postings p USING (organization_id, term_id)
        WHERE t.term = ANY ($11::text[])
        GROUP BY p.chunk_id
        HAVING count(DISTINCT ($12::int[])[array_position($11::text[], t.term)]) = $13::int)
        THEN {_FOLDED} ~ ALL ($10) ELSE false END"""
# OFFSET 0, here and below, keeps the planner to looking up by its key what belongs to each row. By itself it goes by
# how many rows an organization has on average, and reads all of a large one where there are many small ones beside it.
_ELIGIBLE = f"""
eligible AS NOT MATERIALIZED (
    SELECT c.chunk_id
    FROM (SELECT d.document_id, d.title FROM knowledge_documents d WHERE {_DOCUMENTS} OFFSET 0) d
    CROSS JOIN LATERAL (
        SELECT c.chunk_id FROM knowledge_chunks c
        WHERE c.document_id = d.document_id AND ($10::text[] IS NULL OR ({_PHRASES})) OFFSET 0) c
)"""
_CORPUS = """
corpus AS MATERIALIZED (
    SELECT sum(chunk_count)::float8 AS chunks, sum(term_count)::float8 / nullif(sum(chunk_count), 0) AS mean_length
    FROM knowledge_documents WHERE deleted_at IS NULL
)"""
# What the statement before has summed already.
_SUMMED_CORPUS = """
corpus AS MATERIALIZED (SELECT $21::float8 AS chunks, $22::float8 / nullif($21::float8, 0) AS mean_length)"""
_WEIGHTS = """
-- How many passages have each term, by an index-only scan of its postings that keeps none of them; and which word of
-- the question ($2, in step with $1) it is a form of; it stands in $1 as often as the question says that word.
forms AS MATERIALIZED (
    SELECT t.term_id, ($2::int[])[array_position($1::text[], t.term)] AS word, m.passages,
           cardinality(array_positions($1::text[], t.term)) AS asked
    FROM knowledge_terms t CROSS JOIN LATERAL (
        SELECT count(*)::float8 AS passages FROM knowledge_postings p WHERE p.term_id = t.term_id) m
    WHERE t.term = ANY ($1::text[])
),
-- How rare a word is in all languages together: a rare language makes no common word rare.
weights AS MATERIALIZED (
    SELECT f.term_id, f.asked * ln(1 + greatest(c.chunks - f.passages + 0.5, 0) / (f.passages + 0.5)) AS weight,
           c.mean_length
    FROM (SELECT term_id, asked, sum(passages) OVER (PARTITION BY word) AS passages FROM forms) f CROSS JOIN corpus c
)"""
_LEXICAL = f"""{_WEIGHTS},
-- And by another its share in each passage. generate_series gives one row and is taken for a thousand: the planner
-- cannot know how common the terms are, and for the few rows it expects it would sort what is faster summed by hashing.
lexical AS MATERIALIZED (
    SELECT h.chunk_id,
           sum(w.weight * h.frequency::float8 * 2.2::float8
               / (h.frequency::float8 + 0.3::float8 + 0.9::float8 * h.length::float8 / w.mean_length)) AS score
    FROM (SELECT * FROM weights CROSS JOIN generate_series(1, (SELECT 1)) OFFSET 0) w
    CROSS JOIN LATERAL (
        SELECT h.chunk_id, h.frequency, h.length FROM knowledge_postings h WHERE h.term_id = w.term_id OFFSET 0) h
    WHERE {_UNFILTERED} OR h.chunk_id IN (SELECT chunk_id FROM eligible)
    GROUP BY h.chunk_id
    ORDER BY score DESC, h.chunk_id
    LIMIT $3
)"""
_PASSAGES = """
SELECT c.document_id, c.chunk_id, d.title, c.text, best.score, c.page, c.section, c.start_offset, c.end_offset, d.uri,
       c.trust, c.audience, c.engagement_id, c.ordinal, c.simhash, c.figures, c.words, best.lexical_rank,
       best.lexical_score, best.vector_rank, best.distance
FROM best
CROSS JOIN LATERAL (SELECT * FROM knowledge_chunks c WHERE c.chunk_id = best.chunk_id OFFSET 0) c
CROSS JOIN LATERAL (SELECT * FROM knowledge_documents d WHERE d.document_id = c.document_id OFFSET 0) d
ORDER BY best.score DESC, c.chunk_id
"""
_BY_WORDS = """
best AS (
    SELECT chunk_id, score, row_number() OVER (ORDER BY score DESC, chunk_id) AS lexical_rank, score AS lexical_score,
           NULL::bigint AS vector_rank, NULL::float8 AS distance
    FROM lexical
)"""
SEARCH = f"WITH {_ELIGIBLE}, {_CORPUS}, {_LEXICAL}, {_BY_WORDS} {_PASSAGES}"

# By passage, what each word of the question adds to its sum.
MATCHED = f"""
WITH {_CORPUS}, {_WEIGHTS}
SELECT h.chunk_id, f.word, t.term, w.weight, h.frequency,
       w.weight * h.frequency * 2.2 / (h.frequency + 0.3 + 0.9 * h.length / w.mean_length) AS score
FROM weights w JOIN forms f USING (term_id) JOIN knowledge_terms t USING (term_id)
JOIN knowledge_postings h USING (term_id)
WHERE h.chunk_id = ANY ($3::uuid[])
ORDER BY score DESC, t.term
"""

# Reciprocal ranks, weighted: what both orders have near their top comes first, and neither's scores, which are not
# comparable, count.  Source  Cormack, Clarke and Buettcher, SIGIR 2009.
_FUSED = """
ranked AS (
    SELECT chunk_id, row_number() OVER (ORDER BY score DESC, chunk_id) AS lexical_rank, score AS lexical_score,
           NULL::bigint AS vector_rank, NULL::float8 AS distance
    FROM lexical
    UNION ALL
    SELECT chunk_id, NULL, NULL, row_number() OVER (ORDER BY distance, chunk_id), distance FROM nearest
),
best AS (
    -- Nothing is given where nothing is near: the question is then answered by its words, and said to be.
    SELECT chunk_id, sum(coalesce($18::float8 / ($20::float8 + lexical_rank),
                                  $19::float8 / ($20::float8 + vector_rank))) AS score,
           max(lexical_rank) AS lexical_rank, max(lexical_score) AS lexical_score, max(vector_rank) AS vector_rank,
           max(distance) AS distance
    FROM ranked WHERE EXISTS (SELECT FROM nearest)
    GROUP BY chunk_id ORDER BY score DESC, chunk_id LIMIT $17
)"""
_BY_MEANING = """
best AS (
    SELECT chunk_id, 1 - distance AS score, NULL::bigint AS lexical_rank, NULL::float8 AS lexical_score,
           row_number() OVER (ORDER BY distance, chunk_id) AS vector_rank, distance
    FROM nearest ORDER BY distance, chunk_id LIMIT $3
)"""

# An index walked on from where it would have stopped finds enough also of few rows among many.
_WALK_ON = f"""
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('hnsw.iterative_scan', 'relaxed_order', true),
       set_config('hnsw.ef_search', $1, true),
       set_config('hnsw.max_scan_tuples', '200000', true),
       -- What may be looked at, by the counts that stand with the documents, and among how many vectors; in the same
       -- round trip.
       d.chunks, d.terms, d.eligible,
       (SELECT reltuples FROM pg_class WHERE oid = 'knowledge_embeddings'::regclass) AS vectors
FROM (
    SELECT coalesce(sum(d.chunk_count), 0)::float8 AS chunks, coalesce(sum(d.term_count), 0)::float8 AS terms,
           coalesce(sum(d.chunk_count) FILTER (WHERE {_DOCUMENTS}), 0) AS eligible
    FROM knowledge_documents d, (SELECT $2::text, $3::text) unused
    WHERE d.deleted_at IS NULL) d
"""
SEARCHED: Final = 160
"""Candidates that the index keeps while it is walked."""


class PostgresSearch:
    """The searching half of SearchIndex."""

    def __init__(self, connection: Connection, weights: SearchWeights = AS_MEASURED) -> None:
        self._connection = connection
        self._weights = weights

    async def search(self, terms: Sequence[QueryTerm], limit: int, filters: SearchFilters) -> Sequence[Passage]:
        rows = await self._connection.fetch(SEARCH, *search_values(terms, limit, filters))
        return [_passage(row) for row in rows]

    async def search_near(
        self, terms: Sequence[QueryTerm], vector: Vector, limit: int, filters: SearchFilters
    ) -> Sequence[Passage]:
        depth = max(LEAST_DEPTH, min(3 * limit, DEEPEST)) if terms else limit
        searched = str(max(SEARCHED, depth))
        (found,) = await self._connection.fetch(_WALK_ON, searched, None, None, *_filter_values(filters))
        # How many hold a phrase nobody has counted; they are few, and an index would be walked in vain for them.
        exactly = bool(filters.phrases) or compared_exactly(found["eligible"], found["vectors"], depth)
        near = (vector_text(vector.values), vector.space.model_id)
        if terms:
            sql = fused_sql(vector.space.dimensions, exactly=exactly)
            weights = self._fusion(vector.space)
            corpus = (found["chunks"], found["terms"])
            values = (*search_values(terms, depth, filters), *near, depth, limit, *weights, *corpus)
        else:
            sql = by_meaning_sql(vector.space.dimensions, exactly=exactly)
            values = (*search_values((), depth, filters), *near, depth)
        return [_passage(row) for row in await self._connection.fetch(sql, *values)]

    def _fusion(self, space: Space) -> tuple[float, float, float]:
        """What words and meaning count, and the constant of reciprocal ranks."""
        told, measured = self._weights, fusion_of(space)
        return (
            told.lexical,
            measured.weight if told.vector is None else told.vector,
            measured.constant if told.constant is None else told.constant,
        )

    async def matched(
        self, terms: Sequence[QueryTerm], chunk_ids: Sequence[ChunkId]
    ) -> Mapping[ChunkId, Sequence[MatchedTerm]]:
        matched: dict[ChunkId, list[MatchedTerm]] = {}
        for row in await self._connection.fetch(
            MATCHED, *_in_step([term.variants * term.asked for term in terms]), chunk_ids
        ):
            asked: QueryTerm = terms[int(row["word"])]
            term = MatchedTerm(
                written=asked.written,
                term=without_mark(row["term"]),
                weight=row["weight"],
                frequency=row["frequency"],
                score=row["score"],
            )
            matched.setdefault(ChunkId(row["chunk_id"]), []).append(term)
        return matched


def compared_exactly(eligible: int, vectors: float, depth: int) -> bool:
    """Whether all eligible passages are compared, or the index is walked until it has found `depth` of them.

    vectors: all that the index may hold, of every organization; for each that is eligible it walks past the others.
    """
    return eligible <= COMPARED_EXACTLY or eligible * eligible <= WALKED_PAST * depth * vectors


def fused_sql(dimensions: int, *, exactly: bool) -> str:
    """The values of a search ($3: depth), vector, model, depth, limit, weights of words and meaning, constant.

    And how many passages the principal may see, and how many terms those have.
    """
    near = nearest_sql(dimensions, _UNFILTERED, exactly=exactly)
    return f"WITH {_ELIGIBLE}, {_SUMMED_CORPUS}, {_LEXICAL}, {near}, {_FUSED} {_PASSAGES}"


def by_meaning_sql(dimensions: int, *, exactly: bool) -> str:
    """The values of a search without terms, vector, model, limit."""
    unused = "unused AS (SELECT $1::text[], $2::int[])"
    near = nearest_sql(dimensions, _UNFILTERED, exactly=exactly)
    return f"WITH {_ELIGIBLE}, {unused}, {near}, {_BY_MEANING} {_PASSAGES}"


def search_values(terms: Sequence[QueryTerm], limit: int, filters: SearchFilters) -> tuple[object, ...]:
    """$1 to $13: every form of every word, in step with them which word it is of, how many passages, the filters."""
    phrases = filters.phrases
    required = _apart([forms for phrase in phrases for forms in phrase.required])
    return (
        *_in_step([term.variants * term.asked for term in terms]),
        limit,
        *_filter_values(filters),
        [phrase.pattern for phrase in phrases] or None,
        *_in_step(required),
        len(required),
    )


def _apart(words: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Those that share no form with one before: each form says of one word alone that it is there."""
    kept: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for forms in words:
        if not seen.intersection(forms):
            seen.update(forms)
            kept.append(forms)
    return kept


def _in_step(words: Sequence[tuple[str, ...]]) -> tuple[list[str], list[int]]:
    """All forms of all words, and of each the place of its word."""
    forms = [(form, place) for place, word in enumerate(words) for form in word]
    return [form for form, _ in forms], [place for _, place in forms]


def _filter_values(filters: SearchFilters) -> tuple[object, ...]:
    return (
        filters.document_id,
        filters.engagement_ids,
        filters.media_types,
        filters.title,
        filters.after,
        filters.before,
    )


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
        audience=audience_of(row["audience"]),
        engagement_id=row["engagement_id"],
        chunk_ids=(ChunkId(row["chunk_id"]),),
        first_ordinal=row["ordinal"],
        last_ordinal=row["ordinal"],
        fingerprint=None
        if row["words"] is None
        else Fingerprint(simhash=row["simhash"], figures=row["figures"], words=row["words"]),
        ranks=Ranks(
            lexical=row["lexical_rank"],
            lexical_score=row["lexical_score"],
            vector=row["vector_rank"],
            similarity=None if row["distance"] is None else 1 - row["distance"],
        ),
    )
