"""Schedules in SQL, and how their due times went, which the worker writes beside them."""

from collections.abc import Sequence
from datetime import datetime

from domain.kernel import CallId, TaskId, TaskRunId
from domain.schedules.model import (
    Firing,
    LastRun,
    NewSchedule,
    Schedule,
    ScheduleId,
    ScheduleQuery,
    StoredSchedule,
)
from domain.schedules.timing import Timing
from domain.storage.postgres import Connection, Row

_ADD = """
WITH added AS (
    INSERT INTO schedules (organization_id, schedule_id, task_id, cron, time_zone, input, paused, created_by,
        created_at, updated_at)
    VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, $8, $9, $9)
    RETURNING organization_id, schedule_id
)
INSERT INTO schedule_progress (organization_id, schedule_id, next_run_at)
SELECT organization_id, schedule_id, $7 FROM added
"""

_COUNT = "SELECT count(*) FROM schedules WHERE organization_id = glow.organization_id()"

# How the call went is the record's to say: a question may have been answered since.
_SCHEDULES = """
SELECT s.schedule_id, s.task_id, s.cron, s.time_zone, s.input, s.paused, p.next_run_at,
       t.title AS task_title, t.kind AS task_kind, t.status AS task_status, t.trust,
       coalesce(u.email, s.created_by::text) AS created_by, s.created_at, s.updated_at,
       p.last_due_at, p.last_started_at, p.last_missed, p.last_call_id,
       called.outcome, called.error_code,
       run.task_run_id, coalesce(run.status, 'queued') AS task_run_status
FROM schedules s
JOIN schedule_progress p ON p.organization_id = s.organization_id AND p.schedule_id = s.schedule_id
JOIN tasks t ON t.organization_id = s.organization_id AND t.task_id = s.task_id
LEFT JOIN users u ON u.user_id = s.created_by
LEFT JOIN LATERAL glow.scheduled_call(p.last_call_id) called ON true
LEFT JOIN LATERAL (
    SELECT r.task_run_id, rp.status
    FROM task_runs r
    LEFT JOIN task_run_progress rp ON rp.organization_id = r.organization_id AND rp.task_run_id = r.task_run_id
    WHERE r.organization_id = s.organization_id AND r.call_id = p.last_call_id
) run ON true
WHERE s.organization_id = glow.organization_id()
"""

_LIST = (
    _SCHEDULES
    + """
  AND ($1::timestamptz IS NULL OR (s.created_at, s.schedule_id) < ($1, $2::uuid))
  AND ($3::uuid IS NULL OR s.task_id = $3)
ORDER BY s.created_at DESC, s.schedule_id DESC
LIMIT $4
"""
)

_GET = _SCHEDULES + "  AND s.schedule_id = $1"

_LOCK = """
SELECT FROM schedules WHERE organization_id = glow.organization_id() AND schedule_id = $1 FOR UPDATE
"""

_CHANGE = """
WITH changed AS (
    UPDATE schedules SET cron = $2, time_zone = $3, input = $4, paused = $5, updated_at = $7
    WHERE organization_id = glow.organization_id() AND schedule_id = $1
    RETURNING organization_id, schedule_id
)
UPDATE schedule_progress p SET next_run_at = $6
FROM changed c WHERE p.organization_id = c.organization_id AND p.schedule_id = c.schedule_id
"""

_REMOVE = "DELETE FROM schedules WHERE organization_id = glow.organization_id() AND schedule_id = $1"

# Whoever comes late says the same again; a schedule that was changed meanwhile keeps the due time it was given then.
_FIRED = """
UPDATE schedule_progress
SET last_due_at = $2, last_started_at = $3, last_missed = $4, last_call_id = $5,
    next_run_at = CASE WHEN next_run_at = $2 THEN $6 ELSE next_run_at END
WHERE organization_id = glow.organization_id() AND schedule_id = $1
  AND (last_due_at IS NULL OR last_due_at <= $2)
"""


class PostgresSchedules:
    """ScheduleRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, schedule: NewSchedule) -> None:
        stored = schedule.stored
        await self._connection.execute(
            _ADD,
            stored.schedule_id,
            stored.task_id,
            stored.timing.cron,
            stored.timing.time_zone,
            stored.input,
            stored.paused,
            stored.next_run_at,
            schedule.created_by,
            schedule.created_at,
        )

    async def count(self) -> int:
        return int(await self._connection.fetchval(_COUNT))

    async def list(self, query: ScheduleQuery) -> Sequence[Schedule]:
        rows = await self._connection.fetch(
            _LIST,
            *query.page.behind,
            query.task_id,
            query.page.limit + 1,
        )
        return [_schedule(row) for row in rows]

    async def get(self, schedule_id: ScheduleId) -> Schedule | None:
        row = await self._connection.fetchrow(_GET, schedule_id)
        return None if row is None else _schedule(row)

    async def lock(self, schedule_id: ScheduleId) -> None:
        await self._connection.execute(_LOCK, schedule_id)

    async def change(self, schedule: StoredSchedule, changed_at: datetime) -> None:
        await self._connection.execute(
            _CHANGE,
            schedule.schedule_id,
            schedule.timing.cron,
            schedule.timing.time_zone,
            schedule.input,
            schedule.paused,
            schedule.next_run_at,
            changed_at,
        )

    async def remove(self, schedule_id: ScheduleId) -> None:
        await self._connection.execute(_REMOVE, schedule_id)


class PostgresScheduleProgress:
    """ScheduleProgress over a connection of the worker's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fired(self, firing: Firing) -> None:
        await self._connection.execute(
            _FIRED,
            firing.schedule_id,
            firing.due_at,
            firing.started_at,
            firing.missed,
            firing.call_id,
            firing.next_run_at,
        )


def _schedule(row: Row) -> Schedule:
    return Schedule(
        stored=StoredSchedule(
            schedule_id=ScheduleId(row["schedule_id"]),
            task_id=TaskId(row["task_id"]),
            timing=Timing(cron=row["cron"], time_zone=row["time_zone"]),
            input=row["input"],
            paused=row["paused"],
            next_run_at=row["next_run_at"],
        ),
        task_title=row["task_title"],
        task_kind=row["task_kind"],
        task_status=row["task_status"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        trust=row["trust"],
        last_run=None if row["last_due_at"] is None else _last_run(row),
    )


def _last_run(row: Row) -> LastRun:
    started = row["task_run_id"]
    return LastRun(
        due_at=row["last_due_at"],
        started_at=row["last_started_at"],
        missed=row["last_missed"],
        call_id=CallId(row["last_call_id"]),
        outcome=row["outcome"],
        error_code=row["error_code"],
        task_run_id=None if started is None else TaskRunId(started),
        task_run_status=None if started is None else row["task_run_status"],
    )
