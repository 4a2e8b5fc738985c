"""A report's period, and its figures laid out."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from domain.analytics.model import ToolUse, ToolUseQuery
from domain.analytics.service import COLUMNS, AnalyticsService, InvalidPeriod, period_of

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


def test_without_from_and_to_it_is_the_last_thirty_days() -> None:
    period = period_of(None, None, now=NOW)
    assert (period.since, period.until) == (NOW - timedelta(days=30), NOW)
    assert (period.first, period.last) == (date(2026, 10, 23), date(2026, 11, 22))


def test_plain_dates_mean_whole_days_in_utc() -> None:
    period = period_of(date(2026, 11, 1), date(2026, 11, 1), now=NOW)
    assert (period.since, period.until) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
    assert (period.first, period.last) == (date(2026, 11, 1), date(2026, 11, 1))


def test_moments_are_taken_as_they_are_whatever_their_zone() -> None:
    plus_two = timezone(timedelta(hours=2))
    period = period_of(datetime(2026, 11, 1, 1, tzinfo=plus_two), datetime(2026, 11, 2, tzinfo=plus_two), now=NOW)
    assert period.since == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert (period.first, period.last) == (date(2026, 10, 31), date(2026, 11, 1))


def test_a_moment_without_a_zone_is_in_utc() -> None:
    naive = datetime(2026, 11, 1, 12)  # noqa: DTZ001 - what a person may well send
    assert period_of(naive, None, now=NOW).since == datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (date(2026, 11, 3), date(2026, 11, 1)),
        (date(2024, 1, 1), date(2026, 1, 1)),
        (date(2027, 1, 1), None),
        (None, date.max),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), None),
        (None, datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))),
        (None, date.min),
        (date.min, None),
    ],
)
def test_a_period_that_is_none_or_too_long_is_refused_in_words(
    since: date | datetime | None, until: date | datetime | None
) -> None:
    with pytest.raises(InvalidPeriod) as refused:
        period_of(since, until, now=NOW)
    assert refused.value.code == "invalid_period"


def use(group: str | None, calls: int) -> ToolUse:
    return ToolUse(
        group=group,
        calls=calls,
        allowed=calls - 3,
        denied=1,
        needed_approval=1,
        no_verdict=1,
        done=calls - 3,
        waiting=1,
        not_done=2,
        p50_ms=2.5,
        p95_ms=12.0,
    )


class Figures:
    """A repository that says what it is told."""

    def __init__(self, *uses: ToolUse) -> None:
        self.uses = uses

    async def tool_use(self, query: ToolUseQuery) -> Sequence[ToolUse]:
        return self.uses


async def test_figures_table_and_chart_tell_the_same() -> None:
    service = AnalyticsService(Figures(use(None, 12), use("knowledge_search", 8), use("task_create", 4)))
    report = await service.tool_use(period_of(None, None, now=NOW), "tool")
    assert report.table.columns == ("tool", *COLUMNS)
    assert [row[:3] for row in report.table.rows] == [("knowledge_search", 8, 5), ("task_create", 4, 1)]
    assert report.chart.x == ("knowledge_search", "task_create")
    assert {series.name: series.values for series in report.chart.series} == {
        "allowed": (5, 1),
        "needed_approval": (1, 1),
        "denied": (1, 1),
        "no_verdict": (1, 1),
    }
    assert [(figure.value, figure.unit) for figure in report.headline[-2:]] == [(2.5, "ms"), (12.0, "ms")]
    assert report.summary == (
        "From 2026-10-23 to 2026-11-22: 12 tool calls, 9 done, 1 denied by policy, 1 needed approval, 1 waiting, "
        "2 ended otherwise. Latency: median 2.5 ms, 95th percentile 12 ms. "
        "Most by tool: knowledge_search 8, task_create 4."
    )
