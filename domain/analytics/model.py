"""What a report asks for and what it says: headline figures, a table, and a chart as data."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from domain.kernel import EngagementId

ReportName = Literal["tool_use"]
GroupBy = Literal["tool", "door", "outcome", "day", "principal"]
Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From a moment, included, to another, excluded; as dates, both days included, in UTC."""

    since: datetime
    until: datetime
    first: date
    last: date


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUseQuery:
    """Calls of a period that the principal may see, grouped."""

    period: Period
    group_by: GroupBy
    engagement_id: EngagementId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """Counts and latency of one group of calls; of all, where `group` is None."""

    group: str | None
    calls: int
    allowed: int
    denied: int
    needed_approval: int
    no_verdict: int
    """The tool was unknown or the arguments could not be read."""
    done: int
    waiting: int
    not_done: int
    """Ended otherwise: refused, invalid, failed, cancelled, expired or rejected."""
    p50_ms: float | None
    p95_ms: float | None


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
    values: tuple[float | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A bar chart as data: `x` are the bars, each series one stack of them."""

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
