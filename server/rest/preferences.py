"""What the caller has had remembered of how to be answered: listed as it stands, changed through the gate."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.responses import Response

from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, WAITING, listed, shows, tool_result
from server.http.visits import Api
from tools.views.calls import preference_json

router = APIRouter(prefix="/v1/me/preferences", tags=["principal"])

PREFERENCE = tool_result("preference_set", "preference")


@router.get("", responses=shows(listed(PREFERENCE)))
async def list_preferences(visit: Api) -> Response:
    """Everything that the agent remembers of how the caller wants to be answered, on one page."""
    async with visit.session() as session:
        found = await session.work.preferences.all()
    return json_answer({"items": [preference_json(each) for each in found], "next_cursor": None})


@router.post(
    "", status_code=201, responses={**shows(PREFERENCE, status=201), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS}
)
async def add_preference(
    visit: Api, arguments: Annotated[Json, Depends(ToolArguments("preference_set", from_path=("preference_id",)))]
) -> Response:
    """Have one thing remembered; in words that are remembered already it is the one that there is."""
    outcome = await visit.call("preference_set", arguments)
    return result_answer(outcome, lambda result: result["preference"], 201)


@router.patch("/{preference_id}", responses={**shows(PREFERENCE), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS})
async def change_preference(
    visit: Api,
    preference_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("preference_set", from_path=("preference_id",)))],
) -> Response:
    """Put it in other words; the earlier ones are erased."""
    outcome = await visit.call("preference_set", {**arguments, "preference_id": str(preference_id)})
    return result_answer(outcome, lambda result: result["preference"])


@router.delete(
    "/{preference_id}",
    status_code=204,
    responses={204: {"description": "Forgotten"}, **WAITING, **CALL_REFUSALS},
)
async def forget_preference(visit: Api, preference_id: UUID) -> Response:
    """Forget it: the words are erased, also from the record, which keeps that there was a call."""
    outcome = await visit.call("preference_forget", {"preference_id": str(preference_id)})
    if outcome.outcome == "done":
        return Response(status_code=204, headers={"X-Call-Id": str(outcome.call_id)})
    return result_answer(outcome, lambda result: result)
