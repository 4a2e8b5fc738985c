"""Conversations as rows: opened, listed, found, renamed and deleted by their owner."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from agent.conversations.model import Conversation, Found, Surroundings
from agent.conversations.postgres.session import PostgresSession
from agent.conversations.refusals import ConversationTaken
from agent.conversations.rows import conversation_of, conversation_or_none, found_of, surroundings_of, usage_content
from agent.conversations.searching import query_of, words_of
from agent.events import RunUsage
from domain.kernel import ConversationId, EngagementId, Level, RunId
from domain.paging import PageRequest

MOST_MATCHES = 3
"""Messages of a conversation that a search shows."""

SURROUNDINGS = """
SELECT o.name, u.display_name, m.role, (
    SELECT json_agg(p ORDER BY p.created_at, p.preference_id)::text FROM preferences p
    WHERE p.organization_id = m.organization_id AND p.user_id = m.user_id) AS preferences,
    EXISTS (SELECT FROM glow.budgets_of(m.organization_id, m.user_id) b
            WHERE b.measure IN ('money', 'tokens')) AS budgeted
FROM memberships m JOIN organizations o USING (organization_id) JOIN users u USING (user_id)
WHERE m.user_id = $1
"""

SEES_ENGAGEMENT = "SELECT EXISTS (SELECT FROM engagements WHERE engagement_id = $1)"

OPEN_CONVERSATION = """
INSERT INTO conversations (organization_id, conversation_id, owner_id, title, agent, engagement_id,
                           created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
"""

CONVERSATION = (
    "conversation_id, title, agent, agent_ceiling, engagement_id, created_at, updated_at, active_run_id, branched, "
    "titled_by"
)

TOUCH_CONVERSATION = f"""
UPDATE conversations SET updated_at = greatest(updated_at, $2) WHERE conversation_id = $1 RETURNING {CONVERSATION}
"""

ASSIGN = "UPDATE conversations SET agent = $2, agent_ceiling = $3 WHERE conversation_id = $1"

ENTITLE = """
WITH titled AS (
    UPDATE conversations SET title = $3, titled_by = 'model'
    WHERE conversation_id = $1 AND titled_by = 'rule' AND $3::text IS NOT NULL
)
UPDATE runs SET usage = $4 WHERE conversation_id = $1 AND run_id = $2 AND finished_at IS NOT NULL
"""

RENAME = f"""
UPDATE conversations SET title = $2, titled_by = 'person', updated_at = $3 WHERE conversation_id = $1
RETURNING {CONVERSATION}
"""

GET_CONVERSATION = f"SELECT {CONVERSATION} FROM conversations WHERE conversation_id = $1"

LIST_CONVERSATIONS = f"""
SELECT {CONVERSATION} FROM conversations
WHERE owner_id = $1 AND ($2::timestamptz IS NULL OR (updated_at, conversation_id) < ($2, $3))
ORDER BY updated_at DESC, conversation_id DESC LIMIT $4
"""

# The words are read for each conversation by the owner's index, newest first, until there are enough of them.
SEARCH = f"""
WITH asked AS MATERIALIZED (
    SELECT array_agg(to_tsquery('simple', parted) || whole::tsquery) AS terms
    FROM unnest($5::text[], $6::text[]) AS term (parted, whole)
)
SELECT {CONVERSATION}, found.messages
FROM conversations c CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(w.message_id), '{{}}') AS messages FROM (
        SELECT w.message_id FROM message_words w
        WHERE w.owner_id = c.owner_id AND w.conversation_id = c.conversation_id
            AND w.words @@ ALL ((SELECT terms FROM asked)::tsquery[])
        LIMIT {MOST_MATCHES}) w) found
WHERE c.owner_id = $1 AND ($2::timestamptz IS NULL OR (c.updated_at, c.conversation_id) < ($2, $3))
    AND (found.messages <> '{{}}' OR to_tsvector('simple', c.title) @@ ALL ((SELECT terms FROM asked)::tsquery[]))
ORDER BY c.updated_at DESC, c.conversation_id DESC LIMIT $4
"""

MATCHED = """
SELECT message_id, conversation_id, run_id, role, content FROM messages
WHERE message_id = ANY ($1::uuid[]) ORDER BY ordinal
"""

# Runs, messages and frames go with it; what its calls did stays in the record, which nothing here can touch.
DELETE_CONVERSATION = """
DELETE FROM conversations c WHERE c.conversation_id = $1
    AND NOT EXISTS (SELECT FROM runs r WHERE r.organization_id = c.organization_id
                    AND r.conversation_id = c.conversation_id AND r.status IN ('running', 'waiting'))
RETURNING true
"""


class ConversationRows(PostgresSession):
    """A principal's own conversations, and what stands about the principal."""

    async def surroundings(self) -> Surroundings | None:
        """Who is talking, and in which firm."""
        row = await self._connection.fetchrow(SURROUNDINGS, self._principal.principal_id)
        if row is None:
            return None
        return surroundings_of(row)

    async def may_see_engagement(self, engagement_id: EngagementId) -> bool:
        """Whether there is such an engagement for this principal."""
        return bool(await self._connection.fetchval(SEES_ENGAGEMENT, engagement_id))

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
        owner = self._principal.principal_id
        rows = await self._connection.fetch(LIST_CONVERSATIONS, owner, *page.behind, page.limit + 1)
        return [conversation_of(row) for row in rows]

    async def search(self, terms: Sequence[str], page: PageRequest) -> Sequence[Found]:
        """Those whose title or some message has words that begin with all of the terms, last touched first."""
        owner, behind, most = self._principal.principal_id, page.behind, page.limit + 1
        parted, whole = [query_of(term) for term in terms], [words_of(term) for term in terms]
        rows = await self._connection.fetch(SEARCH, owner, *behind, most, parted, whole)
        matched = await self._connection.fetch(MATCHED, [each for row in rows for each in row["messages"]])
        return [found_of(row, matched, terms) for row in rows]

    async def conversation(self, conversation_id: ConversationId) -> Conversation | None:
        """One's own conversation of that id."""
        return conversation_or_none(await self._connection.fetchrow(GET_CONVERSATION, conversation_id))

    async def rename(self, conversation_id: ConversationId, title: str, now: datetime) -> Conversation | None:
        """The conversation under its new title."""
        return conversation_or_none(await self._connection.fetchrow(RENAME, conversation_id, title, now))

    async def entitle(self, conversation_id: ConversationId, run_id: RunId, title: str | None, usage: RunUsage) -> None:
        """A model's title, where it gave one and no person has; and what the ended run has used, with the title's."""
        await self._connection.execute(ENTITLE, conversation_id, run_id, title, usage_content(usage))

    async def delete(self, conversation_id: ConversationId) -> bool:
        """False: a run of it is running (or there is no such conversation)."""
        return bool(await self._connection.fetchval(DELETE_CONVERSATION, conversation_id))

    async def assign(self, conversation_id: ConversationId, agent: str, ceiling: Level) -> None:
        """Have the conversation go on with that persona, under that ceiling."""
        await self._connection.execute(ASSIGN, conversation_id, agent, int(ceiling))
