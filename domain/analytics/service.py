"""Reports: counts and latency computed by the database, never by a model's head, laid out as figures, table, chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import ClassVar

from domain.analytics.model import (
    Chart,
    Figure,
    GroupBy,
    Period,
    Report,
    Series,
    Table,
    ToolUse,
    ToolUseQuery,
)
from domain.analytics.ports import AnalyticsRepository
from domain.kernel import DomainError, EngagementId

DEFAULT_DAYS = 30
MOST_DAYS = 400
MOST_NAMED = 5

COLUMNS = (
    "calls",
    "allowed",
    "denied",
    "needed_approval",
    "no_verdict",
    "done",
    "waiting",
    "not_done",
    "p50_ms",
    "p95_ms",
)


class InvalidPeriod(DomainError):
    """The period ends before it begins, or is too long."""

    code: ClassVar[str] = "invalid_period"


@dataclass(frozen=True, slots=True)
class AnalyticsService:
    """Figures over what the principal may see."""

    analytics: AnalyticsRepository

    async def tool_use(self, period: Period, group_by: GroupBy, engagement_id: EngagementId | None = None) -> Report:
        """Which tools were called, how policy decided, how they ended, and how long they took."""
        query = ToolUseQuery(period=period, group_by=group_by, engagement_id=engagement_id)
        whole, *groups = await self.analytics.tool_use(query)
        return Report(
            name="tool_use",
            group_by=group_by,
            period=period,
            summary=_summary(period, group_by, whole, groups),
            headline=_headline(whole),
            table=_table(group_by, groups),
            chart=_chart(groups),
        )


def period_of(since: date | datetime | None, until: date | datetime | None, *, now: datetime) -> Period:
    """The period asked for; a bare date means its whole day, in UTC. By default the last 30 days up to `now`.

    Raises  InvalidPeriod: it ends before it begins, or is longer than 400 days.
    """
    try:
        end = now if until is None else _end(until)
        start = end - timedelta(days=DEFAULT_DAYS) if since is None else _start(since)
    except OverflowError:
        raise InvalidPeriod("from, to: there is no such day") from None
    if start >= end:
        raise InvalidPeriod("from, to: the period ends before it begins")
    if end - start > timedelta(days=MOST_DAYS):
        raise InvalidPeriod(f"from, to: a report spans at most {MOST_DAYS} days")
    return Period(since=start, until=end, first=start.date(), last=(end - timedelta(microseconds=1)).date())


def _start(since: date | datetime) -> datetime:
    return _in_utc(since) if isinstance(since, datetime) else datetime.combine(since, time(), UTC)


def _end(until: date | datetime) -> datetime:
    if isinstance(until, datetime):
        return _in_utc(until)
    return datetime.combine(until + timedelta(days=1), time(), UTC)


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _summary(period: Period, group_by: GroupBy, whole: ToolUse, groups: Sequence[ToolUse]) -> str:
    text = (
        f"From {period.first} to {period.last}: {whole.calls} tool calls, {whole.done} done, {whole.denied} denied by "
        f"policy, {whole.needed_approval} needed approval, {whole.waiting} waiting, {whole.not_done} ended otherwise."
    )
    if whole.p50_ms is not None and whole.p95_ms is not None:
        text += f" Latency: median {whole.p50_ms:g} ms, 95th percentile {whole.p95_ms:g} ms."
    if groups:
        most = sorted(groups, key=lambda group: -group.calls)[:MOST_NAMED]
        text += f" Most by {group_by}: {', '.join(f'{group.group} {group.calls}' for group in most)}."
    return text


def _headline(whole: ToolUse) -> tuple[Figure, ...]:
    return (
        Figure(label="Calls", value=whole.calls),
        Figure(label="Done", value=whole.done),
        Figure(label="Denied by policy", value=whole.denied),
        Figure(label="Needed approval", value=whole.needed_approval),
        Figure(label="Waiting now", value=whole.waiting),
        Figure(label="Ended otherwise", value=whole.not_done),
        Figure(label="Median latency", value=whole.p50_ms, unit="ms"),
        Figure(label="95th percentile latency", value=whole.p95_ms, unit="ms"),
    )


def _table(group_by: GroupBy, groups: Sequence[ToolUse]) -> Table:
    return Table(columns=(group_by, *COLUMNS), rows=tuple(_row(group) for group in groups))


def _row(use: ToolUse) -> tuple[str | int | float | None, ...]:
    return (
        use.group,
        use.calls,
        use.allowed,
        use.denied,
        use.needed_approval,
        use.no_verdict,
        use.done,
        use.waiting,
        use.not_done,
        use.p50_ms,
        use.p95_ms,
    )


def _chart(groups: Sequence[ToolUse]) -> Chart:
    return Chart(
        x=tuple(group.group or "" for group in groups),
        series=(
            Series(name="allowed", values=tuple(group.allowed for group in groups)),
            Series(name="needed_approval", values=tuple(group.needed_approval for group in groups)),
            Series(name="denied", values=tuple(group.denied for group in groups)),
            Series(name="no_verdict", values=tuple(group.no_verdict for group in groups)),
        ),
    )
