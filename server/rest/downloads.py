"""Files by a link: made for whoever may have the file, and asked about again when the link is used."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from domain.kernel import CallId
from server.http.answers import result_answer
from server.http.bodies import Json
from server.http.document import CALL_REFUSALS, KEY_REFUSALS, problems, shows, tool_result, with_members
from server.http.files import FILE, file_answer, file_content
from server.http.marks import marks_of
from server.http.visits import Api, hub_of
from server.links import FileLink, LinkRefused
from server.problems import Problem
from tools.outcomes import CallRequest

router = APIRouter(prefix="/v1/knowledge", tags=["knowledge"])
links = APIRouter(prefix="/v1", tags=["knowledge"])
"""What a link opens, without a credential."""

LINK = with_members(tool_result("document_link"), url={"type": "string", "format": "uri"})


@router.post("/documents/{document_id:uuid}/link", responses={**shows(LINK), **KEY_REFUSALS, **CALL_REFUSALS})
async def make_link(visit: Api, document_id: UUID) -> Response:
    """A link by which anybody who holds it gets the document's file in the caller's name, for 300 seconds."""
    outcome = await visit.call("document_link", {"document_id": str(document_id)})

    def linked(result: Json) -> Json:
        said = cast("dict[str, str]", result)
        link = FileLink(
            principal=visit.principal,
            document_id=document_id,
            content_sha256=said["content_sha256"],
            filename=said["title"],
            made_by=outcome.call_id,
            expires_at=datetime.fromisoformat(said["expires_at"]),
        )
        return {**result, "url": f"{visit.hub.public_url}/v1/downloads?link={visit.hub.links.seal(link)}"}

    return result_answer(outcome, linked)


@links.get(
    "/downloads",
    response_class=Response,
    responses={**FILE, **problems(403, 404, 422, 503), **CALL_REFUSALS},
)
async def download(request: Request, link: Annotated[str, Query(min_length=1, max_length=8000)]) -> Response:
    """The file that a link is for, while whoever made it may still have it. In the query, which no log holds."""
    hub = hub_of(request)
    try:
        opened = hub.links.open(link)
    except LinkRefused as refused:
        raise Problem(403, refused.code, str(refused)) from None
    marks = marks_of(request)
    asked = CallRequest(
        call_id=CallId(hub.new_id()),
        tool="document_content",
        arguments={"document_id": str(opened.document_id), "by_link": str(opened.made_by)},
        request_id=marks.request_id,
        trace_id=marks.trace_id,
    )
    outcome = await hub.gate.call(asked, opened.principal)
    if outcome.outcome != "done":
        return result_answer(outcome, lambda result: result)
    if (outcome.result or {})["content_sha256"] != opened.content_sha256:
        raise Problem(403, "link_invalid", "The link is for other content than the document has now.")
    who = opened.principal
    async with hub.transactions.session(who.organization_id, who.principal_id, read_only=True) as session:
        content = await file_content(session, outcome)
    return await file_answer(request, outcome, content, opened.filename)
