"""Search of a large organization under row security, beside pgvector with ts_rank_cd; and what it misses of the exact.

python -m benchmarks.search                    100,000 chunks, with loading about ten minutes
python -m benchmarks.search --chunks 10000     smaller, about one
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from benchmarks.corpus import DIMENSIONS, MODEL, Corpus, Query, load
from benchmarks.processes import machine, pin_this_process
from benchmarks.stage import fresh_home, organization_id, person_id
from benchmarks.tally import Row, Target, table
from knowledge.embeddings.model import Space, Vector
from knowledge.embeddings.postgres import vector_text
from knowledge.model import SearchMode, SearchQuery
from knowledge.postgres import knowledge_service
from server.database.connection import Connection, connected
from server.database.embedded import EmbeddedServer
from server.logins import Login

K = 10
PASSES = 3
QUERIES = 100
SPACE = Space(model_id=MODEL, dimensions=DIMENSIONS)

# What a good developer writes: OR of the words, ranked by ts_rank_cd, fused with the nearest vectors; no row security.
_PLAIN = """
CREATE TABLE plain AS SELECT chunk_id, to_tsvector('simple', text) AS words FROM knowledge_chunks;
CREATE INDEX plain_words ON plain USING gin (words);
CREATE UNIQUE INDEX plain_id ON plain (chunk_id);
"""
_FLOOR = """
WITH lexical AS (
    SELECT p.chunk_id, row_number() OVER (ORDER BY ts_rank_cd(p.words, q) DESC) AS place
    FROM plain p, to_tsquery('simple', $1) q WHERE p.words @@ q
    ORDER BY ts_rank_cd(p.words, q) DESC LIMIT 60
), nearest AS (
    SELECT chunk_id, row_number() OVER () AS place FROM (
        SELECT chunk_id FROM knowledge_embeddings WHERE model = 'text-embedding-3-small'
        ORDER BY embedding::halfvec(1536) <=> $2::text::halfvec(1536) LIMIT 60) n
), ranked AS (
    SELECT chunk_id, 1.0 / (60 + place) AS part FROM lexical UNION ALL
    SELECT chunk_id, 1.0 / (60 + place) FROM nearest
), best AS (
    SELECT chunk_id, sum(part) AS score FROM ranked GROUP BY chunk_id ORDER BY score DESC LIMIT $3
)
SELECT c.chunk_id, c.text, d.title, best.score
FROM best JOIN knowledge_chunks c USING (chunk_id) JOIN knowledge_documents d USING (document_id)
"""


@dataclass(slots=True)
class Times:
    """Milliseconds of each search, by what was searched."""

    of: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, name: str, seconds: float) -> None:
        """One more."""
        self.of.setdefault(name, []).append(seconds * 1_000)

    def percentile(self, name: str, percent: float) -> float:
        """Below which so many of them lie."""
        return float(np.percentile(self.of[name], percent))


Search = Callable[[Query], Awaitable[Sequence[UUID]]]


@dataclass(frozen=True, slots=True)
class Ours:
    """The product's own service, as glow_app under row security, a transaction a search."""

    app: Connection

    async def search(self, query: Query, mode: SearchMode) -> Sequence[UUID]:
        """The chunks that are found."""
        vector = Vector(space=SPACE, values=tuple(query.vector.tolist()))
        async with self.app.transaction(readonly=True):
            await self.app.fetchval("SELECT glow.begin_session($1, $2)", organization_id(), person_id(0))
            asked = SearchQuery(text=" ".join(query.words), limit=K, mode=mode)
            found = await knowledge_service(self.app).search(asked, vector)
        assert found.mode == mode
        assert len(found.items) == K, f"{len(found.items)} passages instead of {K}"
        return [passage.chunk_id for passage in found.items]


@dataclass(frozen=True, slots=True)
class ByHand:
    """The floor: the same tables and index past row security, and a GIN index for words."""

    superuser: Connection

    async def search(self, query: Query) -> Sequence[UUID]:
        """The chunks that are found."""
        async with self.superuser.transaction(readonly=True):
            await self.superuser.execute("SET LOCAL hnsw.ef_search = 100")
            values = " | ".join(query.words), vector_text(query.vector.tolist()), K
            return [row["chunk_id"] for row in await self.superuser.fetch(_FLOOR, *values)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=QUERIES)
    given = parser.parse_args()
    measure_and_print(given.chunks, given.queries)


def measure_and_print(chunks: int = 100_000, queries: int = QUERIES) -> None:
    """The benchmark's tables."""
    pin_this_process()
    print(f"\nsearch on {machine()}", flush=True)
    corpus = Corpus(chunks)
    postings = len(corpus.posting_term)
    print(f"{chunks:,} chunks x {DIMENSIONS:,}, {postings:,} postings; loading ...", flush=True)
    with fresh_home() as home, home.database() as server:
        rows = asyncio.run(_measure(server, corpus, queries))
    print(f"\n{table(f'Search, {chunks:,} chunks in one organization, k = {K}, one client', rows)}", flush=True)


async def _measure(server: EmbeddedServer, corpus: Corpus, count: int) -> list[Row]:
    async with (
        connected(server.dsn("postgres"), application_name="benchmark") as superuser,
        connected(server.dsn(Login.APP), application_name="benchmark") as app,
    ):
        began = time.monotonic()
        await load(superuser, corpus, organization_id(), person_id(0))
        await superuser.execute(_PLAIN)
        await superuser.execute("VACUUM (ANALYZE) plain")
        print(f"loaded and indexed in {time.monotonic() - began:.0f} s", flush=True)
        ours, floor = Ours(app), ByHand(superuser)
        queries = corpus.queries(count)
        times = await _times(ours, floor, queries)
        return [*_speed(times), *await _truth(ours, corpus, queries)]


async def _times(ours: Ours, floor: ByHand, queries: Sequence[Query]) -> Times:
    searches: dict[str, Search] = {
        "hybrid": lambda query: ours.search(query, "hybrid"),
        "floor": floor.search,
        "lexical": lambda query: ours.search(query, "lexical"),
        "vector": lambda query: ours.search(query, "vector"),
    }
    times = Times()
    for number in range(PASSES + 1):
        for query in queries:
            for name, search in searches.items():
                began = time.perf_counter()
                await search(query)
                if number:  # the first pass warms the caches of all alike
                    times.add(name, time.perf_counter() - began)
    return times


def _speed(times: Times) -> list[Row]:
    target = Target(of="ratio", must=0.2, aim=0.06)
    return [
        Row(
            name=f"hybrid under row security, p{percent}, beside pgvector + ts_rank_cd",
            unit="ms",
            ours=times.percentile("hybrid", percent),
            floor=times.percentile("floor", percent),
            target=target,
        )
        for percent in (50, 95)
    ] + [
        Row(name=f"{words}, p{percent}", unit="ms", ours=times.percentile(name, percent))
        for name, words in (("lexical", "by words alone"), ("vector", "by meaning alone"))
        for percent in (50, 95)
    ]


async def _truth(ours: Ours, corpus: Corpus, queries: Sequence[Query]) -> list[Row]:
    place = {UUID(bytes=bytes(each)): number for number, each in enumerate(corpus.ids)}
    near = words = 0
    for query in queries:
        found = {place[chunk_id] for chunk_id in await ours.search(query, "vector")}
        near += len(found & corpus.nearest(query, K))
        found = {place[chunk_id] for chunk_id in await ours.search(query, "lexical")}
        words += len(found & corpus.best_by_words(query, K))
    asked = K * len(queries)
    return [
        Row(name=f"missed of the exact {K} nearest", unit="share", ours=1 - near / asked, target=_missed(0.04, 0.01)),
        Row(name=f"missed of exact BM25's {K} best", unit="share", ours=1 - words / asked, target=_missed(0.02, 0.0)),
    ]


def _missed(must: float, aim: float) -> Target:
    return Target(of="figure", must=must, aim=aim)


if __name__ == "__main__":
    main()
