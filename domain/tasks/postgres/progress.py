"""How far runs of tasks have come, which the worker writes beside them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from domain.kernel import TaskRunId
from domain.storage.postgres import Connection, Row
from domain.tasks.model import QUEUED, Progress, TakenUp, TaskRun, TaskRunAnswer, TaskRunStatus, TaskRunStep, share_done
from domain.tasks.postgres.steps import steps_of, steps_text

# A run that another worker left is taken over as it stands; one that has ended keeps its end. What it waited for people
# does not count as time that it worked.
_START = """
INSERT INTO task_run_progress AS p (organization_id, task_run_id, status, steps, started_at, updated_at, deadline)
VALUES (glow.organization_id(), $1, 'running', $2, $3::timestamptz, $3, $3::timestamptz + $4::interval)
ON CONFLICT (organization_id, task_run_id) DO UPDATE
SET updated_at = excluded.updated_at,
    deadline = CASE WHEN p.status = 'waiting' THEN $3::timestamptz + (p.deadline - p.updated_at)
                    ELSE coalesce(p.deadline, excluded.deadline) END,
    status = 'running'
WHERE p.finished_at IS NULL
RETURNING status, progress, message, steps, failure, started_at, updated_at, finished_at, version, deadline,
          xmax = 0 AS anew
"""

_PROGRESS = """
SELECT status, progress, message, steps, failure, started_at, updated_at, finished_at, version, deadline
FROM task_run_progress WHERE organization_id = glow.organization_id() AND task_run_id = $1
"""

_ADVANCE = """
UPDATE task_run_progress
SET status = $2, steps = $3, progress = $4, message = $5, updated_at = $6
WHERE organization_id = glow.organization_id() AND task_run_id = $1 AND finished_at IS NULL
"""

_FINISH = """
UPDATE task_run_progress
SET status = $2, steps = $3, progress = $4, message = $5, failure = $6, updated_at = $7, finished_at = $7
WHERE organization_id = glow.organization_id() AND task_run_id = $1 AND finished_at IS NULL
"""

_BEFORE = """
SELECT p.steps
FROM task_runs r
LEFT JOIN task_run_progress p ON p.organization_id = r.organization_id AND p.task_run_id = r.task_run_id
WHERE r.organization_id = glow.organization_id() AND r.task_id = $1 AND (r.created_at, r.task_run_id) < ($2, $3::uuid)
ORDER BY r.created_at DESC, r.task_run_id DESC
LIMIT 1
"""

_ANSWER = """
INSERT INTO task_run_answers AS a (organization_id, task_run_id, conversation_id, run_id, attempt, text, citations)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6)
ON CONFLICT (organization_id, task_run_id) DO UPDATE
SET conversation_id = excluded.conversation_id, run_id = excluded.run_id, attempt = excluded.attempt,
    text = excluded.text, citations = excluded.citations
WHERE a.attempt <= excluded.attempt
"""


class PostgresTaskRunProgress:
    """TaskRunProgress over a connection of the worker's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(
        self, task_run_id: TaskRunId, steps: Sequence[TaskRunStep], now: datetime, within: timedelta
    ) -> TakenUp:
        row = await self._connection.fetchrow(_START, task_run_id, steps_text(steps), now, within)
        if row is not None:
            return TakenUp(progress=progress_of(row), anew=row["anew"])
        ended = await self._connection.fetchrow(_PROGRESS, task_run_id)
        return TakenUp(progress=QUEUED if ended is None else progress_of(ended), anew=False)

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
            _ADVANCE, task_run_id, status, steps_text(steps), share_done(steps), message, now
        )
        return moved == "UPDATE 1"

    async def finish(
        self,
        task_run_id: TaskRunId,
        status: TaskRunStatus,
        steps: Sequence[TaskRunStep],
        message: str,
        now: datetime,
        *,
        failure: str | None = None,
    ) -> bool:
        share = 1.0 if status == "completed" else share_done(steps)
        moved = await self._connection.execute(
            _FINISH, task_run_id, status, steps_text(steps), share, message, failure, now
        )
        return moved == "UPDATE 1"

    async def before(self, run: TaskRun) -> Sequence[TaskRunStep]:
        steps = await self._connection.fetchval(_BEFORE, run.task_id, run.created_at, run.task_run_id)
        return () if steps is None else steps_of(steps)

    async def answer(self, task_run_id: TaskRunId, answer: TaskRunAnswer) -> None:
        await self._connection.execute(
            _ANSWER,
            task_run_id,
            answer.conversation_id,
            answer.run_id,
            answer.attempt,
            answer.text,
            answer.citations,
        )


def progress_of(row: Row) -> Progress:
    """How far a run has come, from its row."""
    return Progress(
        status=cast(TaskRunStatus, row["status"]),
        progress=row["progress"],
        message=row["message"],
        steps=steps_of(row["steps"]),
        failure=row["failure"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        finished_at=row["finished_at"],
        version=row["version"],
        deadline=row["deadline"],
    )
