"""What the record has by now on the calls that a conversation made."""

from collections.abc import Mapping, Sequence
from typing import cast

from agent.conversations.model import LedgerCall, MadeCall, Step
from agent.conversations.rows import call_now
from agent.events import Json
from domain.kernel import CallId, ConversationId, Outcome, RunId
from domain.storage.postgres import Connection
from tools.outcomes import OUTCOME_UNKNOWN

# The newest word of the record on each call, and of the question it left, where it left one.
CALLS_NOW = """
SELECT DISTINCT ON (e.call_id) e.call_id, e.outcome, e.error_code, p.result,
    a.approval_id, a.state, a.comment, coalesce(d.email, a.decided_by::text) AS decided_by,
    coalesce(a.state = 'pending' AND a.expires_at <= now(), false) AS lapsed
FROM activity_events e
    LEFT JOIN activity_payloads p USING (organization_id, event_id)
    LEFT JOIN approvals a ON a.organization_id = e.organization_id AND a.call_id = e.call_id
    LEFT JOIN users d ON d.user_id = a.decided_by
WHERE e.call_id = ANY ($1::uuid[]) AND e.outcome IS NOT NULL
ORDER BY e.call_id, e.recorded_at DESC
"""

CALLS_OF_RUNS = """
SELECT DISTINCT ON (e.call_id) e.call_id, e.run_id, e.tool, e.outcome
FROM activity_events e
WHERE e.conversation_id = $1 AND e.run_id = ANY ($2::uuid[]) AND e.outcome IS NOT NULL
ORDER BY e.call_id, e.recorded_at DESC
"""


def open_calls(steps: Sequence[Step]) -> Sequence[CallId]:
    """Those that had not come to their end when the step was kept."""
    return [call.call_id for step in steps for call in step.calls if _was_open(call)]


def _was_open(call: MadeCall) -> bool:
    """It waited, or nobody knew what it did outside; what was cut off may have been done."""
    return call.outcome in ("waiting", "cancelled") or (call.outcome == "failed" and OUTCOME_UNKNOWN in call.text)


async def calls_now(
    connection: Connection, calls: Sequence[CallId], *, as_written: bool = False
) -> Mapping[CallId, Json]:
    """Each call's envelope as it stands; `as_written`: a question past its time stays open until it is written down
    that it has expired."""
    if not calls:
        return {}
    rows = await connection.fetch(CALLS_NOW, calls)
    return {CallId(row["call_id"]): call_now(row, lapsed=row["lapsed"] and not as_written) for row in rows}


async def calls_of(
    connection: Connection, conversation_id: ConversationId, runs: Sequence[RunId]
) -> Mapping[RunId, Sequence[LedgerCall]]:
    """What the record has on calls of these runs."""
    if not runs:
        return {}
    rows = await connection.fetch(CALLS_OF_RUNS, conversation_id, runs)
    calls: dict[RunId, list[LedgerCall]] = {}
    for row in rows:
        call = LedgerCall(call_id=CallId(row["call_id"]), tool=row["tool"], outcome=cast(Outcome, row["outcome"]))
        calls.setdefault(RunId(row["run_id"]), []).append(call)
    return calls
