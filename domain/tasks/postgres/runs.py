"""Runs of tasks in SQL: begun and cancelled by calls, read with how far they have come."""

from collections.abc import Sequence
from typing import cast

from domain.kernel import Audience, CallId, ConversationId, EngagementId, PrincipalId, RunId, TaskId, TaskRunId, Trust
from domain.storage.postgres import Connection, Row
from domain.tasks.model import QUEUED, Cancellation, NewTaskRun, TaskRun, TaskRunAnswer, TaskRunStep, share_done
from domain.tasks.postgres.progress import progress_of
from domain.tasks.postgres.steps import steps_text

_ADD_RUN = """
INSERT INTO task_runs (organization_id, task_run_id, task_id, kind, input, call_id, requested_by, created_at,
    trust)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, $7, $8)
"""

_GET_RUN = """
SELECT r.task_run_id, r.task_id, r.kind, r.input, r.call_id, r.requested_by AS requester_id,
       coalesce(u.email, r.requested_by::text) AS requested_by, t.engagement_id, t.audience,
       r.created_at,
       p.status, p.progress, p.message, p.steps, p.failure, p.started_at, p.updated_at, p.finished_at,
       p.version, p.deadline,
       a.conversation_id, a.run_id, a.attempt, a.text AS answer_text, a.citations,
       glow.task_run_trust(r.task_run_id) AS trust
FROM task_runs r
JOIN tasks t ON t.organization_id = r.organization_id AND t.task_id = r.task_id
LEFT JOIN task_run_progress p ON p.organization_id = r.organization_id AND p.task_run_id = r.task_run_id
LEFT JOIN task_run_answers a ON a.organization_id = r.organization_id AND a.task_run_id = r.task_run_id
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


class TaskRunRows:
    """The part of TaskRepository that is about runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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
            run.trust,
        )

    async def get_run(self, task_run_id: TaskRunId) -> TaskRun | None:
        row = await self._connection.fetchrow(_GET_RUN, task_run_id)
        return None if row is None else _task_run(row)

    async def lock_run(self, task_run_id: TaskRunId) -> None:
        await self._connection.execute(_LOCK_RUN, task_run_id)

    async def cancel_run(self, cancellation: Cancellation) -> bool:
        await self.lock_run(cancellation.task_run_id)
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
        await self._connection.execute(_SETTLE_RUN, task_run_id, steps_text(steps), share_done(steps), message)


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
        progress=QUEUED if row["status"] is None else progress_of(row),
        answer=None if row["run_id"] is None else _answer(row),
        audience=cast(Audience, row["audience"]),
        trust=cast(Trust, row["trust"]),
    )


def _answer(row: Row) -> TaskRunAnswer:
    return TaskRunAnswer(
        conversation_id=ConversationId(row["conversation_id"]),
        run_id=RunId(row["run_id"]),
        attempt=row["attempt"],
        text=row["answer_text"],
        citations=row["citations"],
    )
