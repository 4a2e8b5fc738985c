"""A figure as it stands in a document: never computed, never a model's."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NewType
from uuid import UUID

from domain.taint import Taint

FigureId = NewType("FigureId", UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """An amount or a share, with what it stands beside and where: characters from-to, counted in code points."""

    label: str
    """The words before it on its line, or the first cell of its row."""
    printed: str
    """As it is printed."""
    amount: Decimal
    unit: str
    """A currency's three letters, or %."""
    start: int
    end: int
    page: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFigure:
    """A figure with the document that it stands in."""

    figure_id: FigureId
    document_id: UUID
    title: str
    figure: Figure
    taint: Taint
    """The document's."""
