"""Opens a principal's own view of its conversations."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from agent.conversations.ports import ConversationStore
from agent.conversations.postgres.store import PostgresConversations
from domain.kernel import Principal
from server.database.unit_of_work import PostgresTransactions


class PostgresSessions:
    """Satisfies the agent's Sessions."""

    def __init__(self, transactions: PostgresTransactions) -> None:
        self._transactions = transactions

    @asynccontextmanager
    async def session(self, principal: Principal, *, read_only: bool) -> AsyncGenerator[ConversationStore]:
        """One transaction in the principal's context; leaving the block normally commits."""
        opened = self._transactions.session(principal.organization_id, principal.principal_id, read_only=read_only)
        async with opened as session:
            yield PostgresConversations(session.connection, principal)
