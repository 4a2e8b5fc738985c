"""Tasks in SQL, their reminders, and whom they may be given to."""

from collections.abc import Sequence
from typing import cast

from domain.kernel import Audience, EngagementId, PrincipalId, TaskId, TaskRunId, Trust
from domain.storage.postgres import Row
from domain.tasks.model import (
    Assignee,
    LatestRun,
    NewReminder,
    NewTask,
    Reminder,
    ReminderId,
    Task,
    TaskChange,
    TaskQuery,
    TaskRunStatus,
    TaskStatus,
)
from domain.tasks.postgres.runs import TaskRunRows

_ADD = """
INSERT INTO tasks (organization_id, task_id, title, description, kind, status, audience, engagement_id, assignee_id,
    due_on, input, created_by, created_at, updated_at, trust)
VALUES (glow.organization_id(), $1, $2, $3, $4, 'open', $5, $6, $7, $8, $9, $10, $11, $11, $12)
"""

_TASKS = """
SELECT t.task_id, t.title, t.description, t.kind, t.status, t.audience, t.engagement_id, a.email AS assignee, t.due_on,
       t.input, coalesce(c.email, t.created_by::text) AS created_by, t.created_at, t.updated_at, t.version,
       t.trust,
       latest.task_run_id, latest.created_at AS run_created_at, coalesce(latest.status, 'queued') AS run_status
FROM tasks t
LEFT JOIN users a ON a.user_id = t.assignee_id
LEFT JOIN users c ON c.user_id = t.created_by
LEFT JOIN LATERAL (
    SELECT r.task_run_id, r.created_at, p.status
    FROM task_runs r
    LEFT JOIN task_run_progress p ON p.organization_id = r.organization_id AND p.task_run_id = r.task_run_id
    WHERE r.organization_id = t.organization_id AND r.task_id = t.task_id
    ORDER BY r.created_at DESC, r.task_run_id DESC LIMIT 1
) latest ON true
WHERE t.organization_id = glow.organization_id()
"""

_LIST = (
    _TASKS
    + """
  AND ($1::timestamptz IS NULL OR (t.created_at, t.task_id) < ($1, $2::uuid))
  AND ($3::text IS NULL OR t.status = $3)
  AND ($4::uuid IS NULL OR t.engagement_id = $4)
  AND ($5::text IS NULL OR t.assignee_id = (SELECT who.user_id FROM users who WHERE lower(who.email) = lower($5)))
  AND ($6::text IS NULL OR t.created_by = (SELECT who.user_id FROM users who WHERE lower(who.email) = lower($6)))
  AND ($7::text IS NULL OR t.kind = $7)
  AND ($8::date IS NULL OR t.due_on >= $8)
  AND ($9::date IS NULL OR t.due_on <= $9)
  AND ($11::text IS NULL OR t.audience = $11)
  AND (NOT $12 OR t.status IN ('open', 'in_progress'))
ORDER BY t.created_at DESC, t.task_id DESC
LIMIT $10
"""
)

_GET = _TASKS + "  AND t.task_id = $1"

_LOCK = "SELECT FROM tasks WHERE organization_id = glow.organization_id() AND task_id = $1 FOR UPDATE"

# Only what was given is written: two changes at once of different fields both stand.
_CHANGE = """
UPDATE tasks SET
    title = CASE WHEN 'title' = ANY ($2) THEN $3 ELSE title END,
    description = CASE WHEN 'description' = ANY ($2) THEN $4 ELSE description END,
    status = CASE WHEN 'status' = ANY ($2) THEN $5 ELSE status END,
    assignee_id = CASE WHEN 'assignee' = ANY ($2) THEN $6 ELSE assignee_id END,
    due_on = CASE WHEN 'due_on' = ANY ($2) THEN $7 ELSE due_on END,
    engagement_id = CASE WHEN 'engagement_id' = ANY ($2) THEN $8 ELSE engagement_id END,
    audience = coalesce($9, audience),
    updated_at = greatest($10, updated_at),
    -- Other words of it may stay.
    trust = glow.less_trusted(trust, $11),
    version = version + 1
WHERE organization_id = glow.organization_id() AND task_id = $1
"""

_REMIND = """
INSERT INTO task_reminders (organization_id, reminder_id, task_id, text, call_id, reminded_by, reminded_at,
    trust)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, $7)
"""

_REMINDERS = """
SELECT m.reminder_id, m.task_id, m.text, coalesce(u.email, m.reminded_by::text) AS reminded_by, m.reminded_at,
       m.trust
FROM task_reminders m LEFT JOIN users u ON u.user_id = m.reminded_by
WHERE m.organization_id = glow.organization_id() AND m.task_id = $1
ORDER BY m.reminded_at DESC, m.reminder_id DESC LIMIT 20
"""

_ENGAGEMENT = """
SELECT EXISTS (SELECT FROM engagements WHERE organization_id = glow.organization_id() AND engagement_id = $1)
"""

_ASSIGNEE = """
SELECT m.user_id, m.role = 'CLIENT' AS is_client, EXISTS (
           SELECT FROM engagement_members em
           WHERE em.organization_id = m.organization_id AND em.user_id = m.user_id AND em.engagement_id = $2
       ) AS on_engagement
FROM users u
JOIN memberships m ON m.organization_id = glow.organization_id() AND m.user_id = u.user_id
WHERE lower(u.email) = lower($1)
"""


class PostgresTasks(TaskRunRows):
    """TaskRepository over the call's own connection."""

    async def add(self, task: NewTask) -> None:
        asked = task.asked
        await self._connection.execute(
            _ADD,
            task.task_id,
            asked.title,
            asked.description,
            asked.kind,
            task.audience,
            asked.engagement_id,
            task.assignee_id,
            asked.due_on,
            asked.input,
            task.created_by,
            task.created_at,
            task.trust,
        )

    async def list(self, query: TaskQuery) -> Sequence[Task]:
        rows = await self._connection.fetch(
            _LIST,
            *query.page.behind,
            query.status,
            query.engagement_id,
            query.assignee,
            query.created_by,
            query.kind,
            query.due_from,
            query.due_to,
            query.page.limit + 1,
            query.audience,
            query.unfinished,
        )
        return [_task(row) for row in rows]

    async def get(self, task_id: TaskId) -> Task | None:
        row = await self._connection.fetchrow(_GET, task_id)
        return None if row is None else _task(row)

    async def lock(self, task_id: TaskId) -> None:
        await self._connection.execute(_LOCK, task_id)

    async def change(self, change: TaskChange) -> None:
        asked = change.asked
        await self._connection.execute(
            _CHANGE,
            change.task_id,
            sorted(asked.given),
            asked.title,
            asked.description,
            asked.status,
            change.assignee_id,
            asked.due_on,
            asked.engagement_id,
            change.audience,
            change.changed_at,
            change.trust,
        )

    async def remind(self, reminder: NewReminder) -> None:
        await self._connection.execute(
            _REMIND,
            reminder.reminder_id,
            reminder.task_id,
            reminder.text,
            reminder.call_id,
            reminder.reminded_by,
            reminder.reminded_at,
            reminder.trust,
        )

    async def reminders(self, task_id: TaskId) -> Sequence[Reminder]:
        return [_reminder(row) for row in await self._connection.fetch(_REMINDERS, task_id)]

    async def engagement_exists(self, engagement_id: EngagementId) -> bool:
        return bool(await self._connection.fetchval(_ENGAGEMENT, engagement_id))

    async def assignee(self, email: str, engagement_id: EngagementId | None) -> Assignee | None:
        row = await self._connection.fetchrow(_ASSIGNEE, email, engagement_id)
        if row is None:
            return None
        return Assignee(
            principal_id=PrincipalId(row["user_id"]), is_client=row["is_client"], on_engagement=row["on_engagement"]
        )


def _task(row: Row) -> Task:
    return Task(
        task_id=TaskId(row["task_id"]),
        title=row["title"],
        description=row["description"],
        kind=row["kind"],
        status=cast(TaskStatus, row["status"]),
        audience=cast(Audience, row["audience"]),
        engagement_id=cast("EngagementId | None", row["engagement_id"]),
        assignee=row["assignee"],
        due_on=row["due_on"],
        input=row["input"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
        latest_run=None if row["task_run_id"] is None else _latest_run(row),
        trust=cast(Trust, row["trust"]),
    )


def _latest_run(row: Row) -> LatestRun:
    return LatestRun(
        task_run_id=TaskRunId(row["task_run_id"]),
        status=cast(TaskRunStatus, row["run_status"]),
        created_at=row["run_created_at"],
    )


def _reminder(row: Row) -> Reminder:
    return Reminder(
        reminder_id=ReminderId(row["reminder_id"]),
        task_id=TaskId(row["task_id"]),
        text=row["text"],
        reminded_by=row["reminded_by"],
        reminded_at=row["reminded_at"],
        trust=cast(Trust, row["trust"]),
    )
