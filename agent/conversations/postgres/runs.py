"""Runs as rows: begun with a message, kept step by step under a lease, ended, read back."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from agent.conversations.model import RunStatus, Step
from agent.conversations.postgres.calls import calls_now, open_calls
from agent.conversations.postgres.session import PostgresSession
from agent.conversations.refusals import ConversationBusy, ConversationTaken
from agent.conversations.rows import (
    error_content,
    recorded_of,
    run_of,
    step_content,
    step_of,
    unfinished_of,
    usage_content,
    user_content,
    user_text,
)
from agent.conversations.runs import AskedBefore, Ending, NewRun, RecordedRun, Run, Unfinished
from agent.events import RunFrame, RunUsage
from domain.kernel import ApprovalId, ConversationId, RunId

ADD_RUN = """
-- Two at once: the index on running runs lets one of them in, whichever process it came to.
WITH run AS (
    INSERT INTO runs (organization_id, run_id, conversation_id, owner_id, agent, model, door, status,
                      heartbeat_at, created_at, parent_run_id, origin_run_id, owner_kind, scheduled, request_id,
                      trace_id, trust, task_run_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'running', now(), $8, $12, $13, $15, $16, $17, $18, $19, $20)
), active AS (
    UPDATE conversations SET active_run_id = $2, branched = branched OR $14 WHERE conversation_id = $3
)
INSERT INTO messages (organization_id, message_id, conversation_id, run_id, ordinal, role, content, client_message_id,
                      created_at)
SELECT $1, $9, $3, $2, coalesce(max(ordinal), 0) + 1, 'user', $10, $11, $8 FROM messages WHERE conversation_id = $3
"""

ASKED_BEFORE = """
SELECT run_id, content FROM messages WHERE conversation_id = $1 AND client_message_id = $2
"""

WRITE_STEPS = """
-- Only while the run is running under the lease that the writer names; the row lock settles who of two comes first.
WITH alive AS (
    UPDATE runs SET status = $2, error = $3, usage = coalesce($4, usage), finished_at = $5, awaited = $10,
        -- Not when the transaction began: a sign of life is as old as it is.
        heartbeat_at = clock_timestamp(),
        -- Lost one after another are those without a step between them.
        lost_carriers = CASE WHEN $11 AND $2 IN ('running', 'waiting') AND cardinality($6::uuid[]) > 0 THEN 0
            ELSE lost_carriers END
    WHERE run_id = $1 AND status = 'running' AND epoch = $9
    RETURNING organization_id, run_id, conversation_id
), stored AS (
    INSERT INTO messages (organization_id, message_id, conversation_id, run_id, ordinal, role, content, created_at)
    SELECT a.organization_id, s.message_id, a.conversation_id, a.run_id,
        s.place + (SELECT max(m.ordinal) FROM messages m
                   WHERE m.organization_id = a.organization_id AND m.conversation_id = a.conversation_id),
        'assistant', s.content, $8
    FROM alive a, unnest($6::uuid[], $7::text[]) WITH ORDINALITY AS s (message_id, content, place)
    -- A step whose commit was not heard of comes again.
    ON CONFLICT (organization_id, message_id) DO NOTHING
)
SELECT EXISTS (SELECT FROM alive)
"""

GET_RUN = """
SELECT r.run_id, r.conversation_id, r.agent, r.model, r.status, r.error, r.usage, r.created_at, r.finished_at,
    r.awaited, coalesce(last.sequence, 0) AS last_sequence,
    coalesce(last.type IN ('run.completed', 'run.cancelled', 'run.failed')
        OR r.status = 'waiting' AND last.type = 'run.waiting', false) AS ended_in_log
FROM runs r LEFT JOIN LATERAL (
    SELECT e.sequence, e.type FROM run_events e
    WHERE e.organization_id = r.organization_id AND e.run_id = r.run_id ORDER BY e.sequence DESC LIMIT 1) last ON true
WHERE r.run_id = $1
"""

FRAMES = """
SELECT run_id, sequence, type, data FROM run_events WHERE run_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""

REQUEST_CANCEL = "UPDATE runs SET cancel_requested = true WHERE run_id = $1 AND status IN ('running', 'waiting')"

BEGUN = """
SELECT r.run_id, r.conversation_id, r.agent AS run_agent, r.model, r.door, r.cancel_requested, r.request_id, r.trace_id,
    r.awaited, r.parent_run_id, r.status, r.error,
    m.message_id, m.content, m.client_message_id, m.created_at AS said_at,
    c.title, c.agent, c.agent_ceiling, c.engagement_id, c.created_at, c.updated_at, c.active_run_id, c.branched,
    c.titled_by
FROM runs r
    JOIN conversations c USING (organization_id, conversation_id)
    JOIN messages m ON m.organization_id = r.organization_id AND m.conversation_id = r.conversation_id
        AND m.run_id = r.run_id AND m.role = 'user'
WHERE r.run_id = $1
"""
UNFINISHED = f"{BEGUN} AND r.status = 'running'"

STEPS_OF_RUN = """
SELECT m.message_id, m.content FROM messages m
WHERE m.conversation_id = $1 AND m.run_id = $2 AND m.role = 'assistant' ORDER BY m.ordinal
"""

ALL_FRAMES = """
SELECT run_id, sequence, type, data, checkpoint FROM run_events WHERE run_id = $1 ORDER BY sequence
"""

# What one frame's text would repeat, the message it belongs to holds whole.
TOLD_SINCE = """
WITH last AS MATERIALIZED (
    SELECT max(sequence) FILTER (WHERE checkpoint IS NOT NULL) AS checkpoint, max(sequence) AS sequence
    FROM run_events WHERE run_id = $1
)
SELECT e.run_id, e.sequence, e.type, e.data, e.checkpoint, last.sequence AS last_sequence
FROM last JOIN run_events e ON e.run_id = $1 AND e.sequence >= coalesce(last.checkpoint, 0)
WHERE e.type <> 'message.delta'
ORDER BY e.sequence
"""


class RunRows(PostgresSession):
    """A principal's own runs, with their steps and their frames."""

    async def add_run(self, run: NewRun) -> None:
        """The run and the message that begins it."""
        try:
            await self._connection.execute(
                ADD_RUN,
                self._principal.organization_id,
                run.run_id,
                run.conversation_id,
                self._principal.principal_id,
                run.agent,
                run.model,
                run.door,
                run.now,
                run.message_id,
                user_content(run.message),
                run.client_message_id,
                run.parent_run_id,
                run.origin_run_id,
                run.branches,
                self._principal.kind,
                self._principal.scheduled,
                run.request_id,
                run.trace_id,
                run.trust,
                run.task_run_id,
            )
        except asyncpg.UniqueViolationError as violation:
            if violation.constraint_name == "messages_client_message":
                raise ConversationTaken(run.conversation_id) from violation
            raise ConversationBusy(run.conversation_id) from violation

    async def asked_before(self, conversation_id: ConversationId, client_message_id: str) -> AskedBefore | None:
        """The run that a message with that id began."""
        row = await self._connection.fetchrow(ASKED_BEFORE, conversation_id, client_message_id)
        return None if row is None else AskedBefore(run_id=RunId(row["run_id"]), message=user_text(row["content"]))

    async def keep(
        self,
        run_id: RunId,
        epoch: int,
        steps: Sequence[Step],
        usage: RunUsage,
        now: datetime,
        *,
        given_up: bool = False,
    ) -> bool:
        """Add steps to the run's conversation, and what it has spent so far, while it runs under that epoch's lease."""
        spent = usage_content(usage, partial=True)
        return await self._write(run_id, epoch, "running", None, spent, None, steps, now, None, given_up=given_up)

    async def finish(
        self,
        run_id: RunId,
        epoch: int,
        ending: Ending,
        steps: Sequence[Step],
        now: datetime,
        *,
        given_up: bool = False,
    ) -> bool:
        """Add the last steps and end the run, while it runs under that epoch's lease."""
        waits = ending.status == "waiting"
        error, usage = error_content(ending.error), usage_content(ending.usage, partial=waits)
        finished_at, awaited = (None, ending.awaited) if waits else (now, None)
        return await self._write(
            run_id, epoch, ending.status, error, usage, finished_at, steps, now, awaited, given_up=given_up
        )

    async def _write(
        self,
        run_id: RunId,
        epoch: int,
        status: RunStatus,
        error: str | None,
        usage: str | None,
        finished_at: datetime | None,
        steps: Sequence[Step],
        now: datetime,
        awaited: Sequence[ApprovalId] | None,
        *,
        given_up: bool,
    ) -> bool:
        ids = [step.message_id for step in steps]
        contents = [step_content(step) for step in steps]
        wrote = await self._connection.fetchval(
            WRITE_STEPS,
            run_id,
            status,
            error,
            usage,
            finished_at,
            ids,
            contents,
            now,
            epoch,
            awaited,
            not given_up,
        )
        return bool(wrote)

    async def unfinished(self, run_id: RunId) -> Unfinished | None:
        """The run as its carrier left it; None: it is not running."""
        row = await self._connection.fetchrow(UNFINISHED, run_id)
        if row is None:
            return None
        kept = await self._connection.fetch(STEPS_OF_RUN, row["conversation_id"], run_id)
        steps = [step_of(each["message_id"], each["content"]) for each in kept]
        told = await self._connection.fetch(TOLD_SINCE, run_id)
        # A question past its time is open for a run that waits, until it is written down that it has expired.
        later = await calls_now(self._connection, open_calls(steps), as_written=True)
        return unfinished_of(row, steps, later, told)

    async def recorded(self, run_id: RunId) -> RecordedRun | None:
        """The run from its beginning, whatever has become of it."""
        row = await self._connection.fetchrow(BEGUN, run_id)
        return None if row is None else recorded_of(row, await self._connection.fetch(ALL_FRAMES, run_id))

    async def run(self, run_id: RunId) -> Run | None:
        """One's own run of that id."""
        row = await self._connection.fetchrow(GET_RUN, run_id)
        return None if row is None else run_of(row)

    async def frames(self, run_id: RunId, after: int, limit: int) -> Sequence[RunFrame]:
        """Committed frames with a sequence above `after`, in order."""
        rows = await self._connection.fetch(FRAMES, run_id, after, limit)
        return [
            RunFrame(run_id=RunId(row["run_id"]), sequence=row["sequence"], type=row["type"], data=row["data"])
            for row in rows
        ]

    async def request_cancel(self, run_id: RunId) -> None:
        """Tell the process that carries the run to end it."""
        await self._connection.execute(REQUEST_CANCEL, run_id)
