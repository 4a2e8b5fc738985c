"""Release controls and the sign-offs they rest on: checks and sign-offs are calls, a control is looked up."""

from typing import Annotated, cast, get_args

from fastapi import APIRouter, Depends
from starlette.responses import Response

from domain.releases.model import ControlName
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, shows, tool_result
from server.http.parameters import EngagementAsked, only_known
from server.http.visits import API, Api, Visit, of_tool, open_to
from server.problems import not_found
from tools.views.releases import control_needs_json

router = APIRouter(tags=["releases"])

STATE = tool_result("release_check")
CONTROL: Json = {
    "type": "object",
    "required": ["control", "needs"],
    "properties": {"control": {"type": "string"}, "needs": tool_result("release_check", "needs")},
}


@router.post("/v1/release-controls/check", responses={**shows(STATE), **BODY_REFUSALS, **CALL_REFUSALS})
async def check_release(visit: Api, arguments: Annotated[Json, Depends(ToolArguments("release_check"))]) -> Response:
    """The state of a release control for an engagement, and what is missing."""
    return result_answer(await visit.call("release_check", arguments), lambda result: result)


@router.get("/v1/release-controls/{name}", responses={**shows({"anyOf": [STATE, CONTROL]}), **CALL_REFUSALS})
async def get_release_control(
    visit: Api, name: str, engagement_id: EngagementAsked, _known: Annotated[None, Depends(only_known)]
) -> Response:
    """What a release control needs; with `engagement_id` its state there, which is a call as the check is."""
    if name not in get_args(ControlName):
        raise not_found("release control")
    if engagement_id is not None:
        asked: Json = {"control": name, "engagement_id": str(engagement_id)}
        return result_answer(await visit.call("release_check", asked), lambda result: result)
    async with visit.session() as session:
        control = await session.work.releases.control(cast(ControlName, name))
    return json_answer({"control": control.name, "needs": control_needs_json(control.needs)})


@router.post(
    "/v1/sign-offs",
    status_code=201,
    responses={**shows(tool_result("signoff_record", "sign_off"), status=201), **BODY_REFUSALS, **CALL_REFUSALS},
)
async def sign_off(
    visit: Annotated[Visit, Depends(open_to(API, refused=of_tool("signoff_record")))],
    arguments: Annotated[Json, Depends(ToolArguments("signoff_record"))],
) -> Response:
    """Accept or reject one version of one thing, by a person's own hand."""
    outcome = await visit.call("signoff_record", arguments)
    return result_answer(outcome, lambda result: result["sign_off"], 201)
