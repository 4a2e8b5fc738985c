"""Another version of a turn, beside the one that stands: its message answered again, or written anew."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from agent.conversations.model import MESSAGE_LENGTH
from agent.run_opening import NewMessage
from server.chat.messages import answered, answers_or_streams
from server.chat.runs import Named
from server.http.bodies import Body, JsonBody, NoBody
from server.http.document import BODY_REFUSALS, problems
from server.http.visits import People

router = APIRouter(prefix="/v1/runs", tags=["chat"])

ANSWERS = {**answers_or_streams(), **BODY_REFUSALS, **problems(409, 429)}


class Edited(Body):
    """A message as it should have been."""

    message: str = Field(min_length=1, max_length=MESSAGE_LENGTH)
    client_message_id: str | None = Field(default=None, min_length=1, max_length=200)


@router.post("/{run_id}/regenerate", responses=ANSWERS)
async def regenerate(
    request: Request, visit: People, run_id: Named, _nothing: Annotated[None, Depends(NoBody())]
) -> Response:
    """Answer the run's message again. The earlier answer is kept, and what it did stands and is not done again."""
    marks = visit.marks
    again = NewMessage(
        message="",
        regenerates=run_id,
        idempotency=visit.key,
        request_id=marks.request_id,
        trace_id=marks.trace_id,
    )
    return await answered(request, visit, again)


@router.post("/{run_id}/edit", responses=ANSWERS)
async def edit(
    request: Request, visit: People, run_id: Named, body: Annotated[Edited, Depends(JsonBody(Edited))]
) -> Response:
    """Put another message in the place of the run's. What followed the earlier one is kept as a branch of its own."""
    marks = visit.marks
    anew = NewMessage(
        message=body.message,
        edits=run_id,
        client_message_id=body.client_message_id,
        idempotency=visit.key,
        request_id=marks.request_id,
        trace_id=marks.trace_id,
    )
    return await answered(request, visit, anew)
