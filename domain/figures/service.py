"""Figures of documents, kept and looked up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.figures.model import Figure, FigureId, FoundFigure
from domain.figures.ports import FigureRepository
from domain.kernel import CallId, NewId


@dataclass(frozen=True, slots=True)
class FigureService:
    """The figures that a principal may see: those of the documents that it may see."""

    figures: FigureRepository

    async def keep(
        self, document_id: UUID, figures: Sequence[Figure], *, call_id: CallId, new_id: NewId, now: datetime
    ) -> None:
        """Effect  writes document_figures, in place of what was found in the document before."""
        await self.figures.replace(document_id, [(FigureId(new_id()), figure) for figure in figures], call_id, now)

    async def list(
        self, document_id: UUID | None, engagement_id: UUID | None, words: str | None, limit: int
    ) -> Sequence[FoundFigure]:
        """Figures of one document, of an engagement's, or of all, by place; `words`: those whose label has them."""
        return await self.figures.list(document_id, engagement_id, words, limit)
