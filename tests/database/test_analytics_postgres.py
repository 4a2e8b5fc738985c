"""Reports over the record: every call counted once, by its verdict and its newest outcome, as far as one may see."""

from datetime import date
from uuid import uuid4

import pytest

from domain.activity.model import ActivityEvent
from domain.activity.postgres import insert_events
from domain.analytics.model import GroupBy, Report
from domain.analytics.postgres import PostgresAnalytics
from domain.analytics.service import AnalyticsService, period_of
from domain.kernel import ApprovalId, EngagementId, PrincipalId
from server.database.connection import Connection
from tests.support.calls import acting, event, followed, later, ticket
from tests.support.firms import FIRM_A, seed_firms

DAY = 86_400


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    await seed_firms(owner_connection)
    return app_connection


async def reported(
    app: Connection, group_by: GroupBy = "tool", who: str = "partner", engagement: EngagementId | None = None
) -> Report:
    period = period_of(date(2026, 11, 1), date(2026, 11, 4), now=later(3 * DAY))
    async with acting(app, who):
        return await AnalyticsService(PostgresAnalytics(app)).report("tool_use", period, group_by, engagement)


def unknown(tool: str) -> ActivityEvent:
    """A call of a tool that there is not."""
    return event(
        kind="tool.invalid",
        decision=None,
        outcome="invalid",
        tool=tool,
        effect=None,
        error_code="unknown_tool",
        duration_ms=None,
    )


async def some_calls(app: Connection) -> None:
    written = ticket(FIRM_A, "employee", ("tasks",), engagement_id=EngagementId(FIRM_A.id("engagement")))
    asked = event(kind="tool.waiting", decision="needs_approval", outcome="waiting", approval_id=ApprovalId(uuid4()))
    async with acting(app, "employee"):
        await insert_events(
            app,
            [
                *(event(duration_ms=float(n), occurred_at=later(n)) for n in range(1, 101)),
                written,
                followed(written, kind="tool.completed", outcome="done", duration_ms=20.0),
                event(
                    kind="tool.denied",
                    decision="deny",
                    outcome="denied",
                    door="mcp",
                    tool="task_run",
                    occurred_at=later(DAY),
                    principal_id=PrincipalId(FIRM_A.id("client")),
                ),
                unknown("made_up"),
                unknown("x' OR 1=1"),
                asked,
                followed(asked, kind="tool.rejected", outcome="rejected", occurred_at=later(DAY)),
                event(occurred_at=later(-30 * DAY)),
            ],
        )


async def test_every_call_of_the_period_is_counted_once(app: Connection) -> None:
    await some_calls(app)
    report = await reported(app)
    figures = {figure.label: figure.value for figure in report.headline}
    assert figures["Calls"] == 105
    assert figures["Done"] == 101
    assert figures["Denied by policy"] == 1
    assert figures["Needed approval"] == 1
    assert figures["Ended otherwise"] == 4
    assert figures["Waiting now"] == 0


async def test_names_that_callers_made_up_share_one_row(app: Connection) -> None:
    await some_calls(app)
    report = await reported(app)
    assert [row[:2] for row in report.table.rows if row[0] == "(unknown)"] == [("(unknown)", 2)]
    assert "made_up" not in repr(report)


async def test_latency_is_that_of_the_calls(app: Connection) -> None:
    await some_calls(app)
    report = await reported(app)
    rows = {row[0]: dict(zip(report.table.columns, row, strict=True)) for row in report.table.rows}
    assert rows["task_create"]["p50_ms"] == 20.0
    assert rows["knowledge_search"]["p95_ms"] == pytest.approx(95.0, abs=1.0)
    assert rows["(unknown)"]["p50_ms"] is None
    assert rows["(unknown)"]["no_verdict"] == 2


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        ("tool", ["knowledge_search", "(unknown)", "task_create", "task_run"]),
        ("door", ["chat", "mcp"]),
        ("outcome", ["done", "invalid", "denied", "rejected"]),
        ("day", ["2026-11-02", "2026-11-03"]),
        ("principal", ["employee@firm-1.example", "client@firm-1.example"]),
    ],
)
async def test_groups_stand_by_size_and_days_in_order(app: Connection, group_by: GroupBy, groups: list[str]) -> None:
    await some_calls(app)
    report = await reported(app, group_by)
    assert [row[0] for row in report.table.rows] == groups
    assert list(report.chart.x) == groups
    assert report.table.columns[0] == group_by
    assert {series.name: sum(series.values) for series in report.chart.series} == {
        "allowed": 101,
        "denied": 1,
        "needed_approval": 1,
        "no_verdict": 2,
    }


async def test_one_reports_over_ones_own_calls_and_a_partner_over_the_organizations(app: Connection) -> None:
    await some_calls(app)
    assert (await reported(app, who="employee")).headline[0].value == 104
    assert (await reported(app, who="client")).headline[0].value == 1


async def test_a_report_of_an_engagement_counts_only_its_calls(app: Connection) -> None:
    await some_calls(app)
    assert (await reported(app, engagement=EngagementId(FIRM_A.id("engagement")))).headline[0].value == 1


async def test_nothing_to_report_is_a_report_of_nothing(app: Connection) -> None:
    report = await reported(app)
    assert [figure.value for figure in report.headline] == [0, 0, 0, 0, 0, 0, None, None]
    assert (report.table.rows, report.chart.x) == ((), ())
    assert report.summary.startswith("From 2026-11-01 to 2026-11-04: 0 tool calls")
