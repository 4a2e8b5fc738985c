"""The record in SQL: events in by one statement, calls out folded from their events."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

import orjson

from domain.activity.model import (
    ActivityCall,
    ActivityEvent,
    ActivityItem,
    ActivityQuery,
    ActivityStep,
    EventKind,
    RecordedVerdict,
    Span,
)
from domain.kernel import (
    ApprovalId,
    CallId,
    ConversationId,
    Decision,
    Door,
    EventId,
    Mode,
    Outcome,
    Role,
    RunId,
    TaskRunId,
)
from domain.paging import Position
from domain.storage.postgres import Connection, Row
from domain.taint import NOTHING, Taint, parse_taint

_WORDS_APART = "\x1f"
"""Between the words of a list on its way into the database: unnest() would flatten an array of arrays."""

_TAINT_OF = "SELECT coalesce(glow.call_taint($1), '{}')::text"
_TAINT_OF_TURN = "SELECT glow.turn_taint(jsonb_build_object('door', $1::text, 'conversation_id', $2::uuid))::text"

# Each column, its type, and where an event has it; the payload's come last.
_COLUMNS: tuple[tuple[str, str, Callable[[ActivityEvent], object]], ...] = (
    ("organization_id", "uuid", lambda e: e.organization_id),
    ("event_id", "uuid", lambda e: e.event_id),
    ("kind", "text", lambda e: e.kind),
    ("opens", "boolean", lambda e: e.opens),
    ("occurred_at", "timestamptz", lambda e: e.occurred_at),
    ("call_id", "uuid", lambda e: e.call_id),
    ("tool", "text", lambda e: e.tool),
    ("effect", "text", lambda e: e.effect),
    ("writes", "text[]", lambda e: e.writes),
    ("door", "text", lambda e: e.door),
    ("principal_id", "uuid", lambda e: e.principal_id),
    ("principal_kind", "text", lambda e: e.principal_kind),
    ("role", "text", lambda e: e.role),
    ("mode", "text", lambda e: e.mode),
    ("attended", "boolean", lambda e: e.attended),
    ("level", "smallint", lambda e: e.level),
    ("engagement_id", "uuid", lambda e: e.engagement_id),
    ("facts", "text", lambda e: e.facts),
    ("decision", "text", lambda e: e.decision),
    ("reasons", "text[]", lambda e: e.reasons),
    ("approval_id", "uuid", lambda e: e.approval_id),
    ("manifest_digest", "bytea", lambda e: e.manifest_digest),
    ("policy_digest", "bytea", lambda e: e.policy_digest),
    ("arguments_digest", "bytea", lambda e: e.arguments_digest),
    ("result_digest", "bytea", lambda e: e.result_digest),
    ("outcome", "text", lambda e: e.outcome),
    ("error_code", "text", lambda e: e.error_code),
    ("error_reference", "text", lambda e: e.error_reference),
    ("duration_ms", "double precision", lambda e: e.duration_ms),
    ("cost_micros", "bigint", lambda e: e.cost_micros),
    ("conversation_id", "uuid", lambda e: e.conversation_id),
    ("run_id", "uuid", lambda e: e.run_id),
    ("task_run_id", "uuid", lambda e: e.task_run_id),
    ("request_id", "text", lambda e: e.request_id),
    ("trace_id", "text", lambda e: e.trace_id),
)
_PAYLOAD: tuple[tuple[str, str, Callable[[ActivityEvent], object]], ...] = (
    ("salt", "bytea", lambda e: None if e.payload is None else e.payload.salt),
    ("arguments", "text", lambda e: None if e.payload is None else e.payload.arguments),
    ("result", "text", lambda e: None if e.payload is None else e.payload.result),
)
# A trust of NULL: the event told nothing that is kept beside it.
_TAINT: tuple[tuple[str, str, Callable[[ActivityEvent], object]], ...] = (
    ("trust", "text", lambda e: None if e.taint == NOTHING else e.taint.trust),
    ("firm", "boolean", lambda e: e.taint.firm),
    ("engagements", "text[]", lambda e: tuple(map(str, sorted(e.taint.engagements)))),
)
_TAINTED = (
    "organization_id",
    "event_id",
    "call_id",
    "principal_id",
    "door",
    "mode",
    "conversation_id",
    "task_run_id",
)
_INSERT_TAINT = """INSERT INTO activity_taints (organization_id, event_id, call_id, principal_id, door, mode,
            conversation_id, task_run_id, trust, firm, engagements)"""

# Of no event and no call: ids of its own. Whoever polls leaves a row a minute, and not one each time; what stands for
# a day then stands for up to a minute less.
_NOTE_TAINT = f"""
{_INSERT_TAINT}
SELECT glow.organization_id(), gen_random_uuid(), gen_random_uuid(), glow.principal_id(), $1, 'agent', $2::uuid, NULL,
    $3, $4, $5::uuid[]
WHERE NOT EXISTS (
    SELECT FROM activity_taints t
    WHERE t.organization_id = glow.organization_id() AND t.principal_id = glow.principal_id() AND t.door = $1
      AND t.mode = 'agent' AND t.task_run_id IS NULL AND t.firm = $4 AND t.trust = $3 AND t.engagements = $5::uuid[]
      AND (t.conversation_id = $2 OR ($2::uuid IS NULL AND t.conversation_id IS NULL))
      AND t.recorded_at > clock_timestamp() - interval '1 minute')
"""


def _insert_one() -> str:
    names = ", ".join(name for name, _, _ in _COLUMNS)
    values = ", ".join(f"${number}::{kind}" for number, (_, kind, _) in enumerate(_COLUMNS, 1))
    salt = len(_COLUMNS) + 1
    trust = salt + len(_PAYLOAD)
    at = {name: f"${number}::{kind}" for number, (name, kind, _) in enumerate(_COLUMNS, 1)}
    whose = ", ".join(at[name] for name in _TAINTED)
    # The payload's foreign key is checked at the end of the statement, when its event stands.
    return f"""
        WITH written AS (INSERT INTO activity_events ({names}) VALUES ({values})),
        tainted AS ({_INSERT_TAINT}
            SELECT {whose}, ${trust}::text, ${trust + 1}::boolean, ${trust + 2}::text[]::uuid[]
            WHERE ${trust}::text IS NOT NULL)
        INSERT INTO activity_payloads (organization_id, event_id, salt, arguments, result)
        SELECT $1, $2, ${salt}::bytea, ${salt + 1}::text, ${salt + 2}::text WHERE ${salt}::bytea IS NOT NULL
    """


def _insert_many() -> str:
    columns = (*_COLUMNS, *_PAYLOAD, *_TAINT)
    names = ", ".join(name for name, _, _ in _COLUMNS)
    values = ", ".join(_value(name, kind) for name, kind, _ in _COLUMNS)
    arrays = ", ".join(f"${number}::{_element(kind)}[]" for number, (_, kind, _) in enumerate(columns, 1))
    aliases = ", ".join(name for name, _, _ in columns)
    return f"""
        WITH given AS MATERIALIZED (SELECT * FROM unnest({arrays}) AS given ({aliases})),
        written AS (INSERT INTO activity_events ({names}) SELECT {values} FROM given),
        tainted AS ({_INSERT_TAINT}
            SELECT {", ".join(_TAINTED)}, trust, firm, {_value("engagements", "text[]")}::uuid[]
            FROM given WHERE trust IS NOT NULL)
        INSERT INTO activity_payloads (organization_id, event_id, salt, arguments, result)
        SELECT organization_id, event_id, salt, arguments, result FROM given WHERE salt IS NOT NULL
    """


def _element(kind: str) -> str:
    return "text" if kind == "text[]" else kind


def _value(name: str, kind: str) -> str:
    return f"string_to_array({name}, E'\\x1f')" if kind == "text[]" else name


_INSERT_ONE = _insert_one()
_INSERT_MANY = _insert_many()


async def insert_events(connection: Connection, events: Sequence[ActivityEvent]) -> None:
    """Append events and their payloads, in one statement and without reading anything back.

    Works as the application (events of the context's organization) and as the recorder (events of any).
    """
    if len(events) == 1:
        await connection.execute(_INSERT_ONE, *(read(events[0]) for _, _, read in (*_COLUMNS, *_PAYLOAD, *_TAINT)))
    elif events:
        await connection.execute(_INSERT_MANY, *(_array(column, events) for column in (*_COLUMNS, *_PAYLOAD, *_TAINT)))


def _array(column: tuple[str, str, Callable[[ActivityEvent], object]], events: Sequence[ActivityEvent]) -> list[object]:
    _, kind, read = column
    if kind == "text[]":
        return [_WORDS_APART.join(cast("tuple[str, ...]", read(event))) for event in events]
    return [read(event) for event in events]


# A call is found by the event that opened it. Only a ticket or a question is followed by more; there the newest event
# says how the call ended. The clock may not move between a ticket and its outcome: then what opens a call, and a
# ticket, count as older.
NEWEST = """
LEFT JOIN LATERAL (
    SELECT e.event_id, e.outcome, e.error_code, e.duration_ms, e.cost_micros, e.approval_id
    FROM activity_events e
    WHERE o.kind IN ('tool.allowed', 'tool.waiting')
      AND e.organization_id = o.organization_id AND e.call_id = o.call_id
    ORDER BY e.occurred_at DESC, e.opens, e.kind = 'tool.allowed' LIMIT 1
) n ON true
"""
# The record says that a call waits until something says otherwise; nothing does when its question's time is over.
OUTCOME = """CASE WHEN n.event_id IS NULL THEN o.outcome
    WHEN n.outcome = 'waiting' AND glow.question_lapsed(o.call_id) THEN 'expired' ELSE n.outcome END"""
DURATION = "CASE WHEN n.event_id IS NULL THEN o.duration_ms ELSE n.duration_ms END"
COST = "CASE WHEN n.event_id IS NULL THEN o.cost_micros ELSE n.cost_micros END"

# Row level security shows most principals their own calls only, but as a filter: named like this it is an index's key.
OWN_ONLY = "SELECT CASE WHEN NOT glow.reads_organization() THEN glow.principal_id() END"

_CALLS = f"""
SELECT o.event_id, o.call_id, o.occurred_at, o.tool, o.door, o.mode,
       coalesce(u.email, o.principal_id::text) AS principal, o.role, o.decision, o.reasons, o.conversation_id, o.run_id,
       {OUTCOME} AS outcome, {DURATION} AS duration_ms, {COST} AS cost_micros,
       CASE WHEN n.event_id IS NULL THEN o.error_code ELSE n.error_code END AS error_code,
       coalesce(n.approval_id, o.approval_id) AS approval_id, p.arguments
FROM activity_events o
{NEWEST}
LEFT JOIN users u ON u.user_id = o.principal_id
LEFT JOIN activity_payloads p ON p.organization_id = o.organization_id AND p.event_id = o.event_id
WHERE o.organization_id = glow.organization_id() AND o.opens
"""

_LIST = f"""
{_CALLS}
  AND ($1::timestamptz IS NULL OR (o.occurred_at, o.event_id) < ($1, $2::uuid))
  AND ($3::text IS NULL OR o.tool = $3)
  AND ($4::text IS NULL OR o.door = $4)
  AND ($5::text IS NULL OR o.decision = $5)
  AND ($6::text IS NULL OR {OUTCOME} = $6)
  AND ($7::text IS NULL OR o.principal_id = (SELECT who.user_id FROM users who WHERE lower(who.email) = lower($7)))
  AND ($8::uuid IS NULL OR o.principal_id = $8)
  AND ($9::uuid IS NULL OR o.conversation_id = $9)
  AND ($10::timestamptz IS NULL OR o.occurred_at >= $10)
  AND ($11::timestamptz IS NULL OR o.occurred_at < $11)
  AND ($12::uuid IS NULL OR o.principal_id = $12)
ORDER BY o.occurred_at DESC, o.event_id DESC
LIMIT $13
"""

_CALL = _CALLS + "  AND o.call_id = $1 ORDER BY o.occurred_at DESC LIMIT 1"

_TASK_RUN_OF = "SELECT task_run_id FROM glow.call_belongs_to($1)"

# What a task run did so far, with what came of each call: by the index on the run, which makes hundreds at most.
_OF_TASK_RUN = f"""
SELECT c.*, (
    SELECT q.result FROM activity_events e JOIN activity_payloads q USING (organization_id, event_id)
    WHERE e.organization_id = glow.organization_id() AND e.call_id = c.call_id AND q.result IS NOT NULL
    ORDER BY e.occurred_at DESC LIMIT 1
) AS result
FROM ({_CALLS} AND o.task_run_id = $1) c
ORDER BY c.occurred_at, c.event_id LIMIT 10000
"""

_REQUEST_OF = """
SELECT request_id FROM activity_events WHERE organization_id = glow.organization_id() AND call_id = $1 AND opens
"""

_EVENTS = """
SELECT e.kind, e.occurred_at, e.decision, e.reasons, e.outcome, e.error_code, e.error_reference, p.result
FROM activity_events e
LEFT JOIN activity_payloads p ON p.organization_id = e.organization_id AND p.event_id = e.event_id
WHERE e.organization_id = glow.organization_id() AND e.call_id = $1
ORDER BY e.occurred_at, e.opens DESC, e.kind <> 'tool.allowed' LIMIT 100
"""

# Oldest first, by the same index as the list. A call that waited was decided again when it was to be made; what follows
# a ticket only repeats the ticket's verdict, but for one that forbids what the ticket allowed.
_VERDICTS = """
WITH opened AS MATERIALIZED (
    SELECT o.organization_id, o.event_id, o.call_id, o.occurred_at, o.opens, o.kind, o.tool, o.door, o.mode, o.role,
           o.decision, o.reasons, o.facts, o.policy_digest
    FROM activity_events o
    WHERE o.organization_id = glow.organization_id() AND o.opens
      AND ($1::timestamptz IS NULL OR o.occurred_at >= $1)
      AND ($2::timestamptz IS NULL OR o.occurred_at < $2)
      AND ($3::timestamptz IS NULL OR (o.occurred_at, o.event_id) > ($3, $4::uuid))
    ORDER BY o.occurred_at, o.event_id LIMIT $5
)
SELECT v.*
FROM opened o CROSS JOIN LATERAL (
    SELECT o.event_id, o.call_id, o.occurred_at, o.opens, o.tool, o.door, o.mode, o.role, o.decision, o.reasons,
           o.facts, o.policy_digest
    UNION ALL
    SELECT e.event_id, e.call_id, e.occurred_at, e.opens, e.tool, e.door, e.mode, e.role, e.decision, e.reasons,
           e.facts, e.policy_digest
    FROM activity_events e
    WHERE o.kind IN ('tool.waiting', 'tool.allowed')
      AND e.organization_id = o.organization_id AND e.call_id = o.call_id AND NOT e.opens AND e.decision IS NOT NULL
      AND (e.kind NOT IN ('tool.completed', 'tool.failed', 'tool.cancelled') OR e.decision = 'deny')
) v
ORDER BY o.occurred_at, o.event_id, v.opens DESC, v.occurred_at, v.event_id
"""


# By the index of the list; nothing but the index is read.
_NTH_NEWEST = """
SELECT occurred_at FROM activity_events
WHERE organization_id = glow.organization_id() AND opens
ORDER BY occurred_at DESC, event_id DESC OFFSET $1 LIMIT 1
"""


class PostgresActivity:
    """ActivityRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list(self, query: ActivityQuery) -> Sequence[ActivityItem]:
        by_id = _uuid_or_none(query.principal)
        rows = await self._connection.fetch(
            _LIST,
            *query.page.behind,
            query.tool,
            query.door,
            query.decision,
            query.outcome,
            query.principal if by_id is None else None,
            by_id,
            query.conversation_id,
            query.since,
            query.until,
            await self._connection.fetchval(OWN_ONLY),
            query.page.limit + 1,
        )
        return [_item(row, result=None) for row in rows]

    async def call(self, call_id: CallId) -> ActivityCall | None:
        opened = await self._connection.fetchrow(_CALL, call_id)
        if opened is None:
            return None
        events = await self._connection.fetch(_EVENTS, call_id)
        results = [cast("str", row["result"]) for row in events if row["result"] is not None]
        item = _item(opened, result=results[-1] if results else None)
        return ActivityCall(item=item, steps=tuple(_step(row) for row in events))

    async def of_task_run(self, task_run_id: TaskRunId) -> Sequence[ActivityItem]:
        rows = await self._connection.fetch(_OF_TASK_RUN, task_run_id)
        return [_item(row, result=row["result"]) for row in rows]

    async def task_run_of(self, call_id: CallId) -> TaskRunId | None:
        return cast("TaskRunId | None", await self._connection.fetchval(_TASK_RUN_OF, call_id))

    async def request_of(self, call_id: CallId) -> str | None:
        return cast("str | None", await self._connection.fetchval(_REQUEST_OF, call_id))

    async def verdicts(self, period: Span, after: Position | None, limit: int) -> Sequence[RecordedVerdict]:
        behind = (None, None) if after is None else (after.time, after.id)
        rows = await self._connection.fetch(_VERDICTS, period.since, period.until, *behind, limit)
        return [_verdict(row) for row in rows]

    async def nth_newest(self, count: int) -> datetime | None:
        return cast("datetime | None", await self._connection.fetchval(_NTH_NEWEST, count - 1))

    async def write(self, events: Sequence[ActivityEvent]) -> None:
        await insert_events(self._connection, events)

    async def taint_of(self, call_id: CallId) -> Taint:
        told = cast("dict[str, object]", orjson.loads(await self._connection.fetchval(_TAINT_OF, call_id)))
        return parse_taint(told)


def _item(row: Row, *, result: str | None) -> ActivityItem:
    return ActivityItem(
        event_id=EventId(row["event_id"]),
        call_id=CallId(row["call_id"]),
        time=row["occurred_at"],
        tool=row["tool"],
        door=cast(Door, row["door"]),
        mode=cast(Mode, row["mode"]),
        principal=row["principal"],
        role=None if row["role"] is None else Role(row["role"]),
        decision=cast("Decision | None", row["decision"]),
        reasons=tuple(row["reasons"]),
        outcome=cast("Outcome | None", row["outcome"]),
        error_code=row["error_code"],
        approval_id=cast("ApprovalId | None", row["approval_id"]),
        conversation_id=cast("ConversationId | None", row["conversation_id"]),
        run_id=cast("RunId | None", row["run_id"]),
        duration_ms=row["duration_ms"],
        cost_micros=row["cost_micros"],
        arguments=row["arguments"],
        result=result,
    )


def _verdict(row: Row) -> RecordedVerdict:
    return RecordedVerdict(
        event_id=EventId(row["event_id"]),
        call_id=CallId(row["call_id"]),
        time=row["occurred_at"],
        opens=row["opens"],
        tool=row["tool"],
        door=cast(Door, row["door"]),
        mode=cast(Mode, row["mode"]),
        role=None if row["role"] is None else Role(row["role"]),
        decision=cast("Decision | None", row["decision"]),
        reasons=tuple(row["reasons"]),
        facts=row["facts"],
        policy_digest=row["policy_digest"],
    )


def _step(row: Row) -> ActivityStep:
    return ActivityStep(
        kind=cast(EventKind, row["kind"]),
        time=row["occurred_at"],
        decision=cast("Decision | None", row["decision"]),
        reasons=tuple(row["reasons"]),
        outcome=cast("Outcome | None", row["outcome"]),
        error_code=row["error_code"],
        error_reference=row["error_reference"],
    )


class PostgresTaints:
    """Taints over a transaction's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of_turn(self, door: Door, conversation_id: ConversationId | None = None) -> Taint:
        text = cast(str, await self._connection.fetchval(_TAINT_OF_TURN, door, conversation_id))
        return parse_taint(orjson.loads(text))

    async def note(self, taint: Taint, door: Door, conversation_id: ConversationId | None = None) -> None:
        if taint != NOTHING:
            engagements = sorted(taint.engagements)
            await self._connection.execute(_NOTE_TAINT, door, conversation_id, taint.trust, taint.firm, engagements)


def _uuid_or_none(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None
