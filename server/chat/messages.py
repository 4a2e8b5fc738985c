"""`POST /v1/chat`: a message begins a run, which is shown as it goes or answered when it has ended."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from agent.conversations.model import MESSAGE_LENGTH
from agent.conversations.refusals import ConversationNotFound, EngagementNotFound, RunNotFound, UnknownAgent
from agent.run_opening import NewMessage
from agent.runs import RunHandle
from domain.idempotency.model import KeyInProgress
from domain.kernel import ConversationId, EngagementId, RunId
from server.http.answers import json_answer
from server.http.bodies import Body, JsonBody
from server.http.document import BODY_REFUSALS, Responses, event_streams, of_model, problems, shows
from server.http.keys import replayed_headers
from server.http.negotiation import EVENT_STREAM, JSON, choose
from server.http.visits import People
from server.logs import name_in_lines
from server.problems import Problem, not_found

router = APIRouter(tags=["chat"])


class ChatMessage(Body):
    """A message to an agent."""

    message: str = Field(min_length=1, max_length=MESSAGE_LENGTH)
    conversation_id: UUID | None = Field(default=None, description="Without it a new conversation begins.")
    agent: str | None = Field(
        default=None,
        pattern="^[a-z][a-z0-9_]{0,63}$",
        description="Who is to answer, from here on in this conversation; GET /v1/agents lists them. Without it: who "
        "answered last, or at the first message the assistant.",
    )
    engagement_id: UUID | None = None
    client_message_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="The same message with the same id is not asked twice: it is answered with the first one's run.",
    )
    after_run_id: UUID | None = Field(
        default=None,
        description="The run of the conversation that this follows; without it, the one that the conversation ended "
        "with. Needs `conversation_id`.",
    )


class RunAnswer(BaseModel):
    """A run, folded into one answer."""

    conversation_id: str
    run_id: str
    status: str = Field(description="completed, waiting, failed or cancelled; a run asked for by its id: also running")
    text: str
    tool_calls: list[dict[str, object]]
    citations: list[dict[str, object]]
    approvals: list[dict[str, object]]
    usage: dict[str, object]
    error: dict[str, object] | None = Field(default=None, description="Of a failed run: code, message, retryable.")


def answers_or_streams() -> Responses:
    """A route that does either, as its reader wishes."""
    answered, streamed = shows(of_model(RunAnswer))[200], event_streams("")[200]
    content = {**answered["content"], **streamed["content"]}
    return {200: {"description": "The answer, or the run's events as they come", "content": content}}


@router.post("/v1/chat", responses={**answers_or_streams(), **BODY_REFUSALS, **problems(409, 429)})
async def chat(
    request: Request, visit: People, body: Annotated[ChatMessage, Depends(JsonBody(ChatMessage))]
) -> Response:
    """Say something to an agent. The run goes on whether or not anybody waits for its answer."""
    return await answered(request, visit, _message(visit, body))


async def answered(request: Request, visit: People, message: NewMessage) -> Response:
    """The run that a message begins, shown as it goes or answered when it has ended, as its reader wishes."""
    wanted = choose(request, JSON, EVENT_STREAM)
    with visit.limits.streaming(visit.in_chat):
        begun = await _begun(visit, message)
        if wanted == JSON:
            await _ended_before(visit, begun)
            answer = await visit.hub.runs.answer(visit.in_chat, begun.run_id)
            await visit.hear(begun.conversation_id)
            return json_answer(answer.json(), headers=replayed_headers(begun.by_key))
    followed = visit.follow_answer(begun.run_id, begun.conversation_id)
    followed.headers.update(replayed_headers(begun.by_key))
    return followed


async def _ended_before(visit: People, begun: RunHandle) -> None:
    """A message that comes again under its key is answered with the run it began, once that has its answer.

    Raises  KeyInProgress.
    """
    if begun.by_key and (await visit.hub.runs.find(visit.in_chat, begun.run_id)).status == "running":
        raise KeyInProgress


async def _begun(visit: People, message: NewMessage) -> RunHandle:
    """The run that a message begins.

    Raises  Problem: 404, which says what the body names that is not there.
    """
    name_in_lines(conversationId=message.conversation_id, engagementId=message.engagement_id)
    try:
        begun = await visit.hub.runs.start(visit.in_chat, replace(message, said_at=visit.said_at))
    except UnknownAgent as missing:
        raise no_such_agent(missing) from missing
    except EngagementNotFound as missing:
        raise not_found("engagement") from missing
    except ConversationNotFound as missing:
        raise not_found("conversation") from missing
    except RunNotFound as missing:
        raise not_found("run") from missing
    name_in_lines(conversationId=begun.conversation_id, runId=begun.run_id)
    return begun


def no_such_agent(missing: UnknownAgent) -> Problem:
    """404, which names the agents that there are."""
    detail = f"There is no such agent. There are: {', '.join(missing.known)}."
    return Problem(404, "not_found", detail, extra={"agents": list(missing.known)})


def _message(visit: People, body: ChatMessage) -> NewMessage:
    return NewMessage(
        message=body.message,
        conversation_id=None if body.conversation_id is None else ConversationId(body.conversation_id),
        agent=body.agent,
        engagement_id=None if body.engagement_id is None else EngagementId(body.engagement_id),
        client_message_id=body.client_message_id,
        after=None if body.after_run_id is None else RunId(body.after_run_id),
        idempotency=visit.key,
        request_id=visit.marks.request_id,
        trace_id=visit.marks.trace_id,
    )
