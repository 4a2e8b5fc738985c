"""Tasks and their runs in SQL, and the progress that the worker writes beside them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict, cast
from uuid import UUID

import orjson

from domain.kernel import Audience, CallId, EngagementId, Outcome, PrincipalId, TaskId, TaskRunId
from domain.storage.postgres import Connection, Row, plan_anew
from domain.tasks.model import (
    QUEUED,
    Assignee,
    Cancellation,
    LatestRun,
    NewTask,
    NewTaskRun,
    Progress,
    StepStatus,
    Task,
    TaskChange,
    TaskQuery,
    TaskRun,
    TaskRunStatus,
    TaskRunStep,
    TaskStatus,
)

_ADD = """
INSERT INTO tasks (organization_id, task_id, title, description, kind, status, audience, engagement_id, assignee_id,
    due_on, input, created_by, created_at, updated_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, 'open', $5, $6, $7, $8, $9, $10, $11, $11)
"""

_TASKS = """
SELECT t.task_id, t.title, t.description, t.kind, t.status, t.audience, t.engagement_id, a.email AS assignee, t.due_on,
       t.input, coalesce(c.email, t.created_by::text) AS created_by, t.created_at, t.updated_at, t.version,
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
    version = version + 1
WHERE organization_id = glow.organization_id() AND task_id = $1
"""

_ADD_RUN = """
INSERT INTO task_runs (organization_id, task_run_id, task_id, kind, input, call_id, requested_by, created_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, $7)
"""

_GET_RUN = """
SELECT r.task_run_id, r.task_id, r.kind, r.input, r.call_id, r.requested_by AS requester_id,
       coalesce(u.email, r.requested_by::text) AS requested_by, t.engagement_id, r.created_at,
       p.status, p.progress, p.message, p.steps, p.failure, p.started_at, p.updated_at, p.finished_at
FROM task_runs r
JOIN tasks t ON t.organization_id = r.organization_id AND t.task_id = r.task_id
LEFT JOIN task_run_progress p ON p.organization_id = r.organization_id AND p.task_run_id = r.task_run_id
LEFT JOIN users u ON u.user_id = r.requested_by
WHERE r.organization_id = glow.organization_id() AND r.task_run_id = $1
"""

_LOCK_RUN = "SELECT glow.lock_task_run($1, true)"

# One outcome, whoever is first: the worker ends a run by the same condition.
_CANCEL_RUN = """
WITH ended AS (
    INSERT INTO task_run_progress AS p (organization_id, task_run_id, status, started_at, updated_at, finished_at)
    VALUES (glow.organization_id(), $1, 'cancelled', $5, $5, $5)
    ON CONFLICT (organization_id, task_run_id) DO UPDATE
    SET status = 'cancelled', updated_at = excluded.updated_at, finished_at = excluded.finished_at
    WHERE p.finished_at IS NULL
    RETURNING p.organization_id, p.task_run_id
)
INSERT INTO task_run_cancellations (organization_id, task_run_id, call_id, cancelled_by, reason, cancelled_at)
SELECT organization_id, task_run_id, $2, $3, $4, $5 FROM ended
"""

_SETTLE_RUN = """
UPDATE task_run_progress SET steps = $2, progress = $3, message = $4
WHERE organization_id = glow.organization_id() AND task_run_id = $1 AND status = 'cancelled'
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


class PostgresTasks:
    """TaskRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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
        )

    async def list(self, query: TaskQuery) -> Sequence[Task]:
        await plan_anew(self._connection)
        after = query.page.after
        rows = await self._connection.fetch(
            _LIST,
            None if after is None else after.time,
            None if after is None else after.id,
            query.status,
            query.engagement_id,
            query.assignee,
            query.created_by,
            query.kind,
            query.due_from,
            query.due_to,
            query.page.limit + 1,
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
        )

    async def add_run(self, run: NewTaskRun) -> None:
        await self._connection.execute(
            _ADD_RUN,
            run.task_run_id,
            run.task_id,
            run.kind,
            run.input,
            run.call_id,
            run.requested_by,
            run.created_at,
        )

    async def get_run(self, task_run_id: TaskRunId) -> TaskRun | None:
        row = await self._connection.fetchrow(_GET_RUN, task_run_id)
        return None if row is None else _task_run(row)

    async def cancel_run(self, cancellation: Cancellation) -> bool:
        await self._connection.execute(_LOCK_RUN, cancellation.task_run_id)
        stored = await self._connection.execute(
            _CANCEL_RUN,
            cancellation.task_run_id,
            cancellation.call_id,
            cancellation.cancelled_by,
            cancellation.reason,
            cancellation.cancelled_at,
        )
        return stored == "INSERT 0 1"

    async def settle_run(self, task_run_id: TaskRunId, steps: Sequence[TaskRunStep], message: str) -> None:
        await self._connection.execute(_SETTLE_RUN, task_run_id, _steps_text(steps), _share_done(steps), message)

    async def engagement_exists(self, engagement_id: EngagementId) -> bool:
        return bool(await self._connection.fetchval(_ENGAGEMENT, engagement_id))

    async def assignee(self, email: str, engagement_id: EngagementId | None) -> Assignee | None:
        row = await self._connection.fetchrow(_ASSIGNEE, email, engagement_id)
        if row is None:
            return None
        return Assignee(
            principal_id=PrincipalId(row["user_id"]), is_client=row["is_client"], on_engagement=row["on_engagement"]
        )


# A run that another worker left is taken over as it stands; one that has ended keeps its end.
_START = """
INSERT INTO task_run_progress AS p (organization_id, task_run_id, status, steps, started_at, updated_at)
VALUES (glow.organization_id(), $1, 'running', $2, $3, $3)
ON CONFLICT (organization_id, task_run_id) DO UPDATE
SET updated_at = excluded.updated_at,
    status = CASE WHEN p.finished_at IS NULL THEN 'running' ELSE p.status END
RETURNING status, progress, message, steps, failure, started_at, updated_at, finished_at
"""

_ADVANCE = """
UPDATE task_run_progress
SET status = $2, steps = $3, progress = $4, message = $5, updated_at = $6
WHERE organization_id = glow.organization_id() AND task_run_id = $1 AND finished_at IS NULL
"""

_FINISH = """
UPDATE task_run_progress
SET status = $2, message = $3, failure = $4, updated_at = $5, finished_at = $5,
    progress = CASE $2 WHEN 'completed' THEN 1 ELSE progress END
WHERE organization_id = glow.organization_id() AND task_run_id = $1 AND finished_at IS NULL
"""


class PostgresTaskRunProgress:
    """TaskRunProgress over a connection of the worker's, in the requester's context."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(self, task_run_id: TaskRunId, steps: Sequence[TaskRunStep], now: datetime) -> Progress:
        row = await self._connection.fetchrow(_START, task_run_id, _steps_text(steps), now)
        return QUEUED if row is None else _progress(row)

    async def advance(
        self,
        task_run_id: TaskRunId,
        steps: Sequence[TaskRunStep],
        message: str,
        now: datetime,
        *,
        status: TaskRunStatus = "running",
    ) -> bool:
        moved = await self._connection.execute(
            _ADVANCE, task_run_id, status, _steps_text(steps), _share_done(steps), message, now
        )
        return moved == "UPDATE 1"

    async def finish(
        self, task_run_id: TaskRunId, status: TaskRunStatus, message: str, now: datetime, *, failure: str | None = None
    ) -> None:
        await self._connection.execute(_FINISH, task_run_id, status, message, failure, now)


def _share_done(steps: Sequence[TaskRunStep]) -> float:
    return sum(step.status == "done" for step in steps) / max(len(steps), 1)


class _StepJson(TypedDict):
    name: str
    tool: str
    status: StepStatus
    call_id: str | None
    outcome: Outcome | None


def _steps_text(steps: Sequence[TaskRunStep]) -> str:
    return orjson.dumps(
        [
            {
                "name": step.name,
                "tool": step.tool,
                "status": step.status,
                "call_id": step.call_id,
                "outcome": step.outcome,
            }
            for step in steps
        ]
    ).decode()


def _steps(text: str) -> tuple[TaskRunStep, ...]:
    return tuple(_step(raw) for raw in cast("list[_StepJson]", orjson.loads(text)))


def _step(raw: _StepJson) -> TaskRunStep:
    return TaskRunStep(
        name=raw["name"],
        tool=raw["tool"],
        status=raw["status"],
        call_id=None if raw["call_id"] is None else CallId(UUID(raw["call_id"])),
        outcome=raw["outcome"],
    )


def _progress(row: Row) -> Progress:
    return Progress(
        status=cast(TaskRunStatus, row["status"]),
        progress=row["progress"],
        message=row["message"],
        steps=_steps(row["steps"]),
        failure=row["failure"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        finished_at=row["finished_at"],
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
    )


def _latest_run(row: Row) -> LatestRun:
    return LatestRun(
        task_run_id=TaskRunId(row["task_run_id"]),
        status=cast(TaskRunStatus, row["run_status"]),
        created_at=row["run_created_at"],
    )


def _task_run(row: Row) -> TaskRun:
    return TaskRun(
        task_run_id=TaskRunId(row["task_run_id"]),
        task_id=TaskId(row["task_id"]),
        kind=row["kind"],
        input=row["input"],
        call_id=CallId(row["call_id"]),
        requester_id=PrincipalId(row["requester_id"]),
        requested_by=row["requested_by"],
        engagement_id=cast("EngagementId | None", row["engagement_id"]),
        created_at=row["created_at"],
        progress=QUEUED if row["status"] is None else _progress(row),
    )
