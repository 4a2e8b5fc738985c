"""A principal's own conversations and runs: one transaction, under row level security."""

from agent.conversations.postgres.branches import BranchRows
from agent.conversations.postgres.conversations import ConversationRows
from agent.conversations.postgres.history import HistoryRows
from agent.conversations.postgres.runs import RunRows
from domain.activity.ports import Taints
from domain.activity.postgres import PostgresTaints
from domain.idempotency.ports import Keys
from domain.idempotency.postgres import PostgresKeys


class PostgresConversations(ConversationRows, BranchRows, HistoryRows, RunRows):
    """A principal's own conversations and runs in one transaction; satisfies ConversationStore."""

    @property
    def keys(self) -> Keys:
        """The principal's idempotency keys, in this transaction."""
        return PostgresKeys(self._connection)

    @property
    def taints(self) -> Taints:
        """What has entered the principal's turns, in this transaction."""
        return PostgresTaints(self._connection)
