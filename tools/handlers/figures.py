"""Figures of documents: found by code, kept with their places, listed to be cited."""

from uuid import UUID

from domain.figures.extraction import figures_in
from domain.figures.model import FoundFigure
from domain.kernel import EngagementId
from domain.paging import DEFAULT_PAGE, page_request
from domain.taint import Taint, taint_of
from knowledge.model import Document, DocumentId, DocumentQuery, DocumentStatus, TextRange
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views.values import page_json
from tools.work import CallContext, Handler

PART = 20_000
MOST_CHARACTERS = 2_000_000


class DocumentList(Arguments):
    engagement_id: UUID | None = None
    status: DocumentStatus | None = None
    limit: int = DEFAULT_PAGE
    cursor: str | None = None


class DocumentExtract(Arguments):
    document_id: UUID


class FigureList(Arguments):
    document_id: UUID | None = None
    engagement_id: UUID | None = None
    words: str | None = None
    limit: int = 100


async def document_list(arguments: DocumentList, context: CallContext) -> Json:
    query = DocumentQuery(
        page=page_request(arguments.cursor, arguments.limit),
        engagement_id=None if arguments.engagement_id is None else EngagementId(arguments.engagement_id),
        status=arguments.status,
    )
    page = await context.work.knowledge.list(query)
    context.told.add(*map(_taint, page.items))
    return page_json(page, _document_line_json)


async def document_extract(arguments: DocumentExtract, context: CallContext) -> Json:
    """Effect  writes document_figures.

    Raises  DocumentNotFound, DocumentNotReady.
    """
    document_id, parts = DocumentId(arguments.document_id), list[str]()
    document = await context.work.knowledge.get(document_id)
    context.told.add(_taint(document))
    page_starts, length = await context.work.knowledge.page_starts(document_id), 1
    while (start := sum(map(len, parts))) < min(length, MOST_CHARACTERS):
        part = await context.work.knowledge.read(document_id, TextRange(start=start, end=start + PART))
        parts.append(part.text)
        length = part.length
        if not part.text:
            break
    figures = figures_in("".join(parts), page_starts)
    await context.work.figures.keep(
        document_id, figures, call_id=context.call_id, new_id=context.new_id, now=context.now
    )
    return {
        "document_id": str(document_id),
        "title": document.title,
        "figures": len(figures),
        "summary": f"{document.title}: {len(figures)} figures",
    }


async def figure_list(arguments: FigureList, context: CallContext) -> Json:
    found = await context.work.figures.list(
        arguments.document_id, arguments.engagement_id, arguments.words, arguments.limit
    )
    context.told.add(*(each.taint for each in found))
    return {"items": [_figure_json(each) for each in found]}


def _taint(document: Document) -> Taint:
    return taint_of(document.trust, document.audience, document.engagement_id)


def _figure_json(found: FoundFigure) -> Json:
    figure = found.figure
    shown: Json = {
        "figure_id": str(found.figure_id),
        "document_id": str(found.document_id),
        "title": found.title,
        "label": figure.label,
        "printed": figure.printed,
        "amount": str(figure.amount),
        "unit": figure.unit,
        "start": figure.start,
        "end": figure.end,
    }
    return shown if figure.page is None else {**shown, "page": figure.page}


def _document_line_json(document: Document) -> Json:
    shown: Json = {
        "document_id": str(document.document_id),
        "title": document.title,
        "uri": document.uri,
        "media_type": document.media_type,
        "status": document.status,
        "created_at": document.created_at.isoformat(),
    }
    if document.engagement_id is not None:
        shown["engagement_id"] = str(document.engagement_id)
    return shown if document.page_count is None else {**shown, "page_count": document.page_count}


DOCUMENT_LIST = Handler(arguments=DocumentList, work=document_list)
DOCUMENT_EXTRACT = Handler(arguments=DocumentExtract, work=document_extract)
FIGURE_LIST = Handler(arguments=FigureList, work=figure_list)
