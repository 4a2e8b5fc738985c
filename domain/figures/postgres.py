"""Figures in SQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from domain.figures.model import Figure, FigureId, FoundFigure
from domain.kernel import CallId
from domain.storage.postgres import Connection, Row
from domain.taint import taint_of

_CLEAR = "DELETE FROM document_figures WHERE organization_id = glow.organization_id() AND document_id = $1"

_ADD = """
INSERT INTO document_figures (organization_id, figure_id, document_id, label, printed, amount, unit, start_at, end_at,
    page, call_id, found_at)
SELECT glow.organization_id(), f.figure_id, $1, f.label, f.printed, f.amount, f.unit, f.start_at, f.end_at, f.page,
       $2, $3
FROM unnest($4::uuid[], $5::text[], $6::text[], $7::numeric[], $8::text[], $9::integer[], $10::integer[],
    $11::integer[]) AS f (figure_id, label, printed, amount, unit, start_at, end_at, page)
"""

# A deleted document is seen by nobody, and so are its figures.
_LIST = """
SELECT f.figure_id, f.document_id, d.title, f.label, f.printed, f.amount, f.unit, f.start_at, f.end_at, f.page,
       d.trust, d.audience, d.engagement_id
FROM document_figures f
JOIN knowledge_documents d ON d.organization_id = f.organization_id AND d.document_id = f.document_id
WHERE f.organization_id = glow.organization_id() AND d.deleted_at IS NULL
  AND ($1::uuid IS NULL OR f.document_id = $1)
  AND ($2::uuid IS NULL OR d.engagement_id = $2)
  AND ($3::text IS NULL OR position(lower($3) IN lower(f.label)) > 0)
ORDER BY f.document_id, f.start_at
LIMIT $4
"""


class PostgresFigures:
    """FigureRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def replace(
        self, document_id: UUID, figures: Sequence[tuple[FigureId, Figure]], call_id: CallId, now: datetime
    ) -> None:
        await self._connection.execute(_CLEAR, document_id)
        held = [figure for _, figure in figures]
        await self._connection.execute(
            _ADD,
            document_id,
            call_id,
            now,
            [figure_id for figure_id, _ in figures],
            [figure.label for figure in held],
            [figure.printed for figure in held],
            [figure.amount for figure in held],
            [figure.unit for figure in held],
            [figure.start for figure in held],
            [figure.end for figure in held],
            [figure.page for figure in held],
        )

    async def list(
        self, document_id: UUID | None, engagement_id: UUID | None, words: str | None, limit: int
    ) -> Sequence[FoundFigure]:
        return [_found(row) for row in await self._connection.fetch(_LIST, document_id, engagement_id, words, limit)]


def _found(row: Row) -> FoundFigure:
    return FoundFigure(
        figure_id=FigureId(row["figure_id"]),
        document_id=row["document_id"],
        title=row["title"],
        figure=Figure(
            label=row["label"],
            printed=row["printed"],
            amount=row["amount"],
            unit=row["unit"],
            start=row["start_at"],
            end=row["end_at"],
            page=row["page"],
        ),
        taint=taint_of(row["trust"], row["audience"], row["engagement_id"]),
    )
