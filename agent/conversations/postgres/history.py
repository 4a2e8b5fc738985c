"""What a turn looks back over: the turns before it, the summary of older ones, what other versions did."""

from collections.abc import Sequence

from agent.conversations.model import Act, History, Summary, Turn
from agent.conversations.postgres.branches import PATH
from agent.conversations.postgres.calls import calls_now, calls_of, open_calls
from agent.conversations.postgres.session import PostgresSession
from agent.conversations.rows import act_of, summary_content, summary_of, turns_of, with_unkept
from domain.kernel import ConversationId, RunId

CROWDED = 0.75
"""The share of the stored messages that a turn looks back over, above which the oldest are to be summarised."""

# Each run has a message at least, so that more than $3 of them are never needed.
HISTORY = f"""{PATH} WHERE p.depth <= $3)
SELECT m.message_id, m.run_id, m.role, m.content, p.status
FROM path p JOIN messages m USING (run_id)
WHERE m.conversation_id = $1 AND m.run_id <> $2
ORDER BY m.ordinal DESC LIMIT $3
"""

# A call's arguments stand with the event that opened it; its newest event says how it ended.
ACTS_ELSEWHERE = f"""{PATH})
SELECT * FROM (
    SELECT DISTINCT ON (e.call_id) e.call_id, e.tool, e.outcome, e.recorded_at, (
        SELECT p.arguments FROM activity_events o JOIN activity_payloads p USING (organization_id, event_id)
        WHERE o.organization_id = e.organization_id AND o.call_id = e.call_id AND o.opens) AS arguments
    FROM activity_events e
    WHERE e.conversation_id = $1 AND e.effect <> 'read' AND e.outcome IS NOT NULL AND e.run_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM path p WHERE p.run_id = e.run_id)
    ORDER BY e.call_id, e.recorded_at DESC) act
WHERE act.outcome IN ('done', 'waiting') AND act.arguments IS NOT NULL
ORDER BY act.recorded_at DESC LIMIT $3
"""

ANSWERED_BEFORE = """
SELECT EXISTS (SELECT FROM runs r JOIN runs s ON s.organization_id = r.organization_id
    AND s.conversation_id = r.conversation_id AND s.parent_run_id IS NOT DISTINCT FROM r.parent_run_id
    AND s.run_id <> r.run_id AND s.created_at <= r.created_at
WHERE r.conversation_id = $1 AND r.run_id = $2)
"""

IS_BRANCHED = "SELECT branched FROM conversations WHERE conversation_id = $1"

MOST_ACTS = 50
"""Acts of other versions that a turn is told of, the newest."""

_SUMMARY = "summary_id, last_run_id, turns, trust, content, model, input_tokens, output_tokens, created_at"

SUMMARIES_ON_PATH = f"""
SELECT {_SUMMARY} FROM conversation_summaries WHERE conversation_id = $1 AND last_run_id = ANY ($2::uuid[])
"""

SUMMARIES = f"""
SELECT {_SUMMARY} FROM conversation_summaries WHERE conversation_id = $1
ORDER BY created_at DESC, summary_id DESC LIMIT 100
"""

ADD_SUMMARY = """
INSERT INTO conversation_summaries (organization_id, summary_id, conversation_id, last_run_id, turns, trust, content,
                                    model, input_tokens, output_tokens, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (organization_id, conversation_id, last_run_id) DO NOTHING
"""


class HistoryRows(PostgresSession):
    """What went before a run of a principal's own, and the summaries that stand for the oldest of it."""

    async def history(self, conversation_id: ConversationId, before: RunId, limit: int) -> History:
        """The newest turns on the path to that run, of at most `limit` messages, and what other paths did."""
        rows = await self._connection.fetch(HISTORY, conversation_id, before, limit)
        summary, turns = await self._summarised(conversation_id, turns_of(reversed(rows)))
        broken = [turn.run_id for turn in turns if turn.status == "failed"]
        unkept = await calls_of(self._connection, conversation_id, broken)
        turns = [with_unkept(turn, unkept.get(turn.run_id, ())) for turn in turns]
        steps = [step for turn in turns for step in turn.steps]
        waiting = () if summary is None else summary.open_calls
        later = await calls_now(self._connection, [*open_calls(steps), *(call.call_id for call in waiting)])
        acts, again = await self._elsewhere(conversation_id, before)
        return History(
            turns=tuple(turns),
            later=later,
            summary=summary,
            unshown=len(rows) == limit and summary is None,
            crowded=sum(1 + len(turn.steps) for turn in turns) > CROWDED * limit,
            elsewhere=acts,
            again=again,
        )

    async def _summarised(
        self, conversation_id: ConversationId, turns: Sequence[Turn]
    ) -> tuple[Summary | None, Sequence[Turn]]:
        """The newest summary that holds for these turns, and those that it does not stand for."""
        places = {turn.run_id: place for place, turn in enumerate(turns)}
        rows = await self._connection.fetch(SUMMARIES_ON_PATH, conversation_id, list(places)) if places else []
        summary = max(map(summary_of, rows), key=lambda each: places[each.last_run_id], default=None)
        return summary, turns if summary is None else turns[places[summary.last_run_id] + 1 :]

    async def _elsewhere(self, conversation_id: ConversationId, before: RunId) -> tuple[tuple[Act, ...], bool]:
        """What other paths than that run's did, and whether its own turn was answered before."""
        if not await self._connection.fetchval(IS_BRANCHED, conversation_id):
            return (), False
        rows = await self._connection.fetch(ACTS_ELSEWHERE, conversation_id, before, MOST_ACTS)
        again = await self._connection.fetchval(ANSWERED_BEFORE, conversation_id, before)
        return tuple(act_of(row) for row in reversed(rows)), bool(again)

    async def add_summary(self, conversation_id: ConversationId, summary: Summary) -> None:
        """Keep what stands for the turns up to one; of two for the same turns the first stays."""
        await self._connection.execute(
            ADD_SUMMARY,
            self._principal.organization_id,
            summary.summary_id,
            conversation_id,
            summary.last_run_id,
            summary.turns,
            summary.trust,
            summary_content(summary),
            summary.model,
            summary.input_tokens,
            summary.output_tokens,
            summary.created_at,
        )

    async def summaries(self, conversation_id: ConversationId) -> Sequence[Summary]:
        """What stood or stands for its oldest turns, the newest first."""
        return [summary_of(row) for row in await self._connection.fetch(SUMMARIES, conversation_id)]
