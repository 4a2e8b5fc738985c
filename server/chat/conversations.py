"""Conversations: one's own, listed, read, renamed and deleted; a run is what adds to them."""

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.responses import Response

from agent.conversations.model import Conversation, MadeCall, Said
from agent.frames import citation_json
from domain.kernel import ConversationId
from server.http.answers import json_answer
from server.http.bodies import Body, Json, JsonBody
from server.http.document import BODY_REFUSALS, listed, of_model, problems, shows
from server.http.keys import replayed_headers
from server.http.parameters import PageAsked
from server.http.visits import Api
from server.logs import name_in_lines
from tools.views import page_json

router = APIRouter(prefix="/v1/conversations", tags=["chat"])


async def named(conversation_id: UUID) -> ConversationId:
    """A dependency: the conversation that the path names; the log's lines name it too."""
    name_in_lines(conversationId=conversation_id)
    return ConversationId(conversation_id)


Named = Annotated[ConversationId, Depends(named)]


class ConversationView(BaseModel):
    """A conversation."""

    conversation_id: str
    title: str
    agent: str
    engagement_id: str | None
    created_at: str
    updated_at: str


class MessageView(BaseModel):
    """One message; the agent's with the calls it made and the documents it cites."""

    message_id: str
    run_id: str
    role: str = Field(description="user or assistant")
    text: str
    tool_calls: list[dict[str, object]]
    citations: list[dict[str, object]]
    created_at: str


class Renamed(Body):
    """A new title."""

    title: str = Field(max_length=1000)


@router.get("", responses=shows(listed(of_model(ConversationView))))
async def list_conversations(visit: Api, page: PageAsked) -> Response:
    """One's own conversations, last touched first."""
    return json_answer(page_json(await visit.hub.conversations.list(visit.principal, page), conversation_json))


@router.get("/{conversation_id}", responses=shows(of_model(ConversationView)))
async def get_conversation(visit: Api, conversation_id: Named) -> Response:
    """One conversation, without its messages."""
    found = await visit.hub.conversations.get(visit.principal, conversation_id)
    return json_answer(conversation_json(found))


@router.patch("/{conversation_id}", responses={**shows(of_model(ConversationView)), **BODY_REFUSALS})
async def rename_conversation(
    visit: Api, conversation_id: Named, body: Annotated[Renamed, Depends(JsonBody(Renamed))]
) -> Response:
    """Give a conversation another title."""
    renamed = await visit.hub.conversations.rename(visit.principal, conversation_id, body.title, visit.key)
    return json_answer(conversation_json(renamed.conversation), headers=replayed_headers(renamed.replayed))


@router.delete("/{conversation_id}", status_code=204, responses={204: {"description": "Deleted"}, **problems(409)})
async def delete_conversation(visit: Api, conversation_id: Named) -> Response:
    """Delete a conversation with its messages and runs; the record of its calls stays."""
    await visit.hub.conversations.delete(visit.principal, conversation_id)
    return Response(status_code=204)


@router.get("/{conversation_id}/messages", responses=shows(listed(of_model(MessageView))))
async def list_messages(visit: Api, conversation_id: Named, page: PageAsked) -> Response:
    """What was said, oldest first."""
    found = await visit.hub.conversations.messages(visit.principal, conversation_id, page)
    return json_answer(page_json(found, message_json))


def conversation_json(conversation: Conversation) -> Json:
    """A conversation as the interface shows it."""
    engagement_id = conversation.engagement_id
    return ConversationView(
        conversation_id=str(conversation.conversation_id),
        title=conversation.title,
        agent=conversation.agent,
        engagement_id=None if engagement_id is None else str(engagement_id),
        created_at=conversation.created_at.isoformat(),
        updated_at=conversation.updated_at.isoformat(),
    ).model_dump()


def message_json(said: Said) -> Json:
    """A message as the interface shows it."""
    return MessageView(
        message_id=str(said.message_id),
        run_id=str(said.run_id),
        role=said.role,
        text=said.text,
        tool_calls=[_call_json(call) for call in said.tool_calls],
        citations=[citation_json(citation) for citation in said.citations],
        created_at=said.created_at.isoformat(),
    ).model_dump()


def _call_json(call: MadeCall) -> Json:
    """A call the model made; its arguments and result are the model's own text, and may be no JSON."""
    return {
        "call_id": str(call.call_id),
        "tool": call.tool,
        "outcome": call.outcome,
        "arguments": _parsed(call.arguments),
        "result": _parsed(call.text),
    }


def _parsed(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
