"""Intents in SQL: one row while a call is under way outside."""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from domain.intents.model import Intent, OpenCall
from domain.kernel import (
    ApprovalId,
    CallId,
    ConversationId,
    Door,
    EngagementId,
    Level,
    Mode,
    OrganizationId,
    Principal,
    PrincipalId,
    PrincipalKind,
    Role,
    RunId,
    TaskRunId,
)
from domain.paging import PageRequest
from domain.storage.postgres import Connection, Row

_ADD = """
INSERT INTO call_intents (organization_id, call_id, principal_id, principal_kind, mode, door, scheduled, tool,
    arguments, approval_id, conversation_id, run_id, task_run_id, engagement_id, agent_ceiling, begun_at,
    manifest_digest)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""

_FIND = """
SELECT organization_id, call_id, principal_id, principal_kind, mode, door, scheduled, tool, arguments,
       approval_id, conversation_id, run_id, task_run_id, engagement_id, agent_ceiling, begun_at, manifest_digest
FROM call_intents WHERE organization_id = glow.organization_id() AND call_id = $1
"""

# Whoever deletes the row first says how the call ended; another waits for that one's commit and finds nothing.
_END = "DELETE FROM call_intents WHERE organization_id = glow.organization_id() AND call_id = $1"

_HOLD = "SELECT pg_advisory_xact_lock(hashtextextended('glow.intent:' || $1::uuid, 0))"

# Who presses Stop is heard at once; the run's row says so once whoever carries it has ended it.
_RUN_OVER = """
SELECT glow.run_over($1, $2) IS NOT NULL OR EXISTS (
    SELECT FROM runs r
    WHERE r.organization_id = glow.organization_id() AND r.run_id = $1 AND r.cancel_requested
      AND r.status IN ('running', 'waiting'))
"""

_CLOSE = """
SELECT organization_id, call_id, principal_id, principal_kind, mode, door, scheduled, tool, arguments,
       approval_id, conversation_id, run_id, task_run_id, engagement_id, agent_ceiling, begun_at, manifest_digest
FROM glow.close_call($1)
"""

_UNCOUNT = "SELECT glow.uncount_call($1)"

_OPEN = """
SELECT call_id, tool, begun_at, asked_by, needs_role, four_eyes, approval_id, conversation_id, run_id, task_run_id
FROM glow.open_calls($1, $2, $3)
"""


class PostgresIntents:
    """Intents over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, intent: Intent) -> None:
        principal = intent.principal
        await self._connection.execute(
            _ADD,
            intent.call_id,
            principal.principal_id,
            principal.kind,
            principal.mode,
            principal.door,
            principal.scheduled,
            intent.tool,
            intent.arguments,
            intent.approval_id,
            intent.conversation_id,
            intent.run_id,
            intent.task_run_id,
            intent.engagement_id,
            int(intent.agent_ceiling),
            intent.begun_at,
            intent.manifest_digest,
        )

    async def find(self, call_id: CallId) -> Intent | None:
        row = await self._connection.fetchrow(_FIND, call_id)
        return None if row is None else _intent(row)

    async def end(self, call_id: CallId) -> bool:
        return await self._connection.execute(_END, call_id) == "DELETE 1"

    async def hold(self, call_id: CallId) -> None:
        await self._connection.execute(_HOLD, call_id)

    async def run_over(self, run_id: RunId | None, task_run_id: TaskRunId | None) -> bool:
        return bool(await self._connection.fetchval(_RUN_OVER, run_id, task_run_id))

    async def close(self, call_id: CallId) -> Intent | None:
        row = await self._connection.fetchrow(_CLOSE, call_id)
        return None if row is None else _intent(row)

    async def uncount(self, call_id: CallId) -> None:
        await self._connection.execute(_UNCOUNT, call_id)

    async def open(self, page: PageRequest) -> Sequence[OpenCall]:
        rows = await self._connection.fetch(_OPEN, *page.behind, page.limit + 1)
        return [_open_call(row) for row in rows]


def _open_call(row: Row) -> OpenCall:
    return OpenCall(
        call_id=CallId(row["call_id"]),
        tool=row["tool"],
        begun_at=row["begun_at"],
        asked_by=row["asked_by"],
        needs_role=Role(row["needs_role"]),
        four_eyes=row["four_eyes"],
        approval_id=cast("ApprovalId | None", row["approval_id"]),
        conversation_id=cast("ConversationId | None", row["conversation_id"]),
        run_id=cast("RunId | None", row["run_id"]),
        task_run_id=cast("TaskRunId | None", row["task_run_id"]),
    )


def _intent(row: Row) -> Intent:
    return Intent(
        call_id=CallId(cast(UUID, row["call_id"])),
        principal=Principal(
            organization_id=OrganizationId(row["organization_id"]),
            principal_id=PrincipalId(row["principal_id"]),
            kind=cast(PrincipalKind, row["principal_kind"]),
            mode=cast(Mode, row["mode"]),
            door=cast(Door, row["door"]),
            scheduled=row["scheduled"],
        ),
        tool=row["tool"],
        arguments=row["arguments"],
        approval_id=cast("ApprovalId | None", row["approval_id"]),
        conversation_id=cast("ConversationId | None", row["conversation_id"]),
        run_id=cast("RunId | None", row["run_id"]),
        task_run_id=cast("TaskRunId | None", row["task_run_id"]),
        engagement_id=cast("EngagementId | None", row["engagement_id"]),
        agent_ceiling=Level(row["agent_ceiling"]),
        begun_at=row["begun_at"],
        manifest_digest=row["manifest_digest"],
    )
