"""Approvals in SQL: asked once, settled by compare-and-set."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

import orjson

from domain.approvals.comparison import LikeCall
from domain.approvals.model import Approval, ApprovalItem, ApprovalQuery, ApprovalState, Decider, RunEnd
from domain.approvals.subjects import BoundSubject, BoundSubjects, NamedSubject, SubjectWords
from domain.kernel import (
    ApprovalId,
    CallId,
    ConversationId,
    Door,
    EngagementId,
    Level,
    Mode,
    OrganizationId,
    PrincipalId,
    PrincipalKind,
    Role,
    RunId,
    TaskRunId,
)
from domain.storage.postgres import Connection, Row

_ADD = """
INSERT INTO approvals (organization_id, approval_id, call_id, tool, manifest_digest, policy_digest, arguments,
    arguments_digest, reasons, requested_by, requested_kind, requested_mode, requested_door, requested_scheduled,
    agent_ceiling, engagement_id, conversation_id, run_id, task_run_id, needs_role, four_eyes, state, created_at,
    expires_at, subjects)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
    $25::jsonb)
"""

_ITEMS = """
SELECT a.organization_id, a.approval_id, a.call_id, a.tool, a.manifest_digest, a.policy_digest, a.arguments,
       a.arguments_digest, a.reasons, a.requested_by, a.requested_kind, a.requested_mode, a.requested_door,
       a.requested_scheduled, a.agent_ceiling, a.engagement_id, a.conversation_id, a.run_id, a.task_run_id,
       a.needs_role, a.four_eyes, a.state, a.created_at, a.expires_at, a.decided_by, a.decided_at, a.comment,
       a.decided_for, a.reminded_at, a.subjects::text AS subjects, coalesce(r.email, a.requested_by::text) AS requester,
       coalesce(d.email, a.decided_by::text) AS decider, coalesce(f.email, a.decided_for::text) AS stood_for,
       ARRAY(SELECT coalesce(u.email, who::text) FROM unnest(glow.stand_behind(a.call_id, a.task_run_id, a.run_id)) who
             LEFT JOIN users u ON u.user_id = who ORDER BY 1) AS set_up_by
FROM approvals a
LEFT JOIN users r ON r.user_id = a.requested_by
LEFT JOIN users d ON d.user_id = a.decided_by
LEFT JOIN users f ON f.user_id = a.decided_for
WHERE a.organization_id = glow.organization_id()
"""

# A pending approval past its time is an expired one, whether or not anything has written that down yet.
_LIST = (
    _ITEMS
    + """
  AND ($1::timestamptz IS NULL OR (a.created_at, a.approval_id) < ($1, $2::uuid))
  AND ($3::text IS NULL
       OR CASE WHEN a.state = 'pending' AND a.expires_at <= $4 THEN 'expired' ELSE a.state END = $3)
  AND ($5::uuid IS NULL OR a.requested_by = $5)
ORDER BY a.created_at DESC, a.approval_id DESC
LIMIT $6
"""
)

_GET = _ITEMS + "  AND a.approval_id = $1"

# One look into the index for each member whose calls the principal may read: row security alone would read them all, to
# throw away most. What opened the call has its arguments.
_LAST_LIKE = """
SELECT made.call_id, made.occurred_at, made.user_id = $2 AS same_requester, made.email, p.arguments
FROM (
    SELECT e.call_id, e.occurred_at, m.user_id, u.email
    FROM memberships m JOIN users u USING (user_id)
    CROSS JOIN LATERAL (
        SELECT e.call_id, e.occurred_at FROM activity_events e
        WHERE e.organization_id = m.organization_id AND e.tool = $1 AND e.principal_id = m.user_id
          AND e.kind = 'tool.completed' AND NOT e.opens AND e.occurred_at < $3
        ORDER BY e.occurred_at DESC LIMIT 1) e
    WHERE m.organization_id = glow.organization_id()
      AND (glow.reads_organization() OR m.user_id = glow.principal_id())
    ORDER BY m.user_id = $2 DESC, e.occurred_at DESC LIMIT 1
) made
JOIN activity_events o ON o.organization_id = glow.organization_id() AND o.call_id = made.call_id AND o.opens
JOIN activity_payloads p ON p.organization_id = o.organization_id AND p.event_id = o.event_id
WHERE p.arguments IS NOT NULL
"""

# Whoever has no right of their own stands in for somebody who has; was that taken back since policy was asked, nothing
# is decided.
_SETTLE = """
WITH question AS (
    SELECT a.organization_id, a.approval_id, s.user_id AS deputised,
           glow.deciding_rank(glow.role()) >= greatest(glow.deciding_rank(a.needs_role), 1) AS by_own_right
    FROM approvals a
    CROSS JOIN LATERAL glow.askers_of(a.call_id, a.task_run_id, a.run_id, a.requested_by) asking (askers)
    LEFT JOIN LATERAL glow.stands_in_for(a.needs_role, a.four_eyes, asking.askers) s ON true
    WHERE a.organization_id = glow.organization_id() AND a.approval_id = $1
)
UPDATE approvals a SET state = $2, decided_by = $3, comment = $4, decided_at = $5,
    decided_for = CASE WHEN NOT q.by_own_right THEN q.deputised END
FROM question q
WHERE a.organization_id = q.organization_id AND a.approval_id = q.approval_id
    AND (q.by_own_right OR q.deputised IS NOT NULL) AND a.state = 'pending' AND a.expires_at > $5
    AND glow.run_over(a.run_id, a.task_run_id) IS NULL
"""

_BEGIN = """
UPDATE approvals SET state = 'executing'
WHERE organization_id = glow.organization_id() AND approval_id = $1 AND state = 'approved'
"""

# What is refused at execution was approved, and never came to be executing.
_FINISH = """
UPDATE approvals SET state = CASE WHEN $2 THEN 'executed' ELSE 'failed' END
WHERE organization_id = glow.organization_id() AND approval_id = $1
    AND (state = 'executing' OR state = 'approved' AND NOT $2)
"""


# Two statements, so that the second sees what was committed before the first was granted.
_LOCK_RUN = "SELECT glow.lock_task_run($1, $2)"
_RUN_OVER = "SELECT glow.run_over($1, $2)"
_ASKED_IN_VAIN = "SELECT glow.task_run_asked_in_vain($1)"

_SETTLED = """
SELECT a.organization_id, a.approval_id, a.call_id, a.tool, a.manifest_digest, a.policy_digest, a.arguments,
       a.arguments_digest, a.reasons, a.requested_by, a.requested_kind, a.requested_mode, a.requested_door,
       a.requested_scheduled, a.agent_ceiling, a.engagement_id, a.conversation_id, a.run_id, a.task_run_id,
       a.needs_role, a.four_eyes, a.state, a.created_at, a.expires_at, a.decided_by, a.decided_at, a.comment,
       a.decided_for, a.reminded_at, a.subjects::text AS subjects
"""

_CANCEL_OF_RUN = _SETTLED + "FROM glow.cancel_approvals_of_run($1, $2, $3, $4) a"
_CANCEL_OF_CONVERSATION = _SETTLED + "FROM glow.cancel_approvals_of_conversation($1, $2, $3) a"
_REMIND = _SETTLED + "FROM glow.remind_of_approval($1, $2) a"
_EXPIRE = _SETTLED + "FROM glow.expire_approval($1, $2) a"


_DIGESTS = "SELECT glow.subject_digests($1::jsonb, $2, $3)::text"
_WORDS = "SELECT glow.subject_shown($1, $2, $3, $4)::text"
WORDS_SHOWN, LONGEST_SHOWN = 20, 2000
"""Of a subject: how many words, and characters of each."""


class PostgresApprovals:
    """ApprovalRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, approval: Approval) -> RunEnd | None:
        if approval.task_run_id is not None:
            await self._connection.execute(_LOCK_RUN, approval.task_run_id, False)
        over = await self.run_over(approval.run_id, approval.task_run_id)
        if over is not None:
            return over
        await self._connection.execute(
            _ADD,
            approval.organization_id,
            approval.approval_id,
            approval.call_id,
            approval.tool,
            approval.manifest_digest,
            approval.policy_digest,
            approval.arguments,
            approval.arguments_digest,
            approval.reasons,
            approval.requested_by,
            approval.requested_kind,
            approval.requested_mode,
            approval.requested_door,
            approval.requested_scheduled,
            approval.agent_ceiling,
            approval.engagement_id,
            approval.conversation_id,
            approval.run_id,
            approval.task_run_id,
            approval.needs_role,
            approval.four_eyes,
            approval.state,
            approval.created_at,
            approval.expires_at,
            None if approval.subjects is None else _bound_json(approval.subjects),
        )
        return None

    async def run_over(self, run_id: RunId | None, task_run_id: TaskRunId | None) -> RunEnd | None:
        return cast("RunEnd | None", await self._connection.fetchval(_RUN_OVER, run_id, task_run_id))

    async def asked_in_vain(self, task_run_id: TaskRunId) -> bool:
        return bool(await self._connection.fetchval(_ASKED_IN_VAIN, task_run_id))

    async def list(self, query: ApprovalQuery, now: datetime) -> Sequence[ApprovalItem]:
        rows = await self._connection.fetch(
            _LIST,
            *query.page.behind,
            query.state,
            now,
            query.requested_by,
            query.page.limit + 1,
        )
        return [_item(row) for row in rows]

    async def get(self, approval_id: ApprovalId) -> ApprovalItem | None:
        row = await self._connection.fetchrow(_GET, approval_id)
        return None if row is None else _item(row)

    async def last_like(self, approval: Approval) -> LikeCall | None:
        row = await self._connection.fetchrow(_LAST_LIKE, approval.tool, approval.requested_by, approval.created_at)
        if row is None:
            return None
        return LikeCall(
            call_id=CallId(row["call_id"]),
            made_at=row["occurred_at"],
            made_by=row["email"],
            same_requester=row["same_requester"],
            arguments=row["arguments"],
        )

    async def digests(self, named: Sequence[NamedSubject], salt: bytes, *, hold: bool) -> Sequence[str | None]:
        asked = orjson.dumps([{"subject": each.subject, "id": each.id} for each in named]).decode()
        text = cast(str, await self._connection.fetchval(_DIGESTS, asked, salt, hold))
        return cast("list[str | None]", orjson.loads(text))

    async def words(self, named: NamedSubject) -> SubjectWords | None:
        text = await self._connection.fetchval(_WORDS, named.subject, named.id, WORDS_SHOWN, LONGEST_SHOWN)
        if text is None:
            return None
        found = cast("dict[str, object]", orjson.loads(text))
        words = cast("list[list[str]]", found["words"])
        return SubjectWords(
            words=tuple((name, value) for name, value in words), is_whole=not (found["more"] or found["cut"])
        )

    async def settle(
        self, approval_id: ApprovalId, state: ApprovalState, decider: PrincipalId, comment: str | None, now: datetime
    ) -> bool:
        return await self._connection.execute(_SETTLE, approval_id, state, decider, comment, now) == "UPDATE 1"

    async def cancel_of_run(
        self, task_run_id: TaskRunId, by: PrincipalId | None, reason: str, now: datetime
    ) -> Sequence[Approval]:
        await self._connection.execute(_LOCK_RUN, task_run_id, True)
        return [approval_of(row) for row in await self._connection.fetch(_CANCEL_OF_RUN, task_run_id, by, reason, now)]

    async def cancel_of_conversation(self, run_id: RunId, reason: str, now: datetime) -> Sequence[Approval]:
        return [approval_of(row) for row in await self._connection.fetch(_CANCEL_OF_CONVERSATION, run_id, reason, now)]

    async def expire(self, approval_id: ApprovalId, now: datetime) -> Approval | None:
        row = await self._connection.fetchrow(_EXPIRE, approval_id, now)
        return None if row is None else approval_of(row)

    async def remind(self, approval_id: ApprovalId, now: datetime) -> Approval | None:
        row = await self._connection.fetchrow(_REMIND, approval_id, now)
        return None if row is None else approval_of(row)

    async def deciders(self, approval_id: ApprovalId) -> Sequence[Decider]:
        rows = await self._connection.fetch("SELECT email, decides_for FROM glow.deciders_of($1)", approval_id)
        return [Decider(email=row["email"], decides_for=row["decides_for"]) for row in rows]

    async def finish_of_call(self, call_id: CallId) -> Approval | None:
        row = await self._connection.fetchrow("SELECT * FROM glow.finish_approval_of($1)", call_id)
        return None if row is None else approval_of(row)

    async def begin(self, approval_id: ApprovalId) -> bool:
        return await self._connection.execute(_BEGIN, approval_id) == "UPDATE 1"

    async def finish(self, approval_id: ApprovalId, *, executed: bool) -> bool:
        return await self._connection.execute(_FINISH, approval_id, executed) == "UPDATE 1"


def _item(row: Row) -> ApprovalItem:
    return ApprovalItem(
        approval=approval_of(row),
        requested_by=row["requester"],
        decided_by=row["decider"],
        decided_for=row["stood_for"],
        set_up_by=tuple(row["set_up_by"]),
    )


def approval_of(row: Row) -> Approval:
    return Approval(
        organization_id=OrganizationId(row["organization_id"]),
        approval_id=ApprovalId(row["approval_id"]),
        call_id=CallId(row["call_id"]),
        tool=row["tool"],
        manifest_digest=row["manifest_digest"],
        policy_digest=row["policy_digest"],
        arguments=row["arguments"],
        arguments_digest=row["arguments_digest"],
        reasons=tuple(row["reasons"]),
        requested_by=PrincipalId(row["requested_by"]),
        requested_kind=cast(PrincipalKind, row["requested_kind"]),
        requested_mode=cast(Mode, row["requested_mode"]),
        requested_door=cast(Door, row["requested_door"]),
        requested_scheduled=row["requested_scheduled"],
        agent_ceiling=Level(row["agent_ceiling"]),
        engagement_id=cast("EngagementId | None", row["engagement_id"]),
        conversation_id=cast("ConversationId | None", row["conversation_id"]),
        run_id=cast("RunId | None", row["run_id"]),
        task_run_id=cast("TaskRunId | None", row["task_run_id"]),
        needs_role=Role(row["needs_role"]),
        four_eyes=row["four_eyes"],
        state=cast(ApprovalState, row["state"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        decided_by=cast("PrincipalId | None", row["decided_by"]),
        decided_at=row["decided_at"],
        comment=row["comment"],
        subjects=_bound(row["subjects"]),
        decided_for=cast("PrincipalId | None", row["decided_for"]),
        reminded_at=row["reminded_at"],
    )


def _bound_json(bound: BoundSubjects) -> str:
    subjects = [{"subject": each.subject, "argument": each.argument, "digest": each.digest} for each in bound.subjects]
    return orjson.dumps({"salt": bound.salt.hex(), "subjects": subjects}).decode()


def _bound(text: str | None) -> BoundSubjects | None:
    if text is None:
        return None
    stored = cast("dict[str, object]", orjson.loads(text))
    return BoundSubjects(
        salt=bytes.fromhex(cast(str, stored["salt"])),
        subjects=tuple(
            BoundSubject(
                subject=cast(str, each["subject"]), argument=cast(str, each["argument"]), digest=each["digest"]
            )
            for each in cast("list[dict[str, str | None]]", stored["subjects"])
        ),
    )
