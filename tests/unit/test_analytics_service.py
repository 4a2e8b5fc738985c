"""A report's period, and its figures laid out."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import get_args

import pytest

from domain.analytics.layouts import GROUP_LABELS, LAYOUTS
from domain.analytics.model import GroupBy, Measured, Price, ReportName, ReportQuery
from domain.analytics.service import AnalyticsService, InvalidGrouping, InvalidPeriod, period_of

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


def measured(group: str | None, calls: int) -> Measured:
    """A group of calls, of which three did not go well."""
    given: dict[str, int | float | None] = {"allowed": calls - 3, "done": calls - 3, "p50_ms": 2.5, "p95_ms": 12.0}
    ones = dict.fromkeys(("denied", "needed_approval", "no_verdict", "waiting"), 1)
    return Measured(group=group, values={"calls": calls, "not_done": 2, "previewed": 0, **ones, **given})


class Figures:
    """A repository that says what it is told."""

    def __init__(self, *told: Measured) -> None:
        self.told = told
        self.asked: list[ReportQuery] = []

    async def measured(self, query: ReportQuery) -> Sequence[Measured]:
        self.asked.append(query)
        return self.told


async def test_figures_table_and_chart_tell_the_same() -> None:
    service = AnalyticsService(Figures(measured(None, 12), measured("knowledge_search", 8), measured("task_create", 4)))
    report = await service.report("tool_use", period_of(None, None, now=NOW))
    assert report.table.columns == ("tool", *(measure.name for measure in LAYOUTS["tool_use"].measures))
    assert [row[:3] for row in report.table.rows] == [("knowledge_search", 8, 5), ("task_create", 4, 1)]
    assert report.chart.x == ("knowledge_search", "task_create")
    assert {series.name: series.values for series in report.chart.series} == {
        "allowed": (5, 1),
        "needed_approval": (1, 1),
        "denied": (1, 1),
        "no_verdict": (1, 1),
    }
    assert report.chart.title == "Use of tools, 2026-10-23 to 2026-11-22"
    assert [(figure.value, figure.unit) for figure in report.headline[-2:]] == [(2.5, "ms"), (12.0, "ms")]
    assert report.summary == (
        "From 2026-10-23 to 2026-11-22: 12 tool calls, 9 done, 1 denied by policy, 1 needed approval, 1 waiting, "
        "2 ended otherwise. Median latency: 2.5 ms. 95th percentile latency: 12 ms. "
        "Most by tool: knowledge_search 8, task_create 4."
    )


@pytest.mark.parametrize("name", LAYOUTS)
async def test_a_report_is_grouped_by_what_it_can_be_and_nothing_else(name: ReportName) -> None:
    layout = LAYOUTS[name]
    figures = Figures(Measured(group=None, values={measure.name: 0 for measure in layout.measures}))
    service = AnalyticsService(figures)
    for group_by in get_args(GroupBy):
        if group_by in layout.groups:
            report = await service.report(name, period_of(None, None, now=NOW), group_by)
            assert (report.group_by, report.table.columns[0]) == (group_by, group_by)
        else:
            with pytest.raises(InvalidGrouping, match=layout.groups[0]):
                await service.report(name, period_of(None, None, now=NOW), group_by)
    assert (await service.report(name, period_of(None, None, now=NOW))).group_by == layout.groups[0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_shows_only_measures_that_it_has(name: ReportName) -> None:
    layout = LAYOUTS[name]
    names = [measure.name for measure in layout.measures]
    assert len(set(names)) == len(names)
    assert {*layout.headline, *layout.charted} <= set(names)
    assert set(layout.groups) <= set(GROUP_LABELS)
    assert all(layout.measure(charted).additive for charted in layout.charted)


async def test_no_cost_is_stated_while_a_model_has_no_price() -> None:
    layout = LAYOUTS["cost"]
    unpriced = {**{measure.name: 7 for measure in layout.measures}, "cost": None, "unknown_runs": 0}
    figures = Figures(Measured(group=None, values=unpriced))
    for prices, why in (
        ({}, "there is no price list"),
        ({"gpt": Price(input=1, output=2)}, "does not name every model"),
    ):
        report = await AnalyticsService(figures, prices).report("cost", period_of(None, None, now=NOW))
        assert "No cost is stated" in report.summary
        assert why in report.summary
    assert {figure.label: figure.value for figure in report.headline}["Cost"] is None
    lost = Figures(Measured(group=None, values={**unpriced, "unknown_runs": 2}))
    report = await AnalyticsService(lost, {"gpt": Price(input=1, output=2)}).report(
        "cost", period_of(None, None, now=NOW)
    )
    assert "No cost is stated: what 2 of the runs used is not known." in report.summary
