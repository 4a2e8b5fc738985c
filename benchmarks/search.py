"""Search of a large organization and of small ones beside it, for whoever may see more or less of them.

python -m benchmarks.search                    100,000 chunks and 1,000 small organizations, about eight minutes
python -m benchmarks.search --chunks 10000     a tenth of both, about one
"""

import argparse
import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from benchmarks.corpus import DIMENSIONS, MODEL, Corpus, Query
from benchmarks.firms import SMALL_SIZES, Member, found_all, large_members, partner
from benchmarks.loading import load
from benchmarks.processes import machine, pin_this_process
from benchmarks.stage import fresh_home, organization_id
from benchmarks.tally import Row, Target, table
from domain.kernel import OrganizationId, PrincipalId
from knowledge.embeddings.model import Space, Vector
from knowledge.embeddings.postgres import vector_text
from knowledge.model import SearchMode, SearchQuery
from server.database.connection import Connection, connected
from server.database.embedded import EmbeddedServer
from server.database.pool import PoolOptions, open_pools
from server.database.unit_of_work import PostgresTransactions
from server.logins import Login
from tools.workflows import Workflows

K = 10
PASSES = 3
QUERIES = 100
SPACE = Space(model_id=MODEL, dimensions=DIMENSIONS)
MODES: Sequence[SearchMode] = ("hybrid", "lexical", "vector")
_HYBRID = Target(of="ratio", must=0.2, aim=0.06)
_NEAREST = Target(of="figure", must=0.04, aim=0.01)
_BEST_BY_WORDS = Target(of="figure", must=0.02, aim=0.0)

# What a good developer writes: OR of the words, ranked by ts_rank_cd, fused with the nearest vectors; no row security,
# but conditions that say whose and which. The large organization has a partition of its own.
_PLAIN = f"""
CREATE TABLE plain (organization_id uuid, chunk_id uuid, audience text, engagement_id uuid, words tsvector)
    PARTITION BY LIST (organization_id);
CREATE TABLE plain_large PARTITION OF plain FOR VALUES IN ('{organization_id()}');
CREATE TABLE plain_small PARTITION OF plain DEFAULT;
INSERT INTO plain SELECT organization_id, chunk_id, audience, engagement_id, to_tsvector('simple', text)
    FROM knowledge_chunks;
CREATE INDEX plain_words ON plain USING gin (words);
CREATE INDEX plain_whose ON plain_small (organization_id);
"""
_SEEN = "organization_id = $4 AND audience = ANY ($5) AND ($6::uuid[] IS NULL OR engagement_id = ANY ($6))"
_FLOOR = f"""
WITH lexical AS (
    SELECT chunk_id, row_number() OVER (ORDER BY ts_rank_cd(words, q) DESC) AS place
    FROM plain p, to_tsquery('simple', $1) q WHERE words @@ q AND {_SEEN}
    ORDER BY ts_rank_cd(words, q) DESC LIMIT 60
), nearest AS (
    SELECT chunk_id, row_number() OVER () AS place FROM (
        SELECT chunk_id FROM knowledge_embeddings WHERE model = 'text-embedding-3-small' AND {_SEEN}
        ORDER BY embedding::halfvec(1536) <=> $2::text::halfvec(1536) LIMIT 60) n
), ranked AS (
    SELECT chunk_id, 1.0 / (60 + place) AS part FROM lexical UNION ALL
    SELECT chunk_id, 1.0 / (60 + place) FROM nearest
), best AS (
    SELECT chunk_id, sum(part) AS score FROM ranked GROUP BY chunk_id ORDER BY score DESC LIMIT $3
)
SELECT c.chunk_id, c.text, d.title, best.score
FROM best JOIN knowledge_chunks c ON c.organization_id = $4 AND c.chunk_id = best.chunk_id
JOIN knowledge_documents d USING (organization_id, document_id)
"""
# A plan kept from a small organization would read the large one whole: the floor is spared that too.
_FLOOR_SETTINGS = """
SET LOCAL hnsw.ef_search = 100; SET LOCAL hnsw.iterative_scan = relaxed_order;
SET LOCAL plan_cache_mode = force_custom_plan
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question, and whose it is."""

    member: Member
    query: Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A kind of principal, and what is asked as one."""

    name: str
    asked: Sequence[Asked]
    target: Target | None = None
    """What hybrid search must keep to beside the floor, where most of 100,000 chunks are searched."""

    @property
    def is_large(self) -> bool:
        """Whether all is asked in the large organization."""
        return self.asked[0].member.organization.number == 0


@dataclass(slots=True)
class Times:
    """Milliseconds of each search, by who searched how."""

    of: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])

    def add(self, reader: str, way: str, seconds: float) -> None:
        """One more."""
        self.of.setdefault((reader, way), []).append(seconds * 1_000)

    def percentile(self, reader: str, way: str, percent: float) -> float:
        """Below which so many of them lie."""
        return float(np.percentile(self.of[reader, way], percent))


@dataclass(frozen=True, slots=True)
class Ours:
    """The product's own service, as glow_app under row security, a transaction a search."""

    transactions: PostgresTransactions
    corpus: Corpus

    async def search(self, asked: Asked, mode: SearchMode) -> Sequence[UUID]:
        """The chunks that are found."""
        member = asked.member
        whose = OrganizationId(member.organization.organization_id)
        vector = Vector(space=SPACE, values=tuple(asked.query.vector.tolist()))
        query = SearchQuery(text=" ".join(asked.query.words), limit=K, mode=mode)
        async with self.transactions.session(whose, PrincipalId(member.user_id)) as session:
            found = await session.work.knowledge.search(query, vector)
        assert found.mode == mode
        return [chunk_id for passage in found.items for chunk_id in passage.chunk_ids]

    async def places(self, asked: Asked, mode: SearchMode) -> set[int]:
        """The chunks that are found, as the corpus numbers them."""
        return {self.corpus.place[chunk_id] for chunk_id in await self.search(asked, mode)}


@dataclass(frozen=True, slots=True)
class ByHand:
    """The floor: the same tables and index past row security, and a GIN index for words."""

    superuser: Connection

    async def search(self, asked: Asked) -> Sequence[UUID]:
        """The chunks that are found."""
        member, query = asked.member, asked.query
        async with self.superuser.transaction(readonly=True):
            await self.superuser.execute(_FLOOR_SETTINGS)
            rows = await self.superuser.fetch(
                _FLOOR,
                " | ".join(query.words),
                vector_text(query.vector.tolist()),
                K,
                member.organization.organization_id,
                member.audiences,
                member.engagements or None,
            )
        return [row["chunk_id"] for row in rows]


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
    small = len(corpus.organizations) - 1
    print(
        f"{chunks:,} chunks x {DIMENSIONS:,} in one organization, {corpus.chunks - chunks:,} in {small:,} small ones; "
        f"{len(corpus.posting_chunk):,} postings; loading ...",
        flush=True,
    )
    with fresh_home() as home, home.database() as server:
        speed, truth = asyncio.run(_measure(server, corpus, queries))
    beside = f"{chunks:,} chunks in one organization and {small:,} small ones beside it, k = {K}"
    print(f"\n{table(f'Search, {beside}, one connection for all', speed)}", flush=True)
    print(f"\n{table(f'What search misses, {beside}', truth)}", flush=True)


async def _measure(server: EmbeddedServer, corpus: Corpus, count: int) -> tuple[list[Row], list[Row]]:
    async with connected(server.dsn("postgres"), application_name="benchmark") as superuser:
        began = time.monotonic()
        async with connected(server.dsn(Login.OWNER), application_name="benchmark") as owner:
            await found_all(owner, superuser, corpus.organizations, large_members(corpus.organizations[0]))
        await load(superuser, corpus)
        await superuser.execute(_PLAIN)
        await superuser.execute("VACUUM (ANALYZE) plain")
        print(f"loaded and indexed in {time.monotonic() - began:.0f} s", flush=True)
        readers = _readers(corpus, count)
        async with _one_connection(server) as transactions:
            ours = Ours(transactions, corpus)
            times = await _times(ours, ByHand(superuser), readers)
            return _speed(times, readers), await _truth(ours, readers)


@asynccontextmanager
async def _one_connection(server: EmbeddedServer) -> AsyncGenerator[PostgresTransactions]:
    """What prepares its statements once and is handed from organization to organization."""
    async with open_pools(server.urls(), app=PoolOptions(max_size=1)) as pools:
        yield PostgresTransactions(pools.app, Workflows([]))


def _readers(corpus: Corpus, count: int) -> list[Reader]:
    """Those of the large organization, and between two of them always one of small ones."""
    large, *small = corpus.organizations

    def of_one(member: Member) -> list[Asked]:
        return [Asked(member=member, query=query) for query in corpus.queries(member, count)]

    def of_many(size: int) -> list[Asked]:
        firms = [firm for firm in small if len(firm.chunks) == size]
        members = [partner(firms[number % len(firms)]) for number in range(count)]
        return [Asked(member=member, query=corpus.queries(member, 1)[0]) for member in members]

    members = large_members(large)

    def of_large(name: str, member: Member, target: Target | None = None) -> Reader:
        seen = int(corpus.seen_by(member).sum())
        return Reader(name=f"{name}, who sees {seen:,} chunks", asked=of_one(member), target=target)

    few, some, many = (
        Reader(name=f"a partner of a small one of {size} chunks", asked=of_many(size))
        for size in sorted(set(SMALL_SIZES))
    )
    return [
        of_large("a partner", members.partner, _HYBRID),
        few,
        of_large("an employee in sets of readers", members.reader, _HYBRID),
        some,
        of_large("a client", members.busy_client),
        many,
        of_large("a client", members.quiet_client),
    ]


async def _times(ours: Ours, floor: ByHand, readers: Sequence[Reader]) -> Times:
    times = Times()
    for number in range(PASSES + 1):
        for asking in zip(*(reader.asked for reader in readers), strict=True):
            for reader, asked in zip(readers, asking, strict=True):
                for mode in MODES:
                    began = time.perf_counter()
                    found = await ours.search(asked, mode)
                    taken = time.perf_counter() - began
                    _check(ours.corpus, asked, found, full=mode != "lexical")
                    if number:  # the first pass warms the caches of all alike
                        times.add(reader.name, mode, taken)
                began = time.perf_counter()
                found = await floor.search(asked)
                taken = time.perf_counter() - began
                _check(ours.corpus, asked, found, full=False)
                if number:
                    times.add(reader.name, "floor", taken)
    return times


def _check(corpus: Corpus, asked: Asked, found: Sequence[UUID], *, full: bool) -> None:
    """Nothing that the member may not see, nothing twice, and ten wherever there are ten."""
    seen = corpus.seen_by(asked.member)
    places = [corpus.place[chunk_id] - asked.member.organization.chunks.start for chunk_id in found]
    assert all(0 <= place < len(seen) and seen[place] for place in places), "what the member may not see was found"
    assert len(set(places)) == len(places) <= K
    assert not full or len(places) == min(K, int(seen.sum())), f"{len(places)} passages"


def _speed(times: Times, readers: Sequence[Reader]) -> list[Row]:
    return [
        Row(
            name=f"{reader.name}: hybrid, p{percent}",
            unit="ms",
            ours=times.percentile(reader.name, "hybrid", percent),
            floor=times.percentile(reader.name, "floor", percent),
            target=reader.target,
        )
        for reader in readers
        for percent in (50, 95)
    ] + [
        Row(name=f"{reader.name}: {words}, p{percent}", unit="ms", ours=times.percentile(reader.name, mode, percent))
        for reader in readers
        if reader.is_large
        for mode, words in (("lexical", "by words alone"), ("vector", "by meaning alone"))
        for percent in (50, 95)
    ]


async def _truth(ours: Ours, readers: Sequence[Reader]) -> list[Row]:
    return [row for reader in readers for row in await _missed(ours, reader)]


async def _missed(ours: Ours, reader: Reader) -> list[Row]:
    near, words = Share(), Share()
    for asked, nearest in zip(reader.asked, _nearest(ours.corpus, reader.asked), strict=True):
        near.add(await ours.places(asked, "vector"), nearest)
        words.add(await ours.places(asked, "lexical"), ours.corpus.best_by_words(asked.member, asked.query, K))
    return [
        Row(name=f"{reader.name}: of the exact {K} nearest", unit="share", ours=near.missed, target=_NEAREST),
        Row(name=f"{reader.name}: of exact BM25's {K} best", unit="share", ours=words.missed, target=_BEST_BY_WORDS),
    ]


def _nearest(corpus: Corpus, asked: Sequence[Asked]) -> list[set[int]]:
    """One member's questions are compared all at once."""
    members = {each.member for each in asked}
    if len(members) == 1:
        return corpus.nearest(asked[0].member, [each.query for each in asked], K)
    return [corpus.nearest(each.member, [each.query], K)[0] for each in asked]


@dataclass(slots=True)
class Share:
    """How many of those that are right were found."""

    found: int = 0
    asked: int = 0

    def add(self, found: set[int], exact: set[int]) -> None:
        """One more question's; of those that are as good as the last any will do."""
        self.found += len(found & exact)
        self.asked += min(K, len(exact))

    @property
    def missed(self) -> float:
        """Of all."""
        return 1 - self.found / self.asked


if __name__ == "__main__":
    main()
