"""Plans stay right on a connection that is handed from a large organization to a small one and back.

Under row level security one prepared statement serves all organizations, and a generic plan made for a small one reads
a large one whole. What is looked at are plans and the rows that they touch, never times.
"""

from collections.abc import Awaitable, Callable
from typing import cast

import orjson
import pytest

from domain.activity.model import ActivityQuery, Span
from domain.activity.postgres import PostgresActivity
from domain.analytics.layouts import LAYOUTS
from domain.analytics.model import ReportName, ReportQuery
from domain.analytics.postgres import PostgresAnalytics
from domain.analytics.service import period_of
from domain.approvals.model import ApprovalQuery
from domain.approvals.postgres import PostgresApprovals
from domain.kernel import OrganizationId, PrincipalId, utc_now
from domain.tasks.model import TaskQuery
from domain.tasks.postgres.tasks import PostgresTasks
from knowledge.model import DocumentQuery, SearchFilters
from knowledge.postgres import SEARCH, PostgresDocuments, PostgresIndex, search_values
from knowledge.terms import QueryTerm
from server.database.connection import AnyConnection, Connection
from server.database.pool import DatabasePools, PoolOptions, open_pools
from server.database.unit_of_work import PostgresTransactions
from tests.support.database import Database
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms, stand_in
from tests.support.gates import principal_of
from tools.workflows import Workflows

ASKED = [QueryTerm("term1", ("term1",))]
CHUNKS = 6_000
TERMS = 400
LARGE, SMALL = FIRM_A, FIRM_B
MODE = "SELECT current_setting('plan_cache_mode')"
PLANS = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE $1"
LAST_DAY = period_of(None, None, now=utc_now())

# Each of the large firm's passages holds ten of four hundred terms, term 1 one of every ten passages.
FILL = """
INSERT INTO knowledge_terms (organization_id, term) SELECT $1, 'term' || n FROM generate_series(1, 400) n;
"""
FILL_CHUNKS = """
INSERT INTO knowledge_chunks (organization_id, chunk_id, document_id, ordinal, start_offset, end_offset, text,
    token_count, length, audience, trust)
SELECT $1::uuid, md5($1::uuid::text || n)::uuid, $2, n, n, n + 1, 'x', 1, 10, 'firm', 'internal'
FROM generate_series(1, $3::int) n
"""
FILL_POSTINGS = """
INSERT INTO knowledge_postings (organization_id, term_id, chunk_id, frequency, length, audience, trust)
SELECT $1::uuid, t.term_id, md5($1::uuid::text || n)::uuid, 1, 10, 'firm', 'internal'
FROM generate_series(1, $2::int) n CROSS JOIN generate_series(0, 9) k
JOIN knowledge_terms t ON t.organization_id = $1 AND t.term = 'term' || (1 + (n * 7 + k * 40) % 400)
"""
COUNTS = """
UPDATE knowledge_documents SET chunk_count = $3, term_count = $3 * 10 WHERE organization_id = $1 AND document_id = $2
"""


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    """The server's login, where one firm has two hundred times the passages of the other."""
    await seed_firms(owner_connection)
    large = LARGE.organization_id
    await owner_connection.execute(FILL.replace("$1", f"'{large}'"))
    await owner_connection.execute(FILL_CHUNKS, large, LARGE.id("thing"), CHUNKS)
    await owner_connection.execute(FILL_POSTINGS, large, CHUNKS)
    await owner_connection.execute(COUNTS, large, LARGE.id("thing"), CHUNKS)
    for table in ("knowledge_terms", "knowledge_chunks", "knowledge_postings", "knowledge_documents"):
        await owner_connection.execute(f"ANALYZE {table}")
    return app_connection


async def touched_by_search(app: Connection, firm: Firm) -> int:
    """Rows that a search reads from the postings, for one of the firm's people, by a statement prepared before."""
    async with app.transaction():
        await stand_in(app, firm, "partner")
        await PostgresIndex(app).search(ASKED, 10, SearchFilters())
        assert await app.fetchval(MODE) == "force_custom_plan"
        explained = await app.fetchval(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {SEARCH}", *search_values(ASKED, 10, SearchFilters())
        )
    plan = cast("list[dict[str, object]]", orjson.loads(explained))[0]["Plan"]
    return sum(rows for name, rows in scans(cast("dict[str, object]", plan)) if name == "knowledge_postings")


def scans(node: dict[str, object]) -> list[tuple[str, int]]:
    """Every scan of a table below a node, with the rows it gave and those it read and threw away."""
    loops = cast(float, node.get("Actual Loops", 1))
    given = cast(float, node.get("Actual Rows", 0)) + cast(float, node.get("Rows Removed by Filter", 0))
    own = [(str(node["Relation Name"]), round(given * loops))] if "Relation Name" in node else []
    below = [found for child in cast("list[dict[str, object]]", node.get("Plans", [])) for found in scans(child)]
    return own + below


async def test_a_search_reads_only_the_postings_of_its_terms_whoever_had_the_connection_before(
    app: Connection,
) -> None:
    postings_of_the_term = CHUNKS * 10 // TERMS
    for _ in range(3):
        for _ in range(6):
            assert await touched_by_search(app, SMALL) <= 10
        assert await touched_by_search(app, LARGE) <= postings_of_the_term * 2


Read = Callable[[AnyConnection], Awaitable[object]]


def _report(name: ReportName) -> Read:
    query = ReportQuery(report=name, period=LAST_DAY, group_by=LAYOUTS[name].groups[0])
    return lambda app: PostgresAnalytics(app).measured(query)


READS: dict[str, Read] = {
    "search": lambda app: PostgresIndex(app).search(ASKED, 10, SearchFilters()),
    "documents": lambda app: PostgresDocuments(app).list(DocumentQuery()),
    "tasks": lambda app: PostgresTasks(app).list(TaskQuery()),
    "approvals": lambda app: PostgresApprovals(app).list(ApprovalQuery(), utc_now()),
    "activity": lambda app: PostgresActivity(app).list(ActivityQuery()),
    "verdicts": lambda app: PostgresActivity(app).verdicts(Span(), None, 10),
    **{f"report {name}": _report(name) for name in LAYOUTS},
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
async def test_what_only_reads_is_planned_anew_and_its_mode_ends_with_the_transaction(
    app: Connection, pools: DatabasePools, read: Read
) -> None:
    del app  # the two firms stand in the database
    transactions = PostgresTransactions(pools.app, Workflows([]))
    async with transactions.session(OrganizationId(SMALL.organization_id), PrincipalId(SMALL.id("partner"))) as session:
        await read(session.connection)
        assert await session.connection.fetchval(MODE) == "force_custom_plan"
    async with pools.app.acquire() as connection:
        assert await connection.fetchval(MODE) == "auto"


async def test_a_reading_calls_list_never_goes_by_a_plan_that_was_made_before(
    app: Connection, database: Database
) -> None:
    del app
    async with open_pools(database.urls(), app=PoolOptions(max_size=1)) as pools:
        transactions = PostgresTransactions(pools.app, Workflows([]))
        for _ in range(12):
            reader = principal_of(SMALL, "partner")
            async with transactions.begin(reader, "task_list", {}, None, read_only=True) as call:
                await call.work.tasks.list(TaskQuery())
        async with pools.app.acquire() as connection:
            plans = await connection.fetch(PLANS, "%FROM tasks t%LIMIT $10%")
    assert [tuple(row) for row in plans] == [(0, 12)]


async def test_the_organization_that_row_security_adds_leads_into_the_key(app: Connection) -> None:
    async with app.transaction():
        await stand_in(app, LARGE, "partner")
        rows = await app.fetch("EXPLAIN SELECT * FROM knowledge_chunks WHERE chunk_id = $1", LARGE.id("thing"))
    plan = "\n".join(row[0] for row in rows)
    assert "knowledge_chunks_pkey" in plan
    assert "Index Cond: ((organization_id = " in plan


CASCADES = """
SELECT k.conrelid::regclass::text || '.' || k.conname FROM pg_constraint k
WHERE k.contype = 'f' AND k.confdeltype = 'c' AND NOT EXISTS (
    SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
      AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
"""


async def test_what_goes_with_another_row_is_found_by_an_index(superuser_connection: Connection) -> None:
    assert [row[0] for row in await superuser_connection.fetch(CASCADES)] == []
