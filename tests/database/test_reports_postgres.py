"""Every report, by every grouping: its rows add up to the whole, and nobody is shown what they may not see."""

import random
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import pytest

from domain.activity.postgres import insert_events
from domain.analytics.layouts import LAYOUTS
from domain.analytics.model import GroupBy, Measured, Number, Price, ReportName, ReportQuery
from domain.analytics.postgres import MOST_GROUPS, OTHER, PostgresAnalytics
from domain.analytics.service import period_of
from domain.kernel import EngagementId, utc_now
from server.database.connection import Connection
from tests.support.calls import event
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms, stand_in

GROUPINGS = [(report, group_by) for report, layout in LAYOUTS.items() for group_by in layout.groups]
PRICES: Mapping[str, Price] = {"gpt": Price(input=1.25, output=10.0)}

FILL_TASKS = """
INSERT INTO tasks (organization_id, task_id, title, kind, status, audience, engagement_id, assignee_id, due_on,
    created_by, created_at, updated_at)
SELECT $1, gen_random_uuid(), 'Task ' || n, CASE n % 3 WHEN 0 THEN 'refresh_analytics' END,
    (ARRAY['open', 'in_progress', 'done', 'cancelled'])[1 + n % 4], 'firm', CASE n % 2 WHEN 0 THEN $2::uuid END,
    CASE n % 5 WHEN 0 THEN $3::uuid END, current_date + n - 30, $3, now() - n * interval '11 hours', now()
FROM generate_series(1, 60) n
"""
FILL_RUNS = """
WITH made AS (
    INSERT INTO task_runs (organization_id, task_run_id, task_id, kind, call_id, requested_by, created_at)
    SELECT $1, gen_random_uuid(), t.task_id, 'refresh_analytics', gen_random_uuid(), $2, now()
    FROM tasks t WHERE t.organization_id = $1 AND t.kind IS NOT NULL RETURNING task_run_id)
INSERT INTO task_run_progress (organization_id, task_run_id, status, started_at, updated_at)
SELECT $1, task_run_id, (ARRAY['completed', 'failed'])[1 + (row_number() OVER ()) % 2], now(), now() FROM made
"""
FILL_APPROVALS = """
INSERT INTO approvals SELECT (jsonb_populate_record(a, jsonb_build_object('approval_id', gen_random_uuid(),
    'call_id', gen_random_uuid(), 'created_at', now() - n * interval '13 hours',
    'expires_at', now() + (20 - n) * interval '1 hour',
    'state', (ARRAY['pending', 'rejected', 'expired', 'cancelled', 'executed', 'failed'])[1 + n % 6],
    'decided_by', CASE WHEN n % 6 IN (1, 3, 4, 5) THEN $2::uuid END,
    'decided_at', CASE WHEN n % 6 IN (1, 3, 4, 5) THEN now() - n * interval '12 hours' END))).*
FROM approvals a, generate_series(1, 40) n WHERE a.organization_id = $1
"""
FILL_COST = """
INSERT INTO runs (organization_id, run_id, conversation_id, owner_id, agent, model, door, status, heartbeat_at,
    created_at, usage)
SELECT $1, gen_random_uuid(), $2, $3, 'assistant', (ARRAY['gpt', 'other', 'offline'])[1 + n % 3], 'chat', 'completed',
    now(), now() - n * interval '9 hours',
    CASE n % 3 WHEN 2 THEN NULL ELSE '{"type":"run.usage","input_tokens":' || n * 1000 || ',"output_tokens":' || n * 10
        || ',"model_calls":2,"tool_calls":1}' END
FROM generate_series(1, 30) n
"""

FILL_FEEDBACK = """
INSERT INTO feedback (organization_id, run_id, given_by, rating, comment, given_at, agent, model)
SELECT r.organization_id, r.run_id, r.owner_id, CASE WHEN row_number() OVER () % 3 = 0 THEN 'down' ELSE 'up' END, 'So.',
    r.created_at, r.agent, r.model
FROM runs r WHERE r.organization_id = $1 ON CONFLICT DO NOTHING
"""


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    """Two firms, of which one has been busy for a month."""
    await seed_firms(owner_connection)
    org, employee = FIRM_A.organization_id, FIRM_A.id("employee")
    await owner_connection.execute(FILL_TASKS, org, FIRM_A.id("engagement"), employee)
    await owner_connection.execute(FILL_RUNS, org, employee)
    await owner_connection.execute(FILL_APPROVALS, org, FIRM_A.id("partner"))
    await owner_connection.execute(FILL_COST, org, FIRM_A.id("thing"), employee)
    await owner_connection.execute(FILL_FEEDBACK, org)
    chance = random.Random(7)
    calls = [
        event(
            tool=chance.choice(["knowledge_search", "knowledge_read", "task_list"]),
            door=chance.choice(["chat", "rest"]),
            occurred_at=utc_now() - timedelta(hours=chance.randrange(1, 700)),
            duration_ms=chance.random() * 100,
            engagement_id=chance.choice([None, EngagementId(FIRM_A.id("engagement"))]),
        )
        for _ in range(200)
    ]
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "employee")
        await insert_events(app_connection, calls)
    return app_connection


async def measured(
    app: Connection,
    report: ReportName,
    group_by: GroupBy | None = None,
    firm: Firm = FIRM_A,
    who: str = "partner",
    engagement: EngagementId | None = None,
    prices: Mapping[str, Price] = PRICES,
) -> tuple[Measured, list[Measured]]:
    query = ReportQuery(
        report=report,
        period=period_of(None, None, now=utc_now() + timedelta(minutes=1)),
        group_by=group_by or LAYOUTS[report].groups[0],
        engagement_id=engagement,
        prices=prices,
    )
    async with app.transaction():
        await stand_in(app, firm, who)
        whole, *groups = await PostgresAnalytics(app).measured(query)
    assert whole.group is None
    return whole, groups


def total(groups: list[Measured], name: str) -> Number | None:
    values = [group.values[name] for group in groups]
    return None if None in values else sum(value for value in values if value is not None)


@pytest.mark.parametrize("who", ["partner", "employee"])
@pytest.mark.parametrize(("report", "group_by"), GROUPINGS)
async def test_the_rows_of_every_report_add_up_to_its_whole(
    app: Connection, report: ReportName, group_by: GroupBy, who: str
) -> None:
    whole, groups = await measured(app, report, group_by, who=who)
    assert groups
    assert len({group.group for group in groups}) == len(groups)
    for measure in LAYOUTS[report].measures:
        if measure.additive:
            assert whole.values[measure.name] == pytest.approx(total(groups, measure.name)), measure.name
    charted = LAYOUTS[report].charted
    if LAYOUTS[report].stacked:
        parts = sum(whole.values[name] or 0 for name in charted)
        assert parts == whole.values[LAYOUTS[report].measures[0].name], "the parts of a bar are the whole of it"


@pytest.mark.parametrize("report", LAYOUTS)
async def test_no_report_counts_what_is_another_organizations(app: Connection, report: ReportName) -> None:
    mine, _ = await measured(app, report)
    other, groups = await measured(app, report, firm=FIRM_B)
    first = LAYOUTS[report].measures[0].name
    assert (mine.values[first] or 0) > 10
    assert (other.values[first] or 0) <= 4
    assert "firm-1" not in repr(groups)


@pytest.mark.parametrize("report", LAYOUTS)
async def test_a_report_of_an_engagement_is_of_it_alone(app: Connection, report: ReportName) -> None:
    first = LAYOUTS[report].measures[0].name
    whole, _ = await measured(app, report)
    part, groups = await measured(
        app, report, "engagement" if report != "tool_use" else None, engagement=EngagementId(FIRM_A.id("engagement"))
    )
    assert (part.values[first] or 0) < (whole.values[first] or 0)
    if report != "tool_use":
        assert {group.group for group in groups} <= {"Audit, Client"}


async def test_one_is_shown_what_ones_own_runs_used_and_a_partner_what_all_did(
    app: Connection, owner_connection: Connection
) -> None:
    partner, employee = [(await measured(app, "cost", who=who))[0].values for who in ("partner", "employee")]
    assert partner == employee
    assert (await measured(app, "cost", who="service"))[0].values["runs"] == 0
    await owner_connection.execute("UPDATE memberships SET role = 'EMPLOYEE' WHERE role = 'PARTNER'")
    assert (await measured(app, "cost", who="partner"))[0].values["runs"] == 0
    async with app.transaction():
        await stand_in(app, FIRM_A, "partner")
        assert await app.fetchval("SELECT count(*) FROM runs") == 0, "what was said in a run is its owner's alone"


async def test_without_a_context_nobody_is_shown_what_runs_used(app: Connection) -> None:
    query = "SELECT count(*) FROM glow.run_usage('-infinity', 'infinity')"
    assert await app.fetchval(query) == 0


async def test_cost_follows_the_price_list_and_is_left_open_where_it_has_no_price(app: Connection) -> None:
    whole, groups = await measured(app, "cost")
    by_model = {group.group: group.values for group in groups}
    gpt = by_model["gpt"]
    assert gpt["cost"] == pytest.approx(((gpt["input_tokens"] or 0) * 1.25 + (gpt["output_tokens"] or 0) * 10) / 1e6)
    assert (by_model["other"]["cost"], by_model["other"]["unpriced_tokens"]) == (None, by_model["other"]["tokens"])
    assert (by_model["offline"]["cost"], by_model["offline"]["tokens"]) == (0, 0)
    assert whole.values["cost"] is None
    unpriced, models = await measured(app, "cost", prices={})
    assert {model.values["cost"] for model in models} == {None}
    assert unpriced.values["tokens"] == whole.values["tokens"]
    both = {**PRICES, "other": Price(input=0, output=0)}
    assert (await measured(app, "cost", prices=both))[0].values["cost"] == pytest.approx(gpt["cost"])


async def test_an_approval_that_nobody_answered_in_time_is_expired(app: Connection) -> None:
    whole, groups = await measured(app, "approvals")
    assert {group.group for group in groups} == {"pending", "approved", "rejected", "expired", "cancelled", "failed"}
    lapsed = await _count(app, "SELECT count(*) FROM approvals WHERE state = 'pending' AND expires_at <= now()")
    assert lapsed > 0
    assert whole.values["expired"] == lapsed + await _count(
        app, "SELECT count(*) FROM approvals WHERE state = 'expired'"
    )
    assert whole.values["p50_hours"] == pytest.approx(22, abs=15)


@pytest.mark.parametrize("left", ["NULL", """usage::jsonb || '{"partial": true}'"""], ids=["nothing", "a part"])
async def test_the_cost_of_a_run_that_failed_with_what_it_used_is_left_open(
    app: Connection, owner_connection: Connection, left: str
) -> None:
    both = {**PRICES, "other": Price(input=0, output=0)}
    assert (await measured(app, "cost", prices=both))[0].values["unknown_runs"] == 0
    await owner_connection.execute(f"UPDATE runs SET status = 'failed', usage = {left} WHERE model = 'other'")
    whole, groups = await measured(app, "cost", prices=both)
    by_model = {group.group: group.values for group in groups}
    assert (by_model["other"]["cost"], by_model["other"]["unknown_runs"]) == (None, 10)
    assert (whole.values["cost"], by_model["gpt"]["cost"] is None) == (None, False)


async def test_engagements_of_one_name_are_never_one_row(app: Connection, owner_connection: Connection) -> None:
    """Of two clients, of one client, and one that is named as those without."""
    add = (
        "INSERT INTO engagements (organization_id, engagement_id, name, client_name, kind) VALUES ($1, $2, $3, $4, 'x')"
    )
    named = [("Audit", "Other client"), ("Twice", "Client"), ("Twice", "Client"), ("(none)", "Client")]
    for number, (name, client) in enumerate(named):
        await owner_connection.execute(add, FIRM_A.organization_id, UUID(int=number), name, client)
        await owner_connection.execute(FILL_TASKS, FIRM_A.organization_id, UUID(int=number), FIRM_A.id("employee"))
    _, groups = await measured(app, "tasks", "engagement")
    assert {group.group: group.values["tasks"] for group in groups} == {
        "(none)": 30 * 5 + 1,
        "Audit, Client": 31,
        "Audit, Other client": 30,
        f"Twice, Client ({UUID(int=1)})": 30,
        f"Twice, Client ({UUID(int=2)})": 30,
        "(none), Client": 30,
    }


async def test_a_question_that_was_taken_back_is_no_decision_and_nobodys(app: Connection) -> None:
    _, groups = await measured(app, "approvals", "decided_by")
    deciders = {group.group: group.values for group in groups}
    assert (deciders["partner@firm-1.example"]["cancelled"], deciders["(nobody)"]["approved"]) == (0, 0)
    assert (deciders["(nobody)"]["cancelled"] or 0) > 0
    assert deciders["(nobody)"]["p50_hours"] is None


async def _count(app: Connection, query: str) -> int:
    async with app.transaction():
        await stand_in(app, FIRM_A, "partner")
        return await app.fetchval(query)


async def test_an_employee_is_shown_approvals_that_it_asked_for_or_may_decide(
    app: Connection, owner_connection: Connection
) -> None:
    await owner_connection.execute(
        "UPDATE approvals SET needs_role = 'PARTNER', requested_by = $1 WHERE organization_id = $2",
        FIRM_A.id("partner"),
        FIRM_A.organization_id,
    )
    assert (await measured(app, "approvals", who="employee"))[0].values["asked"] == 0
    assert ((await measured(app, "approvals", who="partner"))[0].values["asked"] or 0) > 0


async def test_more_groups_than_a_table_holds_are_one_group_and_nothing_is_lost(
    app: Connection, owner_connection: Connection
) -> None:
    await owner_connection.execute(
        "INSERT INTO tasks (organization_id, task_id, title, kind, status, audience, created_by, created_at, "
        "updated_at) SELECT $1, gen_random_uuid(), 't', 'kind_' || n, 'open', 'firm', $2, now(), now() "
        "FROM generate_series(1, $3) n",
        FIRM_A.organization_id,
        FIRM_A.id("employee"),
        MOST_GROUPS + 50,
    )
    whole, groups = await measured(app, "tasks", "kind")
    assert len(groups) == MOST_GROUPS
    assert groups[-1].group == OTHER
    assert total(groups, "tasks") == whole.values["tasks"]


@pytest.mark.parametrize("report", LAYOUTS)
async def test_nothing_to_report_is_a_whole_of_nothing(
    owner_connection: Connection, app_connection: Connection, report: ReportName
) -> None:
    await seed_firms(owner_connection)
    query = ReportQuery(
        report=report,
        period=period_of(utc_now() - timedelta(days=900), utc_now() - timedelta(days=800), now=utc_now()),
        group_by=LAYOUTS[report].groups[0],
    )
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "partner")
        whole, *groups = await PostgresAnalytics(app_connection).measured(query)
    assert groups == []
    assert {whole.values[measure.name] for measure in LAYOUTS[report].measures if measure.additive} <= {0}
