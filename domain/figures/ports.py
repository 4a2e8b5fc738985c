"""What figures need of the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.figures.model import Figure, FigureId, FoundFigure
from domain.kernel import CallId


class FigureRepository(Protocol):
    """The figures of documents that the transaction's principal may see."""

    async def replace(
        self, document_id: UUID, figures: Sequence[tuple[FigureId, Figure]], call_id: CallId, now: datetime
    ) -> None:
        """These are the document's figures from now on."""
        ...

    async def list(
        self, document_id: UUID | None, engagement_id: UUID | None, words: str | None, limit: int
    ) -> Sequence[FoundFigure]:
        """By document and place."""
        ...
