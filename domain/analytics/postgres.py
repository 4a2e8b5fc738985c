"""Reports in SQL, over the record as the principal may read it."""

from collections.abc import Mapping, Sequence

from domain.activity.postgres import DURATION, NEWEST, OUTCOME, OWN_ONLY
from domain.analytics.model import GroupBy, ToolUse, ToolUseQuery
from domain.storage.postgres import Connection, Row, plan_anew

UNKNOWN_TOOL = "(unknown)"
"""The group of all calls of tools that there are not: a caller's invention names no row of a report."""

# Without a manifest there was no effect to record: the name is whatever the caller made up.
_GROUPS: Mapping[GroupBy, str] = {
    "tool": f"CASE WHEN o.effect IS NULL THEN '{UNKNOWN_TOOL}' ELSE o.tool END",
    "door": "o.door",
    "outcome": f"coalesce({OUTCOME}, 'under way')",
    "day": "to_char(o.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "principal": "coalesce(u.email, o.principal_id::text)",
}

_MOST_GROUPS = 500

# Calls are folded as lists fold them: opened by their first event, ended by their newest. The empty grouping set gives
# one row for the whole, also where there is no call at all; days stand in their order, all else by size.
_TOOL_USE = """
WITH calls AS (
    SELECT {group} AS grouped, o.decision, {outcome} AS outcome, {duration} AS duration_ms
    FROM activity_events o
    {newest}
    LEFT JOIN users u ON u.user_id = o.principal_id
    WHERE o.organization_id = glow.organization_id() AND o.opens
      AND o.occurred_at >= $1 AND o.occurred_at < $2
      AND ($3::uuid IS NULL OR o.engagement_id = $3)
      AND ($5::uuid IS NULL OR o.principal_id = $5)
)
SELECT grouped, count(*) AS calls,
       count(*) FILTER (WHERE decision = 'allow') AS allowed,
       count(*) FILTER (WHERE decision = 'deny') AS denied,
       count(*) FILTER (WHERE decision = 'needs_approval') AS needed_approval,
       count(*) FILTER (WHERE decision IS NULL) AS no_verdict,
       count(*) FILTER (WHERE outcome IN ('done', 'dry_run')) AS done,
       count(*) FILTER (WHERE outcome = 'waiting') AS waiting,
       count(*) FILTER (WHERE outcome NOT IN ('done', 'dry_run', 'waiting')) AS not_done,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms
FROM calls
GROUP BY GROUPING SETS ((), (grouped))
ORDER BY grouping(grouped) DESC, {order}
LIMIT $4
"""

_STATEMENTS: Mapping[GroupBy, str] = {
    group_by: _TOOL_USE.format(
        group=expression,
        order="grouped" if group_by == "day" else "calls DESC, grouped",
        outcome=OUTCOME,
        duration=DURATION,
        newest=NEWEST,
    )
    for group_by, expression in _GROUPS.items()
}


class PostgresAnalytics:
    """AnalyticsRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def tool_use(self, query: ToolUseQuery) -> Sequence[ToolUse]:
        await plan_anew(self._connection)
        rows = await self._connection.fetch(
            _STATEMENTS[query.group_by],
            query.period.since,
            query.period.until,
            query.engagement_id,
            _MOST_GROUPS + 1,
            await self._connection.fetchval(OWN_ONLY),
        )
        return [_tool_use(row) for row in rows]


def _tool_use(row: Row) -> ToolUse:
    return ToolUse(
        group=row["grouped"],
        calls=row["calls"],
        allowed=row["allowed"],
        denied=row["denied"],
        needed_approval=row["needed_approval"],
        no_verdict=row["no_verdict"],
        done=row["done"],
        waiting=row["waiting"],
        not_done=row["not_done"],
        p50_ms=_rounded(row["p50_ms"]),
        p95_ms=_rounded(row["p95_ms"]),
    )


def _rounded(value: float | None) -> float | None:
    # Microseconds are finer than anything measured here.
    return None if value is None else round(value, 3)
