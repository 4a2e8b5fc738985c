"""Reports in SQL: one statement each, over what the principal may read, however large the organization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from domain.activity.postgres import DURATION, NEWEST, OUTCOME, OWN_ONLY
from domain.analytics.layouts import LAYOUTS, MONEY, TIMES
from domain.analytics.model import GroupBy, Measured, Number, ReportName, ReportQuery
from domain.storage.postgres import Connection, Row

UNKNOWN_TOOL = "(unknown)"
"""The group of all calls of tools that there are not: a caller's invention names no row of a report."""
OTHER = "(other)"
"""The group of all groups beyond the most that a table holds: the rows add up to the whole all the same."""
MOST_GROUPS = 500
OF_TOOL_CALLS = "(tool calls)"
"""In the place of model and agent, where calls of tools asked models by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a report's facts come from, grouped by `{group}`; `{calls}` and `{runs}` are the same of calls and of
    runs that stand beside them.

    `{engagements}`: all of them, as they are `shown`, so that no two are shown alike.
    """

    facts: str
    groups: Mapping[GroupBy, str]
    measures: Mapping[str, str]
    own_only: bool = False
    """$5 narrows it to one's own, where row security does: named like this it is an index's key."""
    prices: bool = False
    """$5 is the price list."""


def _times(moment: str) -> dict[GroupBy, str]:
    utc = f"{moment} AT TIME ZONE 'UTC'"
    return {
        "day": f"to_char({utc}, 'YYYY-MM-DD')",
        "week": f"to_char({utc}, 'IYYY-\"W\"IW')",
        "month": f"to_char({utc}, 'YYYY-MM')",
    }


def _person(user: str, otherwise: str) -> str:
    return f"coalesce({user}.email, {otherwise})"


_ENGAGEMENT = "coalesce(g.shown, '(none)')"
# A name alone is not one engagement's: every client has its annual audit, and nothing keeps a client from having two.
_ENGAGEMENTS = """(
    SELECT organization_id, engagement_id, said || CASE WHEN namesakes > 1 THEN ' (' || engagement_id || ')' ELSE '' END
               AS shown
    FROM (SELECT organization_id, engagement_id, name || ', ' || client_name AS said,
                 count(*) OVER (PARTITION BY name || ', ' || client_name) AS namesakes
          FROM engagements WHERE organization_id = glow.organization_id()) named)"""

# Calls are folded as lists fold them: opened by their first event, ended by their newest. Without a manifest there was
# no effect to record: the tool's name is whatever the caller made up.
_CALLS = f"""
SELECT {{group}} AS grouped, o.tool, o.mode, o.attended, o.effect, o.principal_id, o.conversation_id, o.decision,
       {OUTCOME} AS outcome, {DURATION} AS duration_ms
FROM activity_events o
{NEWEST}
LEFT JOIN users u ON u.user_id = o.principal_id
LEFT JOIN {{engagements}} g ON g.organization_id = o.organization_id AND g.engagement_id = o.engagement_id
WHERE o.organization_id = glow.organization_id() AND o.opens
  AND o.occurred_at >= $1 AND o.occurred_at < $2
  AND ($3::uuid IS NULL OR o.engagement_id = $3)
  AND ($5::uuid IS NULL OR o.principal_id = $5)
"""
_CALL_GROUPS: dict[GroupBy, str] = {
    "tool": f"CASE WHEN o.effect IS NULL THEN '{UNKNOWN_TOOL}' ELSE o.tool END",
    "door": "o.door",
    "outcome": f"coalesce({OUTCOME}, 'under way')",
    "principal": _person("u", "o.principal_id::text"),
    "mode": "o.mode",
    "role": "coalesce(o.role, '(none)')",
    "engagement": _ENGAGEMENT,
    **_times("o.occurred_at"),
}

_TASKS = """
SELECT {group} AS grouped, t.status, t.due_on, r.runs, r.completed, r.failed
FROM tasks t
LEFT JOIN users a ON a.user_id = t.assignee_id
LEFT JOIN users c ON c.user_id = t.created_by
LEFT JOIN {engagements} g ON g.organization_id = t.organization_id AND g.engagement_id = t.engagement_id
CROSS JOIN LATERAL (
    SELECT count(*) AS runs, count(*) FILTER (WHERE p.status = 'completed') AS completed,
           count(*) FILTER (WHERE p.status = 'failed') AS failed
    FROM task_runs r LEFT JOIN task_run_progress p USING (organization_id, task_run_id)
    WHERE r.organization_id = t.organization_id AND r.task_id = t.task_id) r
WHERE t.organization_id = glow.organization_id() AND t.created_at >= $1 AND t.created_at < $2
  AND ($3::uuid IS NULL OR t.engagement_id = $3)
"""

# A question nobody answered in time is expired, whether or not anything has noticed yet. Whoever cancels a run takes
# its questions back, which answers none of them: there is no decision, and nobody who made it.
_APPROVALS = """
SELECT {group} AS grouped, a.*
FROM (
    SELECT CASE WHEN state = 'pending' AND expires_at <= now() THEN 'expired'
                WHEN state IN ('approved', 'executing', 'executed') THEN 'approved' ELSE state END AS shown_state,
           tool, requested_by, needs_role, four_eyes, created_at, organization_id, engagement_id,
           CASE WHEN state NOT IN ('pending', 'expired', 'cancelled') THEN decided_by END AS decided_by,
           CASE WHEN state NOT IN ('pending', 'expired', 'cancelled')
                THEN extract(epoch FROM decided_at - created_at)::double precision / 3600 END AS hours
    FROM approvals
    WHERE organization_id = glow.organization_id() AND created_at >= $1 AND created_at < $2
      AND ($3::uuid IS NULL OR engagement_id = $3)) a
LEFT JOIN users u ON u.user_id = a.requested_by
LEFT JOIN users d ON d.user_id = a.decided_by
LEFT JOIN {engagements} g ON g.organization_id = a.organization_id AND g.engagement_id = a.engagement_id
"""

_READS = "('knowledge_search', 'knowledge_read', 'document_content')"
_KNOWLEDGE = f"""
SELECT {{group}} AS grouped, 'document' AS what, k.status, k.size_bytes, k.token_count::bigint AS token_count,
       0::bigint AS failed_citations
FROM knowledge_documents k
LEFT JOIN users u ON u.user_id = k.uploaded_by
LEFT JOIN {{engagements}} g ON g.organization_id = k.organization_id AND g.engagement_id = k.engagement_id
WHERE k.organization_id = glow.organization_id() AND k.deleted_at IS NULL
  AND k.created_at >= $1 AND k.created_at < $2 AND ($3::uuid IS NULL OR k.engagement_id = $3)
UNION ALL
SELECT {{calls}}, CASE o.tool WHEN 'knowledge_search' THEN 'search' ELSE 'read' END, NULL, 0, 0, 0
FROM activity_events o
LEFT JOIN users u ON u.user_id = o.principal_id
LEFT JOIN {{engagements}} g ON g.organization_id = o.organization_id AND g.engagement_id = o.engagement_id
WHERE o.organization_id = glow.organization_id() AND o.opens AND o.outcome = 'done' AND o.tool IN {_READS}
  AND o.occurred_at >= $1 AND o.occurred_at < $2
  AND ($3::uuid IS NULL OR o.engagement_id = $3)
  AND ($5::uuid IS NULL OR o.principal_id = $5)
UNION ALL
SELECT {{runs}}, 'answer', NULL, 0, 0, (r.usage::jsonb ->> 'failed_citations')::bigint
FROM glow.run_usage($1, $2) r
LEFT JOIN users u ON u.user_id = r.owner_id
LEFT JOIN {{engagements}} g ON g.organization_id = glow.organization_id() AND g.engagement_id = r.engagement_id
WHERE r.usage::jsonb ? 'failed_citations' AND ($3::uuid IS NULL OR r.engagement_id = $3)
"""

_ASK_MODELS = "('knowledge_search', 'document_embed')"
# Prices are per million tokens; a run without tokens costs nothing whether or not its model has a price. Without any
# price list no cost is known, not even that of nothing. A run in which one model handed over to another stands once for
# each of them; it and its tool calls are counted with the one that it began by. What a run cost that was lost with its
# process is not known, however much it had kept. What calls of tools asked of models themselves stands beside, by each
# call's own events, and is no part of a run's: it was recorded at the price of the moment, or nobody knows it.
_COST = f"""
SELECT {{group}} AS grouped, used.*, CASE WHEN used.unknown THEN NULL
    -- What was recorded holds; only of what had no price then, today's is taken.
    WHEN used.recorded IS NOT NULL THEN used.recorded
    WHEN $5::jsonb = '{{{{}}}}' THEN NULL
    WHEN used.input_tokens + used.output_tokens = 0 THEN 0
    ELSE ((used.input_tokens - used.cached_tokens) * (p.price ->> 'input')::numeric
          + used.cached_tokens * coalesce(p.price ->> 'cached_input', p.price ->> 'input')::numeric
          + used.output_tokens * (p.price ->> 'output')::numeric) / 1000000 END AS cost
FROM (
    SELECT r.owner_id, r.engagement_id, r.agent, r.door, r.created_at, part.model,
           coalesce(r.status = 'failed' AND (r.usage IS NULL OR r.usage::jsonb ? 'partial')
                    OR r.usage::jsonb ? 'untold_calls', false) AS unknown,
           (part.usage ->> 'cost_usd')::numeric AS recorded,
           (part.model = r.model)::int AS runs,
           coalesce((part.usage ->> 'input_tokens')::bigint, 0) AS input_tokens,
           coalesce((part.usage ->> 'cached_tokens')::bigint, 0) AS cached_tokens,
           coalesce((part.usage ->> 'output_tokens')::bigint, 0) AS output_tokens,
           coalesce((part.usage ->> 'model_calls')::bigint, 0) AS model_calls,
           CASE WHEN part.model = r.model THEN coalesce((r.usage::jsonb ->> 'tool_calls')::bigint, 0) ELSE 0 END
               AS tool_calls,
           0 AS call_micros, false AS unknown_call
    FROM glow.run_usage($1, $2) r
    CROSS JOIN LATERAL (
        SELECT r.model, r.usage::jsonb AS usage WHERE r.usage::jsonb -> 'by_model' IS NULL
        UNION ALL
        SELECT spoke.key, spoke.value FROM jsonb_each(r.usage::jsonb -> 'by_model') spoke) part
    UNION ALL
    SELECT o.principal_id, o.engagement_id, '{OF_TOOL_CALLS}', o.door, o.occurred_at, '{OF_TOOL_CALLS}', false,
           0, 0, 0, 0, 0, 0, 0, c.micros, c.unknown AND o.tool IN {_ASK_MODELS}
    FROM activity_events o
    CROSS JOIN LATERAL (
        SELECT o.cost_micros AS micros, o.cost_micros IS NULL AS unknown
        WHERE o.kind NOT IN ('tool.allowed', 'tool.waiting')
        UNION ALL
        SELECT sum(e.cost_micros), bool_or(e.cost_micros IS NULL AND e.kind <> 'tool.allowed')
        FROM activity_events e
        WHERE o.kind IN ('tool.allowed', 'tool.waiting')
          AND e.organization_id = o.organization_id AND e.call_id = o.call_id) c
    WHERE o.organization_id = glow.organization_id() AND o.opens AND o.occurred_at >= $1 AND o.occurred_at < $2
      AND (c.micros > 0 OR c.unknown AND o.tool IN {_ASK_MODELS})) used
CROSS JOIN LATERAL (SELECT $5::jsonb -> used.model AS price) p
LEFT JOIN users u ON u.user_id = used.owner_id
LEFT JOIN {{engagements}} g ON g.organization_id = glow.organization_id() AND g.engagement_id = used.engagement_id
WHERE $3::uuid IS NULL OR used.engagement_id = $3
"""

# Row level security shows one's own, and the organization's to those who read its record.
_FEEDBACK = """
SELECT {group} AS grouped, f.rating, f.comment
FROM feedback f
LEFT JOIN users u ON u.user_id = f.given_by
LEFT JOIN {engagements} g ON g.organization_id = f.organization_id AND g.engagement_id = f.engagement_id
WHERE f.organization_id = glow.organization_id() AND f.given_at >= $1 AND f.given_at < $2
  AND ($3::uuid IS NULL OR f.engagement_id = $3)
"""


def _those(condition: str) -> str:
    return f"count(*) FILTER (WHERE {condition})"


def _percentile(share: float, value: str) -> str:
    return f"percentile_cont({share}) WITHIN GROUP (ORDER BY {value})"


_SOURCES: Mapping[ReportName, Source] = {
    "activity": Source(
        facts=_CALLS,
        groups=_CALL_GROUPS,
        measures={
            "calls": "count(*)",
            "by_person": _those("mode = 'person'"),
            "by_agent": _those("mode = 'agent' AND attended"),
            "unattended": _those("mode = 'agent' AND NOT attended"),
            "changes": _those("effect <> 'read' AND outcome = 'done'"),
            "refused": _those("outcome IN ('denied', 'rejected')"),
            "principals": "count(DISTINCT principal_id)",
            "conversations": "count(DISTINCT conversation_id)",
        },
        own_only=True,
    ),
    "tool_use": Source(
        facts=_CALLS,
        groups=_CALL_GROUPS,
        measures={
            "calls": "count(*)",
            "allowed": _those("decision = 'allow'"),
            "denied": _those("decision = 'deny'"),
            "needed_approval": _those("decision = 'needs_approval'"),
            "no_verdict": _those("decision IS NULL"),
            "done": _those("outcome = 'done'"),
            "previewed": _those("outcome = 'dry_run'"),
            "waiting": _those("outcome = 'waiting'"),
            "not_done": _those("outcome NOT IN ('done', 'dry_run', 'waiting')"),
            "p50_ms": _percentile(0.5, "duration_ms"),
            "p95_ms": _percentile(0.95, "duration_ms"),
        },
        own_only=True,
    ),
    "tasks": Source(
        facts=_TASKS,
        groups={
            "status": "t.status",
            "kind": "coalesce(t.kind, '(for people)')",
            "assignee": _person("a", "'(nobody)'"),
            "principal": _person("c", "t.created_by::text"),
            "engagement": _ENGAGEMENT,
            **_times("t.created_at"),
        },
        measures={
            "tasks": "count(*)",
            **{status: _those(f"status = '{status}'") for status in ("open", "in_progress", "done", "cancelled")},
            "overdue": _those("status IN ('open', 'in_progress') AND due_on < (now() AT TIME ZONE 'UTC')::date"),
            "runs": "coalesce(sum(runs), 0)::bigint",
            "runs_completed": "coalesce(sum(completed), 0)::bigint",
            "runs_failed": "coalesce(sum(failed), 0)::bigint",
        },
    ),
    "approvals": Source(
        facts=_APPROVALS,
        groups={
            "state": "a.shown_state",
            "tool": "a.tool",
            "principal": _person("u", "a.requested_by::text"),
            "decided_by": _person("d", "coalesce(a.decided_by::text, '(nobody)')"),
            "needs_role": "a.needs_role",
            "engagement": _ENGAGEMENT,
            **_times("a.created_at"),
        },
        measures={
            "asked": "count(*)",
            **{
                state: _those(f"shown_state = '{state}'")
                for state in ("pending", "approved", "rejected", "expired", "cancelled", "failed")
            },
            "four_eyes": _those("four_eyes"),
            "p50_hours": _percentile(0.5, "hours"),
            "p95_hours": _percentile(0.95, "hours"),
        },
    ),
    "knowledge": Source(
        facts=_KNOWLEDGE,
        groups={
            "engagement": _ENGAGEMENT,
            "principal": _person("u", "k.uploaded_by::text"),
            "media_type": "k.media_type",
            **_times("k.created_at"),
        },
        measures={
            "events": _those("what <> 'answer'"),
            "documents": _those("what = 'document'"),
            "ready": _those("status = 'ready'"),
            "unfinished": _those("status IN ('queued', 'parsing', 'embedding')"),
            "failed": _those("status = 'failed'"),
            "size_bytes": "coalesce(sum(size_bytes), 0)::bigint",
            "tokens": "coalesce(sum(token_count), 0)::bigint",
            "searches": _those("what = 'search'"),
            "reads": _those("what = 'read'"),
            "failed_citations": "coalesce(sum(failed_citations), 0)::bigint",
        },
        own_only=True,
    ),
    "cost": Source(
        facts=_COST,
        groups={
            "model": "used.model",
            "agent": "used.agent",
            "principal": _person("u", "used.owner_id::text"),
            "door": "used.door",
            "engagement": _ENGAGEMENT,
            **_times("used.created_at"),
        },
        measures={
            "tokens": "coalesce(sum(input_tokens + output_tokens), 0)::bigint",
            "input_tokens": "coalesce(sum(input_tokens), 0)::bigint",
            "cached_tokens": "coalesce(sum(cached_tokens), 0)::bigint",
            "output_tokens": "coalesce(sum(output_tokens), 0)::bigint",
            "runs": "coalesce(sum(runs), 0)::bigint",
            "model_calls": "coalesce(sum(model_calls), 0)::bigint",
            "tool_calls": "coalesce(sum(tool_calls), 0)::bigint",
            "unpriced_tokens": "coalesce(sum(input_tokens + output_tokens) FILTER (WHERE cost IS NULL), 0)::bigint",
            "unknown_runs": _those("unknown"),
            "cost": "CASE WHEN count(*) = count(cost) THEN round(coalesce(sum(cost), 0), 6)::double precision END",
            "unknown_calls": _those("unknown_call"),
            "call_cost": "CASE WHEN NOT coalesce(bool_or(unknown_call), false)"
            " THEN round(coalesce(sum(call_micros), 0) / 1000000, 6)::double precision END",
        },
        prices=True,
    ),
    "feedback": Source(
        facts=_FEEDBACK,
        groups={
            "agent": "f.agent",
            "model": "f.model",
            "principal": _person("u", "f.given_by::text"),
            "engagement": _ENGAGEMENT,
            **_times("f.given_at"),
        },
        measures={
            "rated": "count(*)",
            "up": _those("rating = 'up'"),
            "down": _those("rating = 'down'"),
            "comments": _those("comment <> ''"),
        },
    ),
}
_RUNS_BESIDE: Mapping[GroupBy, str] = {
    "engagement": _ENGAGEMENT,
    "principal": _person("u", "r.owner_id::text"),
    "media_type": "'(answers)'",
    **_times("r.created_at"),
}
_CALLS_BESIDE: Mapping[GroupBy, str] = {**_CALL_GROUPS, "media_type": "'(searches and reads)'"}

# The empty grouping set gives one row for the whole, also where there is nothing at all. Times stand in their order,
# all else by size; what is beyond the most groups is one more, so that the rows always add up.
_REPORT = """
WITH facts AS MATERIALIZED ({facts}),
ranked AS (
    SELECT grouped, row_number() OVER (ORDER BY {by_size}) AS place, count(*) OVER () AS places
    FROM facts GROUP BY grouped
), kept AS (
    SELECT f.*, CASE WHEN r.places <= $4 OR r.place < $4 THEN f.grouped ELSE '{other}' END AS shown
    FROM facts f JOIN ranked r ON r.grouped = f.grouped
)
SELECT shown, {measures}
FROM kept GROUP BY GROUPING SETS ((), (shown))
ORDER BY grouping(shown) DESC, coalesce(shown = '{other}', false), {order}
"""


def _statement(report: ReportName, group_by: GroupBy) -> str:
    source = _SOURCES[report]
    beside = _CALLS_BESIDE.get(group_by, "")
    facts = source.facts.format(
        group=source.groups[group_by], calls=beside, runs=_RUNS_BESIDE.get(group_by, ""), engagements=_ENGAGEMENTS
    )
    size = source.measures[LAYOUTS[report].measures[0].name]
    in_time = group_by in TIMES
    return _REPORT.format(
        facts=facts,
        other=OTHER,
        by_size="grouped" if in_time else f"{size} DESC, grouped",
        measures=", ".join(f"{expression} AS {name}" for name, expression in source.measures.items()),
        order="shown" if in_time else f"{size} DESC, shown",
    )


_STATEMENTS: Mapping[tuple[ReportName, GroupBy], str] = {
    (report, group_by): _statement(report, group_by) for report, layout in LAYOUTS.items() for group_by in layout.groups
}


class PostgresAnalytics:
    """AnalyticsRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def measured(self, query: ReportQuery) -> Sequence[Measured]:
        """First the whole, then each group."""
        period = query.period
        more = await self._more(_SOURCES[query.report], query)
        rows = await self._connection.fetch(
            _STATEMENTS[query.report, query.group_by],
            period.since,
            period.until,
            query.engagement_id,
            MOST_GROUPS,
            *more,
        )
        names = [measure.name for measure in LAYOUTS[query.report].measures]
        return [Measured(group=row["shown"], values={name: _number(row, name) for name in names}) for row in rows]

    async def _more(self, source: Source, query: ReportQuery) -> Sequence[object]:
        if source.own_only:
            return (await self._connection.fetchval(OWN_ONLY),)
        return (orjson.dumps(query.prices).decode(),) if source.prices else ()


def _number(row: Row, name: str) -> Number | None:
    value: Number | None = row[name]
    # Microseconds are finer than anything measured here, and millionths than any price.
    return round(value, 6 if name in MONEY else 3) if isinstance(value, float) else value
