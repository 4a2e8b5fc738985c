"""The tree of a conversation: the path to a turn, its messages, and the versions beside it."""

from collections.abc import Sequence
from uuid import UUID

from agent.conversations.model import Conversation, Said
from agent.conversations.postgres.conversations import CONVERSATION
from agent.conversations.postgres.session import PostgresSession
from agent.conversations.rows import asked_turn_of, conversation_or_none, said_of, version_of
from agent.conversations.runs import AskedTurn
from agent.conversations.tree import TurnVersion
from domain.kernel import ConversationId, RunId

# The runs from $2 back to the first of its conversation $1. What follows was always said later: ordinals grow on it.
PATH = """
WITH RECURSIVE path AS (
    SELECT r.run_id, r.parent_run_id, r.status, 1 AS depth FROM runs r WHERE r.conversation_id = $1 AND r.run_id = $2
    UNION ALL
    SELECT r.run_id, r.parent_run_id, r.status, p.depth + 1
    FROM path p JOIN runs r ON r.conversation_id = $1 AND r.run_id = p.parent_run_id
"""

LIST_MESSAGES = f"""{PATH})
SELECT said.*, f.rating, f.comment FROM (
    SELECT m.message_id, m.run_id, m.role, m.content, m.created_at, m.ordinal,
        lag(m.message_id) OVER (ORDER BY m.ordinal) AS parent_id
    FROM path p JOIN messages m USING (run_id) WHERE m.conversation_id = $1) said
    LEFT JOIN feedback f ON said.role = 'assistant' AND f.run_id = said.run_id AND f.given_by = glow.principal_id()
WHERE said.ordinal > coalesce((SELECT a.ordinal FROM messages a WHERE a.message_id = $3), 0)
ORDER BY said.ordinal LIMIT $4
"""

VERSIONS = """
SELECT run_id, parent_run_id, coalesce(origin_run_id, run_id) AS origin_run_id
FROM runs WHERE conversation_id = $1 ORDER BY created_at, run_id
"""

NEWEST_BELOW = """
WITH RECURSIVE below AS (
    SELECT r.run_id, r.created_at FROM runs r WHERE r.conversation_id = $1 AND r.run_id = $2
    UNION ALL
    SELECT r.run_id, r.created_at FROM below b JOIN runs r ON r.conversation_id = $1 AND r.parent_run_id = b.run_id
)
SELECT run_id FROM below ORDER BY created_at DESC, run_id DESC LIMIT 1
"""

ACTIVATE = f"""
UPDATE conversations c SET active_run_id = $2 WHERE c.conversation_id = $1
    AND NOT EXISTS (SELECT FROM runs r WHERE r.organization_id = c.organization_id
                    AND r.conversation_id = c.conversation_id AND r.finished_at IS NULL)
RETURNING {CONVERSATION}
"""

ASKED_TURN = """
SELECT r.run_id, r.conversation_id, r.agent, r.parent_run_id, coalesce(r.origin_run_id, r.run_id) AS origin_run_id,
    m.content
FROM runs r JOIN messages m USING (organization_id, conversation_id, run_id)
WHERE r.run_id = $1 AND m.role = 'user'
"""


class BranchRows(PostgresSession):
    """The turns of a principal's own conversations, in the tree that they make."""

    async def messages(
        self, conversation_id: ConversationId, leaf: RunId, after: UUID | None, limit: int
    ) -> Sequence[Said]:
        """The path to that run, oldest first, behind `after`; one more than `limit` where there are more."""
        rows = await self._connection.fetch(LIST_MESSAGES, conversation_id, leaf, after, limit + 1)
        return [said_of(row) for row in rows]

    async def versions(self, conversation_id: ConversationId) -> Sequence[TurnVersion]:
        """Every turn with its place in the tree, oldest first."""
        return [version_of(row) for row in await self._connection.fetch(VERSIONS, conversation_id)]

    async def newest_below(self, conversation_id: ConversationId, run_id: RunId) -> RunId | None:
        """The newest run that follows that one, or it; None: the conversation has no such run."""
        found = await self._connection.fetchval(NEWEST_BELOW, conversation_id, run_id)
        return None if found is None else RunId(found)

    async def activate(self, conversation_id: ConversationId, run_id: RunId) -> Conversation | None:
        """The conversation, which goes on behind that run; None: a run of it is going."""
        return conversation_or_none(await self._connection.fetchrow(ACTIVATE, conversation_id, run_id))

    async def asked_turn(self, run_id: RunId) -> AskedTurn | None:
        """What one's own run of that id was asked."""
        row = await self._connection.fetchrow(ASKED_TURN, run_id)
        return None if row is None else asked_turn_of(row)
