"""Feedback on answers: given and taken back by calls, and listed for those who may read it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.responses import Response

from domain.feedback.model import Feedback
from domain.kernel import RunId
from server.chat.runs import Named
from server.http.answers import json_answer, result_answer
from server.http.bodies import Body, Json, JsonBody
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, listed, of_model, shows, tool_result
from server.http.parameters import PageAsked
from server.http.visits import PEOPLE, Api, Visit, of_tool, open_to
from tools.views.values import page_json

router = APIRouter(tags=["chat"])

GIVEN = tool_result("feedback_give")
Giving = Annotated[Visit, Depends(open_to(PEOPLE, refused=of_tool("feedback_give")))]


class Given(Body):
    """What one says of an answer; the firm reads it."""

    rating: Literal["up", "down"]
    comment: str = Field(default="", max_length=4000)


class FeedbackView(BaseModel):
    """What somebody said of an answer."""

    run_id: str
    rating: str
    comment: str
    given_by: str
    given_at: str
    agent: str
    model: str
    engagement_id: str | None


@router.put("/v1/runs/{run_id}/feedback", responses={**shows(GIVEN), **BODY_REFUSALS, **CALL_REFUSALS})
async def give_feedback(visit: Giving, run_id: Named, body: Annotated[Given, Depends(JsonBody(Given))]) -> Response:
    """Say whether an answer was good, in place of what one said before."""
    return await _given(visit, run_id, body.rating, body.comment)


@router.delete("/v1/runs/{run_id}/feedback", responses={**shows(GIVEN), **CALL_REFUSALS})
async def take_feedback_back(visit: Giving, run_id: Named) -> Response:
    """Take back what one said of an answer."""
    return await _given(visit, run_id, "none", "")


@router.get("/v1/feedback", responses=shows(listed(of_model(FeedbackView))))
async def list_feedback(visit: Api, page: PageAsked) -> Response:
    """What was said of answers, newest first: one's own, and the organization's for MANAGER and above and the EQR."""
    async with visit.session() as session:
        found = await session.work.feedback.list(page)
    return json_answer(page_json(found, _feedback_json))


async def _given(visit: Visit, run_id: RunId, rating: str, comment: str) -> Response:
    arguments: Json = {"run_id": str(run_id), "rating": rating, "comment": comment}
    return result_answer(await visit.call("feedback_give", arguments), lambda result: result)


def _feedback_json(given: Feedback) -> Json:
    return FeedbackView(
        run_id=str(given.run_id),
        rating=given.rating,
        comment=given.comment,
        given_by=given.given_by,
        given_at=given.given_at.isoformat(),
        agent=given.agent,
        model=given.model,
        engagement_id=None if given.engagement_id is None else str(given.engagement_id),
    ).model_dump()
