"""What analytics needs of the database."""

from collections.abc import Sequence
from typing import Protocol

from domain.analytics.model import ToolUse, ToolUseQuery


class AnalyticsRepository(Protocol):
    """Figures over the calls that the transaction's principal may see."""

    async def tool_use(self, query: ToolUseQuery) -> Sequence[ToolUse]:
        """First the whole (group None), then each group in the report's order."""
        ...
