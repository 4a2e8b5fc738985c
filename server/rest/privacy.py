"""A person's data: handed out as an archive, and erased; each by a call through the gate."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from domain.privacy.model import ErasureId, ErasureNotFound
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, WAITING, listed, shows, tool_result
from server.http.negotiation import choose
from server.http.visits import API, Api, Visit, of_tool, open_to
from server.person_archive import MEDIA_TYPE, archived
from server.problems import not_found
from tools.outcomes import CallOutcome
from tools.views.privacy import erasure_json

router = APIRouter(prefix="/v1/privacy", tags=["privacy"])
files = APIRouter(prefix="/v1", tags=["privacy"])
"""The routes that answer with an archive."""

ERASURE: Json = {
    "type": "object",
    "required": ["erasure_id", "user_id", "state", "requested_by", "requested_at", "call_id", "removed"],
    "properties": {
        "erasure_id": {"type": "string", "format": "uuid"},
        "user_id": {"type": "string", "format": "uuid", "description": "The id that stands for the person."},
        "state": tool_result("privacy_erase", "state"),
        "requested_by": {"type": "string", "description": "An e-mail address."},
        "requested_at": {"type": "string", "format": "date-time"},
        "call_id": {"type": "string", "format": "uuid"},
        "removed": {"type": "object", "description": "How many rows, by table."},
        "finished_at": {"type": "string", "format": "date-time"},
    },
}
ARCHIVE = {
    200: {
        "description": "A ZIP archive: README.txt, manifest.json, and under data/ a file for each kind of thing",
        "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


@files.get("/me/export", response_class=Response, responses={**ARCHIVE, **CALL_REFUSALS})
async def export_own(request: Request, visit: Api) -> Response:
    """Everything that the organization holds of the caller."""
    choose(request, MEDIA_TYPE)
    return _archive(visit, await visit.call("privacy_export_own", {}))


@files.post("/privacy/export", response_class=Response, responses={**ARCHIVE, **BODY_REFUSALS, **CALL_REFUSALS})
async def export_person(
    request: Request, visit: Api, arguments: Annotated[Json, Depends(ToolArguments("privacy_export"))]
) -> Response:
    """Everything that the organization holds of one of its members. The address stands in the body, and in no log."""
    choose(request, MEDIA_TYPE)
    return _archive(visit, await visit.call("privacy_export", arguments))


@router.post(
    "/erasures",
    status_code=201,
    responses={**shows(tool_result("privacy_erase"), status=201), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS},
)
async def erase(
    visit: Annotated[Visit, Depends(open_to(API, refused=of_tool("privacy_erase")))],
    arguments: Annotated[Json, Depends(ToolArguments("privacy_erase"))],
) -> Response:
    """Have a member's data erased: it waits for a second PARTNER's approval, and cannot be undone then."""
    return result_answer(await visit.call("privacy_erase", arguments), lambda result: result, 201)


@router.get("/erasures", responses=shows(listed(ERASURE)))
async def list_erasures(visit: Api) -> Response:
    """Who is being erased or was, newest first, on one page; a PARTNER sees them."""
    async with visit.session() as session:
        found = await session.work.privacy.list()
    return json_answer({"items": [erasure_json(each) for each in found], "next_cursor": None})


@router.get("/erasures/{erasure_id}", responses=shows(ERASURE))
async def get_erasure(visit: Api, erasure_id: UUID) -> Response:
    """How far an erasure has come, and what it removed."""
    async with visit.session() as session:
        try:
            found = await session.work.privacy.get(ErasureId(erasure_id))
        except ErasureNotFound:
            raise not_found("erasure") from None
    return json_answer(erasure_json(found))


def _archive(visit: Visit, outcome: CallOutcome) -> Response:
    if outcome.outcome != "done" or outcome.result is None:
        return result_answer(outcome, lambda result: result)
    organization = visit.caller.member.organization
    content = archived(visit.session, outcome.call_id, outcome.result, organization, visit.hub.clock())
    return StreamingResponse(
        content,
        media_type=MEDIA_TYPE,
        headers={
            "Content-Disposition": f'attachment; filename="personal-data-{outcome.result["user_id"]}.zip"',
            "X-Call-Id": str(outcome.call_id),
        },
    )
