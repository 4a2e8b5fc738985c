"""What analytics needs of the database."""

from collections.abc import Sequence
from typing import Protocol

from domain.analytics.model import Measured, ReportQuery


class AnalyticsRepository(Protocol):
    """Measures over what the transaction's principal may see, computed by the database."""

    async def measured(self, query: ReportQuery) -> Sequence[Measured]:
        """First the whole (group None), then each group in the report's order; the rest of too many is one group."""
        ...
