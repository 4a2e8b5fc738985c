"""How a document comes along, as server-sent events: from wherever a reader left off, until it is ready or failed."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from knowledge.model import DocumentId
from server.http.document import event_streams, problems
from server.http.negotiation import EVENT_STREAM, choose
from server.http.visits import Api

streams = APIRouter(prefix="/v1/knowledge", tags=["knowledge"])

LARGEST_SEQUENCE = 2**53

Number = Annotated[int, Query(ge=0, le=LARGEST_SEQUENCE)]


@streams.get(
    "/documents/{document_id}/events",
    responses={
        **event_streams("The document on its way, until it is ready or failed"),
        204: {"description": "Nothing follows"},
        **problems(404, 429),
    },
)
async def document_events(
    request: Request,
    visit: Api,
    document_id: UUID,
    after: Number = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_SEQUENCE)] = None,
) -> Response:
    """A document's progress behind `after`, or behind Last-Event-ID: each event is the whole document as it stands."""
    choose(request, EVENT_STREAM)
    seen = after if last_event_id is None else last_event_id
    now = await visit.hub.document_progress.look(visit.principal, DocumentId(document_id))
    if now.terminal and now.sequence <= seen:
        return Response(status_code=204)
    return visit.follow_document(DocumentId(document_id), seen)
