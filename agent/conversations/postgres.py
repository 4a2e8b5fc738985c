"""Conversations and runs in PostgreSQL: a principal's own under row level security, the log, and the keeper of runs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

import asyncpg

from agent.conversations.model import (
    AskedBefore,
    Conversation,
    ConversationBusy,
    ConversationTaken,
    Ending,
    History,
    LedgerCall,
    NewRun,
    Orphan,
    Pulse,
    Run,
    RunKey,
    RunStatus,
    Said,
    Step,
    Surroundings,
)
from agent.conversations.rows import (
    call_now,
    conversation_of,
    conversation_or_none,
    error_content,
    run_of,
    said_of,
    step_content,
    turns_of,
    usage_content,
    user_content,
    user_text,
    with_unkept,
)
from agent.events import Json, RunFailed, RunFrame
from domain.idempotency.ports import Keys
from domain.idempotency.postgres import PostgresKeys
from domain.kernel import (
    CallId,
    ConversationId,
    EngagementId,
    Level,
    OrganizationId,
    Outcome,
    Principal,
    Role,
    RunId,
)
from domain.paging import PageRequest
from domain.storage.postgres import Connection

Acquire = Callable[[], AbstractAsyncContextManager[Connection]]

SURROUNDINGS = """
SELECT o.name, u.display_name, m.role
FROM memberships m JOIN organizations o USING (organization_id) JOIN users u USING (user_id)
WHERE m.user_id = $1
"""

SEES_ENGAGEMENT = "SELECT EXISTS (SELECT FROM engagements WHERE engagement_id = $1)"

OPEN_CONVERSATION = """
INSERT INTO conversations (organization_id, conversation_id, owner_id, title, agent, engagement_id,
                           created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
"""

_CONVERSATION = "conversation_id, title, agent, agent_ceiling, engagement_id, created_at, updated_at"

TOUCH_CONVERSATION = f"""
UPDATE conversations SET updated_at = greatest(updated_at, $2) WHERE conversation_id = $1 RETURNING {_CONVERSATION}
"""

ASSIGN = "UPDATE conversations SET agent = $2, agent_ceiling = $3 WHERE conversation_id = $1"

RENAME = f"UPDATE conversations SET title = $2, updated_at = $3 WHERE conversation_id = $1 RETURNING {_CONVERSATION}"

GET_CONVERSATION = f"SELECT {_CONVERSATION} FROM conversations WHERE conversation_id = $1"

LIST_CONVERSATIONS = f"""
SELECT {_CONVERSATION} FROM conversations
WHERE owner_id = $1 AND ($2::timestamptz IS NULL OR (updated_at, conversation_id) < ($2, $3))
ORDER BY updated_at DESC, conversation_id DESC LIMIT $4
"""

# Runs, messages and frames go with it; what its calls did stays in the record, which nothing here can touch.
DELETE_CONVERSATION = """
DELETE FROM conversations c WHERE c.conversation_id = $1
    AND NOT EXISTS (SELECT FROM runs r WHERE r.organization_id = c.organization_id
                    AND r.conversation_id = c.conversation_id AND r.status = 'running')
RETURNING true
"""

LIST_MESSAGES = """
SELECT message_id, run_id, role, content, created_at FROM messages
WHERE conversation_id = $1
    AND ordinal > coalesce((SELECT a.ordinal FROM messages a WHERE a.message_id = $2), 0)
ORDER BY ordinal LIMIT $3
"""

ADD_RUN = """
-- Two at once: the index on running runs lets one of them in, whichever process it came to.
WITH run AS (
    INSERT INTO runs (organization_id, run_id, conversation_id, owner_id, agent, model, door, status,
                      heartbeat_at, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'running', now(), $8)
)
INSERT INTO messages (organization_id, message_id, conversation_id, run_id, ordinal, role, content, client_message_id,
                      created_at)
SELECT $1, $9, $3, $2, coalesce(max(ordinal), 0) + 1, 'user', $10, $11, $8 FROM messages WHERE conversation_id = $3
"""

HISTORY = """
SELECT m.message_id, m.run_id, m.role, m.content, r.status
FROM messages m JOIN runs r USING (organization_id, run_id)
WHERE m.conversation_id = $1 AND m.run_id <> $2
ORDER BY m.ordinal DESC LIMIT $3
"""

# The newest word of the record on each call, and of the question it left, where it left one.
CALLS_NOW = """
SELECT DISTINCT ON (e.call_id) e.call_id, e.outcome, e.error_code, p.result,
    a.approval_id, a.state, a.comment, a.state = 'pending' AND a.expires_at <= now() AS lapsed
FROM activity_events e
    LEFT JOIN activity_payloads p USING (organization_id, event_id)
    LEFT JOIN approvals a ON a.organization_id = e.organization_id AND a.call_id = e.call_id
WHERE e.call_id = ANY ($1::uuid[]) AND e.outcome IS NOT NULL
ORDER BY e.call_id, e.recorded_at DESC
"""

CALLS_OF_RUNS = """
SELECT DISTINCT ON (e.call_id) e.call_id, e.run_id, e.tool, e.outcome
FROM activity_events e
WHERE e.conversation_id = $1 AND e.run_id = ANY ($2::uuid[]) AND e.outcome IS NOT NULL
ORDER BY e.call_id, e.recorded_at DESC
"""

ASKED_BEFORE = """
SELECT run_id, content FROM messages WHERE conversation_id = $1 AND client_message_id = $2
"""

WRITE_STEPS = """
-- Only while the run is running; the row lock settles who ends it, this process or the one that takes it for dead.
WITH alive AS (
    UPDATE runs SET status = $2, error = $3, usage = $4, finished_at = $5, heartbeat_at = now()
    WHERE run_id = $1 AND status = 'running'
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
    coalesce(last.sequence, 0) AS last_sequence,
    coalesce(last.type IN ('run.completed', 'run.cancelled', 'run.failed'), false) AS ended_in_log
FROM runs r LEFT JOIN LATERAL (
    SELECT e.sequence, e.type FROM run_events e
    WHERE e.organization_id = r.organization_id AND e.run_id = r.run_id ORDER BY e.sequence DESC LIMIT 1) last ON true
WHERE r.run_id = $1
"""

FRAMES = """
SELECT run_id, sequence, type, data FROM run_events WHERE run_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""

REQUEST_CANCEL = "UPDATE runs SET cancel_requested = true WHERE run_id = $1 AND status = 'running'"

INSERT_FRAMES = """
INSERT INTO run_events (organization_id, run_id, sequence, type, data)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[])
"""

BEAT = """
UPDATE runs r SET heartbeat_at = now()
FROM unnest($1::uuid[], $2::uuid[]) AS held (organization_id, run_id)
WHERE r.organization_id = held.organization_id AND r.run_id = held.run_id AND r.status = 'running'
RETURNING r.run_id, r.cancel_requested
"""

END_ORPHANS = """
-- Of several processes that look at once, each takes what no other has locked.
WITH stale AS (
    SELECT organization_id, run_id FROM runs
    WHERE status = 'running' AND heartbeat_at <= now() - $1::interval
    ORDER BY heartbeat_at LIMIT 100 FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE runs r SET status = 'failed', error = $2, finished_at = $3
    FROM stale s WHERE r.organization_id = s.organization_id AND r.run_id = s.run_id
    RETURNING r.organization_id, r.run_id
)
-- Frames are shown only once they are committed, so nobody has seen a higher number than the highest here.
SELECT e.organization_id, e.run_id, 1 + coalesce((
    SELECT max(v.sequence) FROM run_events v
    WHERE v.organization_id = e.organization_id AND v.run_id = e.run_id), 0) AS next_sequence
FROM ended e
"""


class PostgresConversations:
    """A principal's own conversations and runs in one transaction; satisfies ConversationStore."""

    def __init__(self, connection: Connection, principal: Principal) -> None:
        self._connection = connection
        self._principal = principal

    @property
    def keys(self) -> Keys:
        """The principal's idempotency keys, in this transaction."""
        return PostgresKeys(self._connection)

    async def surroundings(self) -> Surroundings | None:
        """Who is talking, and in which firm."""
        row = await self._connection.fetchrow(SURROUNDINGS, self._principal.principal_id)
        if row is None:
            return None
        return Surroundings(organization=row["name"], person=row["display_name"], role=Role(row["role"]))

    async def may_see_engagement(self, engagement_id: EngagementId) -> bool:
        """Whether there is such an engagement for this principal."""
        return bool(await self._connection.fetchval(SEES_ENGAGEMENT, engagement_id))

    # Conversations ----------------------------------------------------------------------------------------------

    async def open_conversation(self, conversation: Conversation) -> None:
        """Raises  ConversationTaken: its id exists."""
        try:
            await self._connection.execute(
                OPEN_CONVERSATION,
                self._principal.organization_id,
                conversation.conversation_id,
                self._principal.principal_id,
                conversation.title,
                conversation.agent,
                conversation.engagement_id,
                conversation.created_at,
            )
        except asyncpg.UniqueViolationError as violation:
            raise ConversationTaken(conversation.conversation_id) from violation

    async def touch_conversation(self, conversation_id: ConversationId, now: datetime) -> Conversation | None:
        """The conversation, now the newest of its owner's."""
        return conversation_or_none(await self._connection.fetchrow(TOUCH_CONVERSATION, conversation_id, now))

    async def conversations(self, page: PageRequest) -> Sequence[Conversation]:
        """Last touched first; one more than the page holds where there are more."""
        time, key = (None, None) if page.after is None else (page.after.time, page.after.id)
        owner = self._principal.principal_id
        rows = await self._connection.fetch(LIST_CONVERSATIONS, owner, time, key, page.limit + 1)
        return [conversation_of(row) for row in rows]

    async def conversation(self, conversation_id: ConversationId) -> Conversation | None:
        """One's own conversation of that id."""
        return conversation_or_none(await self._connection.fetchrow(GET_CONVERSATION, conversation_id))

    async def rename(self, conversation_id: ConversationId, title: str, now: datetime) -> Conversation | None:
        """The conversation under its new title."""
        return conversation_or_none(await self._connection.fetchrow(RENAME, conversation_id, title, now))

    async def delete(self, conversation_id: ConversationId) -> bool:
        """False: a run of it is running (or there is no such conversation)."""
        return bool(await self._connection.fetchval(DELETE_CONVERSATION, conversation_id))

    async def messages(self, conversation_id: ConversationId, after: UUID | None, limit: int) -> Sequence[Said]:
        """Oldest first, behind the message `after`; one more than `limit` where there are more."""
        rows = await self._connection.fetch(LIST_MESSAGES, conversation_id, after, limit + 1)
        return [
            said_of(row["message_id"], RunId(row["run_id"]), row["role"], row["content"], row["created_at"])
            for row in rows
        ]

    # Runs -------------------------------------------------------------------------------------------------------

    async def assign(self, conversation_id: ConversationId, agent: str, ceiling: Level) -> None:
        """Have the conversation go on with that persona, under that ceiling."""
        await self._connection.execute(ASSIGN, conversation_id, agent, int(ceiling))

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
            )
        except asyncpg.UniqueViolationError as violation:
            if violation.constraint_name == "messages_client_message":
                raise ConversationTaken(run.conversation_id) from violation
            raise ConversationBusy(run.conversation_id) from violation

    async def history(self, conversation_id: ConversationId, before: RunId, limit: int) -> History:
        """The newest turns before that run, of at most `limit` messages."""
        rows = await self._connection.fetch(HISTORY, conversation_id, before, limit)
        turns = turns_of(reversed(rows))
        broken = [turn.run_id for turn in turns if turn.status == "failed"]
        unkept = await self._calls_of(conversation_id, broken)
        turns = [with_unkept(turn, unkept.get(turn.run_id, ())) for turn in turns]
        open_calls = [
            call.call_id
            for turn in turns
            for step in turn.steps
            for call in step.calls
            if call.outcome in ("waiting", "cancelled")
        ]
        return History(turns=tuple(turns), later=await self._calls_now(open_calls))

    async def asked_before(self, conversation_id: ConversationId, client_message_id: str) -> AskedBefore | None:
        """The run that a message with that id began."""
        row = await self._connection.fetchrow(ASKED_BEFORE, conversation_id, client_message_id)
        return None if row is None else AskedBefore(run_id=RunId(row["run_id"]), message=user_text(row["content"]))

    async def keep(self, run_id: RunId, steps: Sequence[Step], now: datetime) -> bool:
        """Add steps to the run's conversation, while the run is running."""
        return await self._write(run_id, "running", None, None, None, steps, now)

    async def finish(self, run_id: RunId, ending: Ending, steps: Sequence[Step], now: datetime) -> bool:
        """Add the last steps and end the run, while it is running."""
        error, usage = error_content(ending.error), usage_content(ending.usage)
        return await self._write(run_id, ending.status, error, usage, now, steps, now)

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

    async def _write(
        self,
        run_id: RunId,
        status: RunStatus,
        error: str | None,
        usage: str | None,
        finished_at: datetime | None,
        steps: Sequence[Step],
        now: datetime,
    ) -> bool:
        ids = [step.message_id for step in steps]
        contents = [step_content(step) for step in steps]
        wrote = await self._connection.fetchval(
            WRITE_STEPS, run_id, status, error, usage, finished_at, ids, contents, now
        )
        return bool(wrote)

    async def _calls_now(self, calls: Sequence[CallId]) -> Mapping[CallId, Json]:
        if not calls:
            return {}
        rows = await self._connection.fetch(CALLS_NOW, calls)
        return {CallId(row["call_id"]): call_now(row) for row in rows}

    async def _calls_of(
        self, conversation_id: ConversationId, runs: Sequence[RunId]
    ) -> Mapping[RunId, Sequence[LedgerCall]]:
        if not runs:
            return {}
        rows = await self._connection.fetch(CALLS_OF_RUNS, conversation_id, runs)
        calls: dict[RunId, list[LedgerCall]] = {}
        for row in rows:
            call = LedgerCall(call_id=CallId(row["call_id"]), tool=row["tool"], outcome=cast(Outcome, row["outcome"]))
            calls.setdefault(RunId(row["run_id"]), []).append(call)
        return calls


class PostgresRunKeeper:
    """Heartbeats and orphans, as glow_service; satisfies RunKeeper. Each statement is a transaction of its own."""

    def __init__(self, acquire: Acquire) -> None:
        self._acquire = acquire

    async def beat(self, runs: Sequence[RunKey]) -> Pulse:
        """Say that these runs are alive."""
        organizations = [run.organization_id for run in runs]
        async with self._acquire() as connection:
            rows = await connection.fetch(BEAT, organizations, [run.run_id for run in runs])
        return Pulse(
            running=frozenset(RunId(row["run_id"]) for row in rows),
            to_cancel=frozenset(RunId(row["run_id"]) for row in rows if row["cancel_requested"]),
        )

    async def end_orphans(self, stale_after: timedelta, error: RunFailed, now: datetime) -> Sequence[Orphan]:
        """End each run whose last sign of life is older than that; of several processes one gets each."""
        async with self._acquire() as connection:
            rows = await connection.fetch(END_ORPHANS, stale_after, error_content(error), now)
        return [
            Orphan(
                key=RunKey(organization_id=OrganizationId(row["organization_id"]), run_id=RunId(row["run_id"])),
                next_sequence=row["next_sequence"],
            )
            for row in rows
        ]


async def insert_frames(connection: Connection, frames: Sequence[tuple[OrganizationId, RunFrame]]) -> None:
    """Append frames of any runs, as glow_recorder."""
    await connection.execute(
        INSERT_FRAMES,
        [organization_id for organization_id, _ in frames],
        [frame.run_id for _, frame in frames],
        [frame.sequence for _, frame in frames],
        [frame.type for _, frame in frames],
        [frame.data for _, frame in frames],
    )
