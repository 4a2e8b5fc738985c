"""Earned autonomy in SQL: the evidence, what it comes to, and proposals."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, cast

import orjson

from domain.earned.counting import EventSeen
from domain.earned.model import (
    CountedCall,
    CountingRules,
    Earning,
    Ended,
    NewestCall,
    NewProposal,
    Progress,
    Proposal,
    ProposalId,
    ProposalQuery,
    ProposalState,
    Tally,
    ToolCeiling,
    ToolRecord,
    Undoing,
)
from domain.kernel import CallId, Effect, Level, PrincipalId
from domain.storage.postgres import Connection, Row

_PROGRESS = """
SELECT through, rules, reviewed_at FROM autonomy_progress WHERE organization_id = glow.organization_id()
"""

_MOVE = """
INSERT INTO autonomy_progress (organization_id, through, rules, reviewed_at)
VALUES (glow.organization_id(), $1, $2, $3)
ON CONFLICT (organization_id) DO UPDATE SET through = EXCLUDED.through, rules = EXCLUDED.rules,
    reviewed_at = EXCLUDED.reviewed_at
"""

_SIZE = """
SELECT size FROM ledger_heads WHERE organization_id = glow.organization_id() ORDER BY size DESC LIMIT 1
"""

_EVENTS = """
SELECT leaf_index, kind, call_id, tool, effect, mode, occurred_at, principal_id, asked, decided_by, stands_in,
    arguments, result
FROM glow.autonomy_evidence($1, $2)
"""

_KEEP = """
INSERT INTO autonomy_calls (organization_id, call_id, tool, effect, mark, ended_index, ended_at, made)
SELECT glow.organization_id(), call_id, tool, effect, mark, ended_index, ended_at, made
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::uuid[])
    AS given (call_id, tool, effect, mark, ended_index, ended_at, made)
ON CONFLICT (organization_id, call_id) DO NOTHING
"""

# Of what was done to a thing before, the last is undone, once: a document may be deleted and restored again and again.
_UNDO = """
UPDATE autonomy_calls SET reversed_at = $3, reversed_by = $4
WHERE organization_id = glow.organization_id() AND reversed_at IS NULL AND call_id = (
    SELECT call_id FROM autonomy_calls
    WHERE organization_id = glow.organization_id() AND made = $1 AND tool = ANY ($2::text[]) AND ended_index < $5
    ORDER BY ended_index DESC LIMIT 1)
RETURNING call_id, tool, effect
"""

_COUNTED = """
SELECT call_id, ended_index, ended_at, CASE WHEN reversed THEN 'reversed' ELSE mark END AS mark
FROM (
    SELECT call_id, ended_index, ended_at, mark, reversed_at IS NOT NULL AND reversed_at - ended_at <= $2 AS reversed
    FROM autonomy_calls
    WHERE organization_id = glow.organization_id() AND tool = $1 AND ($3::timestamptz IS NULL OR ended_at > $3)
) c
WHERE reversed OR mark IN ('approved', 'rejected', 'failed')
ORDER BY ended_index DESC LIMIT $4
"""

_SAVE = """
INSERT INTO autonomy_records (organization_id, tool, effect, approved, rejected, failed, reversed, bound)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (organization_id, tool) DO UPDATE SET effect = EXCLUDED.effect, approved = EXCLUDED.approved,
    rejected = EXCLUDED.rejected, failed = EXCLUDED.failed, reversed = EXCLUDED.reversed, bound = EXCLUDED.bound
"""

_RECORDS = """
SELECT tool, effect, approved, rejected, failed, reversed, bound FROM autonomy_records
WHERE organization_id = glow.organization_id() ORDER BY tool LIMIT 1000
"""

# The newest is in force; the same reading as glow.begin_call's.
_CEILING = """
SELECT s.level, s.changed_at FROM autonomy_settings s
WHERE s.organization_id = glow.organization_id() AND s.scope = 'tool' AND s.subject = $1
ORDER BY s.changed_at DESC, s.setting_id DESC LIMIT 1
"""

_NEWEST = "SELECT call_id, effect, kind, occurred_at, reversed_at FROM glow.autonomy_newest($1, $2, $3)"

_DECIDED_AT = """
SELECT max(decided_at) FROM autonomy_proposals
WHERE organization_id = glow.organization_id() AND tool = $1 AND state IN ('accepted', 'rejected')
"""

_PROPOSE = """
INSERT INTO autonomy_proposals (organization_id, proposal_id, tool, from_level, to_level, evidence, through, state,
    proposed_by, proposed_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, 'open', $7, $8)
"""

_SETTLE = """
UPDATE autonomy_proposals SET state = $2, decided_by = $3, decided_at = $4, comment = $5
WHERE organization_id = glow.organization_id() AND proposal_id = $1 AND state = 'open'
"""

_PROPOSALS = """
SELECT p.proposal_id, p.tool, p.from_level, p.to_level, p.evidence, p.through, p.state, p.proposed_at,
       coalesce(u.email, p.decided_by::text) AS decided_by, p.decided_at, p.comment
FROM autonomy_proposals p LEFT JOIN users u ON u.user_id = p.decided_by
WHERE p.organization_id = glow.organization_id()
"""
_PROPOSAL = _PROPOSALS + "  AND p.proposal_id = $1"
_OPEN = _PROPOSALS + "  AND p.state = 'open' ORDER BY p.tool LIMIT 1000"
_LISTED = (
    _PROPOSALS
    + """
  AND ($1::timestamptz IS NULL OR (p.proposed_at, p.proposal_id) < ($1, $2::uuid))
  AND ($3::text IS NULL OR p.state = $3)
ORDER BY p.proposed_at DESC, p.proposal_id DESC
LIMIT $4
"""
)

_HOW: dict[str, Literal["done", "failed", "rejected"]] = {
    "tool.completed": "done",
    "tool.failed": "failed",
    "tool.rejected": "rejected",
}


class PostgresEarned:
    """EarnedRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def progress(self) -> Progress:
        row = await self._connection.fetchrow(_PROGRESS)
        if row is None:
            return Progress(through=0, rules=None, reviewed_at=None)
        rules = CountingRules(**orjson.loads(row["rules"]))
        return Progress(through=row["through"], rules=rules, reviewed_at=row["reviewed_at"])

    async def size(self) -> int:
        return cast("int | None", await self._connection.fetchval(_SIZE)) or 0

    async def events(self, start: int, end: int) -> Sequence[EventSeen]:
        return [_event(row) for row in await self._connection.fetch(_EVENTS, start, end)]

    async def keep(self, ended: Sequence[Ended]) -> None:
        if not ended:
            return
        await self._connection.execute(
            _KEEP,
            [each.call_id for each in ended],
            [each.tool for each in ended],
            [each.effect for each in ended],
            [each.mark for each in ended],
            [each.index for each in ended],
            [each.at for each in ended],
            [each.made for each in ended],
        )

    async def undo(self, undoing: Undoing) -> tuple[CallId, str, Earning] | None:
        row = await self._connection.fetchrow(
            _UNDO, undoing.thing, list(undoing.tools), undoing.at, undoing.call_id, undoing.index
        )
        return None if row is None else (CallId(row["call_id"]), row["tool"], cast(Earning, row["effect"]))

    async def counted(self, tool: str, rules: CountingRules, since: datetime | None) -> Sequence[CountedCall]:
        rows = await self._connection.fetch(_COUNTED, tool, rules.reversed_within, since, rules.window_calls)
        return [
            CountedCall(
                call_id=CallId(row["call_id"]),
                ended_index=row["ended_index"],
                ended_at=row["ended_at"],
                mark=row["mark"],
            )
            for row in reversed(rows)
        ]

    async def save(self, record: ToolRecord) -> None:
        tally = record.tally
        counts = (tally.approved, tally.rejected, tally.failed, tally.reversed, tally.bound)
        await self._connection.execute(_SAVE, record.tool, record.effect, *counts)

    async def move(self, progress: Progress) -> None:
        rules = {} if progress.rules is None else progress.rules.members()
        text = orjson.dumps(rules, option=orjson.OPT_SORT_KEYS).decode()
        await self._connection.execute(_MOVE, progress.through, text, progress.reviewed_at)

    async def records(self) -> Sequence[ToolRecord]:
        return [
            ToolRecord(
                tool=row["tool"],
                effect=cast(Earning, row["effect"]),
                tally=Tally(
                    approved=row["approved"],
                    rejected=row["rejected"],
                    failed=row["failed"],
                    reversed=row["reversed"],
                    bound=row["bound"],
                ),
            )
            for row in await self._connection.fetch(_RECORDS)
        ]

    async def ceiling(self, tool: str) -> ToolCeiling:
        row = await self._connection.fetchrow(_CEILING, tool)
        if row is None:
            return ToolCeiling(level=None, set_at=None)
        return ToolCeiling(level=None if row["level"] is None else Level(row["level"]), set_at=row["changed_at"])

    async def newest(self, tool: str, since: datetime | None, most: int) -> Sequence[NewestCall]:
        return [
            NewestCall(
                call_id=CallId(row["call_id"]),
                effect=cast(Earning, row["effect"]),
                how=_HOW[row["kind"]],
                at=row["occurred_at"],
                reversed_at=row["reversed_at"],
            )
            for row in await self._connection.fetch(_NEWEST, tool, since, most)
        ]

    async def open_proposals(self) -> Sequence[Proposal]:
        return [_proposal(row) for row in await self._connection.fetch(_OPEN)]

    async def decided_at(self, tool: str) -> datetime | None:
        return cast("datetime | None", await self._connection.fetchval(_DECIDED_AT, tool))

    async def propose(self, proposal: NewProposal) -> None:
        await self._connection.execute(
            _PROPOSE,
            proposal.proposal_id,
            proposal.tool,
            proposal.from_level,
            proposal.to_level,
            proposal.evidence,
            proposal.through,
            proposal.proposed_by,
            proposal.proposed_at,
        )

    async def settle(
        self, proposal_id: ProposalId, state: ProposalState, by: PrincipalId | None, at: datetime, comment: str | None
    ) -> None:
        await self._connection.execute(_SETTLE, proposal_id, state, by, at, comment)

    async def proposal(self, proposal_id: ProposalId) -> Proposal | None:
        row = await self._connection.fetchrow(_PROPOSAL, proposal_id)
        return None if row is None else _proposal(row)

    async def proposals(self, query: ProposalQuery) -> Sequence[Proposal]:
        rows = await self._connection.fetch(_LISTED, *query.page.behind, query.state, query.page.limit + 1)
        return [_proposal(row) for row in rows]


def _event(row: Row) -> EventSeen:
    return EventSeen(
        index=row["leaf_index"],
        kind=row["kind"],
        call_id=CallId(row["call_id"]),
        tool=row["tool"],
        effect=cast("Effect | None", row["effect"]),
        mode=row["mode"],
        at=row["occurred_at"],
        principal_id=PrincipalId(row["principal_id"]),
        asked=row["asked"],
        decided_by=cast("PrincipalId | None", row["decided_by"]),
        stands_in=row["stands_in"],
        arguments=row["arguments"],
        result=row["result"],
    )


def _proposal(row: Row) -> Proposal:
    return Proposal(
        proposal_id=ProposalId(row["proposal_id"]),
        tool=row["tool"],
        from_level=Level(row["from_level"]),
        to_level=Level(row["to_level"]),
        evidence=row["evidence"],
        through=row["through"],
        state=cast(ProposalState, row["state"]),
        proposed_at=row["proposed_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        comment=row["comment"],
    )
