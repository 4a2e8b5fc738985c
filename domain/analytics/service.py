"""Reports: figures computed by the database, never by a model's head, laid out as headline, table and chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import ClassVar

from domain.analytics.layouts import GROUP_LABELS, LAYOUTS, MONEY, Layout
from domain.analytics.model import (
    Chart,
    Figure,
    GroupBy,
    Measured,
    Number,
    Period,
    Price,
    Report,
    ReportName,
    ReportQuery,
    Series,
    Table,
)
from domain.analytics.ports import AnalyticsRepository
from domain.kernel import DomainError, EngagementId
from domain.moments import beginning_of, end_of

DEFAULT_DAYS = 30
MOST_DAYS = 400
MOST_NAMED = 5
NO_PRICES: Mapping[str, Price] = {}


class InvalidPeriod(DomainError):
    """The period ends before it begins, or is too long."""

    code: ClassVar[str] = "invalid_period"


class InvalidGrouping(DomainError):
    """The report cannot be grouped so."""

    code: ClassVar[str] = "invalid_group_by"

    def __init__(self, report: ReportName, groups: tuple[GroupBy, ...]) -> None:
        super().__init__(f"group_by: {report} is grouped by one of {', '.join(groups)}")


@dataclass(frozen=True, slots=True)
class AnalyticsService:
    """Figures over what the principal may see."""

    analytics: AnalyticsRepository
    prices: Mapping[str, Price] = field(default_factory=lambda: NO_PRICES)

    async def report(
        self,
        name: ReportName,
        period: Period,
        group_by: GroupBy | None = None,
        engagement_id: EngagementId | None = None,
    ) -> Report:
        """One of the reports; without `group_by` by what it is grouped by as a rule.

        Raises  InvalidGrouping.
        """
        layout = LAYOUTS[name]
        grouping = group_by or layout.groups[0]
        if grouping not in layout.groups:
            raise InvalidGrouping(name, layout.groups)
        query = ReportQuery(
            report=name, period=period, group_by=grouping, engagement_id=engagement_id, prices=self.prices
        )
        whole, *groups = await self.analytics.measured(query)
        return Report(
            name=name,
            group_by=grouping,
            period=period,
            summary=_summary(layout, query, whole, groups),
            headline=_headline(layout, whole),
            table=_table(layout, grouping, groups),
            chart=_chart(layout, query, groups),
        )


def period_of(since: date | datetime | None, until: date | datetime | None, *, now: datetime) -> Period:
    """The period asked for; a bare date means its whole day, in UTC. By default the last 30 days up to `now`.

    Raises  InvalidPeriod: it ends before it begins, or is longer than 400 days.
    """
    try:
        end = now if until is None else end_of(until)
        start = end - timedelta(days=DEFAULT_DAYS) if since is None else beginning_of(since)
    except OverflowError:
        raise InvalidPeriod("from, to: there is no such day") from None
    if start >= end:
        raise InvalidPeriod("from, to: the period ends before it begins")
    if end - start > timedelta(days=MOST_DAYS):
        raise InvalidPeriod(f"from, to: a report spans at most {MOST_DAYS} days")
    return Period(since=start, until=end, first=start.date(), last=(end - timedelta(microseconds=1)).date())


def _summary(layout: Layout, query: ReportQuery, whole: Measured, groups: Sequence[Measured]) -> str:
    measures = [layout.measure(name) for name in layout.headline]
    counted = [
        f"{_said(whole.values[each.name])} {each.words}"
        for each in measures
        if each.name not in MONEY and each.additive
    ]
    stated = [
        f"{each.label}: {_said(value)}{f' {each.unit}' if each.unit else ''}."
        for each in measures
        if not each.additive and (value := whole.values[each.name]) is not None
    ]
    sentences = [f"From {query.period.first} to {query.period.last}: {', '.join(counted)}.", *stated]
    if query.report == "cost":
        sentences += [_cost_words(whole, query), *_call_cost_words(whole)]
    if groups:
        first = layout.measures[0].name
        most = sorted(groups, key=lambda group: -(group.values[first] or 0))[:MOST_NAMED]
        named = ", ".join(f"{group.group} {_said(group.values[first])}" for group in most)
        sentences.append(f"Most by {query.group_by.replace('_', ' ')}: {named}.")
    return " ".join(sentences)


def _cost_words(whole: Measured, query: ReportQuery) -> str:
    """Money is stated only where every token is known and has a price."""
    cost = whole.values["cost"]
    if not query.prices and not cost:
        return "No cost is stated: there is no price list."
    if whole.values["unknown_runs"]:
        return f"No cost is stated: what {_said(whole.values['unknown_runs'])} of the runs used is not known."
    if cost is None:
        return "No cost is stated: the price list does not name every model that was used."
    return f"Cost: {_said(cost)} US dollars, at the prices when it was used, or today's where there were none."


def _call_cost_words(whole: Measured) -> Sequence[str]:
    """What calls of tools asked of models by themselves is stated apart: it is no part of what runs cost."""
    unknown, cost = whole.values["unknown_calls"], whole.values["call_cost"]
    if unknown:
        return (f"Beside, tool calls asked models themselves; what {_said(unknown)} of them cost is not known.",)
    return (f"Beside, tool calls asked models themselves for {_said(cost)} US dollars.",) if cost else ()


def _said(value: Number | None) -> str:
    return "no" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _headline(layout: Layout, whole: Measured) -> tuple[Figure, ...]:
    measures = (layout.measure(name) for name in layout.headline)
    return tuple(Figure(label=each.label, value=whole.values[each.name], unit=each.unit) for each in measures)


def _table(layout: Layout, group_by: GroupBy, groups: Sequence[Measured]) -> Table:
    names = tuple(measure.name for measure in layout.measures)
    rows = tuple((group.group, *(group.values[name] for name in names)) for group in groups)
    return Table(columns=(group_by, *names), rows=rows)


def _chart(layout: Layout, query: ReportQuery, groups: Sequence[Measured]) -> Chart:
    return Chart(
        title=f"{layout.title}, {query.period.first} to {query.period.last}",
        x_label=GROUP_LABELS[query.group_by],
        y_label=layout.counts,
        stacked=layout.stacked,
        x=tuple(group.group or "" for group in groups),
        series=tuple(
            Series(
                name=name,
                label=layout.measure(name).label,
                values=tuple(group.values[name] or 0 for group in groups),
            )
            for name in layout.charted
        ),
    )
