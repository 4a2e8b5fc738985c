"""What a report asks for and what it says: headline figures, a table, and a chart as data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from domain.kernel import EngagementId

ReportName = Literal["activity", "tasks", "tool_use", "approvals", "knowledge", "cost", "feedback"]
GroupBy = Literal[
    "tool",
    "door",
    "outcome",
    "day",
    "week",
    "month",
    "principal",
    "mode",
    "role",
    "engagement",
    "status",
    "kind",
    "assignee",
    "state",
    "decided_by",
    "needs_role",
    "media_type",
    "model",
    "agent",
]
Number = int | float
Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model's tokens cost, per million, in US dollars."""

    input: float
    output: float
    cached_input: float | None = None
    """Of what a provider remembered; None: no less than the rest of the input."""

    def micros(self, read: int, written: int = 0, cached: int = 0) -> int:
        """What so many tokens cost, in millionths of a dollar; `cached` are some of those that were read.

        Upwards to a whole one, so that nothing that was paid for is recorded as free.
        """
        of_cached = self.input if self.cached_input is None else self.cached_input
        tokens = ((read - cached, self.input), (cached, of_cached), (written, self.output))
        return math.ceil(sum(count * Decimal(str(price)) for count, price in tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From a moment, included, to another, excluded; as dates, both days included, in UTC."""

    since: datetime
    until: datetime
    first: date
    last: date


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """What a report is of; never more than the principal may see."""

    report: ReportName
    period: Period
    group_by: GroupBy
    engagement_id: EngagementId | None = None
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    """By model; without a model's price its tokens are counted and no cost is stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The measures of one group; of the whole, where `group` is None."""

    group: str | None
    values: Mapping[str, Number | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One headline figure."""

    label: str
    value: float | int | None
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    name: str
    label: str
    values: tuple[float | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A bar chart as data: `x` are the bars, each series a part of them, on one another or side by side."""

    title: str
    x_label: str
    y_label: str
    stacked: bool
    x: tuple[str, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report says of a period."""

    name: ReportName
    group_by: GroupBy
    period: Period
    summary: str
    """The figures in words, for whoever reads no table."""
    headline: tuple[Figure, ...]
    table: Table
    chart: Chart
