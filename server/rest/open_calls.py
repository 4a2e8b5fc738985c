"""Calls of which nobody knows yet how they ended outside: looked up, and closed by a person who says so."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, listed, shows, tool_result
from server.http.parameters import PageAsked
from server.http.visits import API, Api, Visit, open_to
from tools.views.calls import open_call_json
from tools.views.values import page_json

router = APIRouter(tags=["activity"])

OPEN_CALL: Json = {
    "type": "object",
    "required": ["call_id", "tool", "begun_at", "asked_by", "needs_role", "four_eyes"],
    "properties": {
        "call_id": {"type": "string", "format": "uuid"},
        "tool": {"type": "string"},
        "begun_at": {"type": "string", "format": "date-time"},
        "asked_by": {"type": "string", "description": "An e-mail address."},
        "needs_role": {"type": "string", "description": "Who may say how it ended: this role or one above."},
        "four_eyes": {"type": "boolean", "description": "True where whoever asked for it may not."},
        "approval_id": {"type": "string", "format": "uuid"},
        "conversation_id": {"type": "string", "format": "uuid"},
        "run_id": {"type": "string", "format": "uuid"},
        "task_run_id": {"type": "string", "format": "uuid"},
    },
}


def concluded(request: Request) -> tuple[str, Json]:
    """What a refused caller would have closed; how, stands in the body, which is not read for it."""
    return "call_conclude", {"call_id": str(request.path_params["call_id"])}


@router.get("/v1/open-calls", responses=shows(listed(OPEN_CALL)))
async def list_open_calls(visit: Api, page: PageAsked) -> Response:
    """Calls that are under way outside or were left there, newest first: one's own, or the organization's."""
    async with visit.session() as session:
        return json_answer(page_json(await session.work.open_calls.list(page), open_call_json))


@router.post(
    "/v1/open-calls/{call_id}/conclusion",
    responses={**shows(tool_result("call_conclude", "call")), **BODY_REFUSALS, **CALL_REFUSALS},
)
async def conclude_call(
    visit: Annotated[Visit, Depends(open_to(API, refused=concluded))],
    call_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("call_conclude", from_path=("call_id",)))],
) -> Response:
    """Say how it ended: exactly one word counts, and only a person's own hand says it."""
    outcome = await visit.call("call_conclude", {**arguments, "call_id": str(call_id)})
    return result_answer(outcome, lambda result: result["call"])
