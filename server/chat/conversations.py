"""Conversations: one's own, listed, read, renamed and deleted; a run is what adds to them."""

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from agent.conversations.model import Conversation, Found, MadeCall, Said, Summary
from agent.frames import citation_json
from domain.kernel import ConversationId, RunId
from server.http.answers import json_answer
from server.http.bodies import Body, Json, JsonBody
from server.http.document import BODY_REFUSALS, listed, of_model, problems, shows
from server.http.keys import replayed_headers
from server.http.parameters import PageAsked, Text
from server.http.visits import Api, Visit
from server.logs import name_in_lines
from tools.views.values import page_json

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
    agent_ceiling: str
    """The lowest ceiling of those who handed it over since a person chose; the own of `agent` holds besides."""
    engagement_id: str | None
    created_at: str
    updated_at: str
    matches: list[dict[str, str]] = Field(
        default=[], description="Of a search: messages that were found, with their run and the words around."
    )
    active_run_id: str | None
    """The end of the path that the next message follows."""
    awaits_title: bool = Field(
        default=False,
        description="A model may still name it: what stands as its title is how its first message begins.",
    )


class SummaryView(BaseModel):
    """What stands for the oldest turns of a long conversation when a model is asked."""

    summary_id: str
    last_run_id: str
    """The run of the last turn that it covers."""
    turns: int
    """How many turns it covers."""
    text: str
    trust: str = Field(description="Of the least trusted thing in it: internal, client or external")
    model: str
    input_tokens: int
    output_tokens: int
    created_at: str


class MessageView(BaseModel):
    """One message; the agent's with the calls it made and the documents it cites."""

    message_id: str
    run_id: str
    role: str = Field(description="user or assistant")
    text: str
    tool_calls: list[dict[str, object]]
    citations: list[dict[str, object]]
    created_at: str
    parent_id: str | None = Field(description="The message before it.")
    version: int = Field(description="Its place among the versions of it, from 1.")
    versions: list[str] = Field(
        description="A run of each version, oldest first: `?branch=` shows the path through it, and `POST .../branch` "
        "has the conversation go on with it."
    )
    feedback: dict[str, object] | None = Field(description="One's own on the answer: rating, up or down, and comment.")


class Renamed(Body):
    """A new title."""

    title: str = Field(max_length=1000)


class Chosen(Body):
    """A version to go on with."""

    run_id: UUID


@router.get("", responses=shows(listed(of_model(ConversationView))))
async def list_conversations(
    visit: Api,
    page: PageAsked,
    q: Annotated[Text | None, Query(description="Words of titles and messages; each may go on.")] = None,
) -> Response:
    """One's own conversations, last touched first; with `q` those that say all of these words."""
    named = named_by_model(visit)
    if q is not None:
        found = await visit.hub.conversations.search(visit.principal, q, page)
        return json_answer(page_json(found, lambda each: found_json(each, named)))
    listed = await visit.hub.conversations.list(visit.principal, page)
    return json_answer(page_json(listed, lambda each: conversation_json(each, named)))


@router.get("/{conversation_id}", responses=shows(of_model(ConversationView)))
async def get_conversation(visit: Api, conversation_id: Named) -> Response:
    """One conversation, without its messages."""
    found = await visit.hub.conversations.get(visit.principal, conversation_id)
    return json_answer(conversation_json(found, named_by_model(visit)))


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
async def list_messages(
    visit: Api,
    conversation_id: Named,
    page: PageAsked,
    branch: Annotated[UUID | None, Query(description="A run: the newest path through it, not the active one.")] = None,
) -> Response:
    """What was said, oldest first: on the path that the conversation goes on with, or on another."""
    through = None if branch is None else RunId(branch)
    found = await visit.hub.conversations.messages(visit.principal, conversation_id, page, through)
    return json_answer(page_json(found, message_json))


@router.get("/{conversation_id}/summaries", responses=shows(listed(of_model(SummaryView))))
async def list_summaries(visit: Api, conversation_id: Named) -> Response:
    """What stood or stands for the conversation's oldest turns in requests to the model, the newest first.

    The turns themselves are kept, and stand among the messages.
    """
    found = await visit.hub.conversations.summaries(visit.principal, conversation_id)
    return json_answer({"items": [summary_json(each) for each in found], "next_cursor": None})


@router.post(
    "/{conversation_id}/branch", responses={**shows(of_model(ConversationView)), **BODY_REFUSALS, **problems(409)}
)
async def choose_branch(
    visit: Api, conversation_id: Named, body: Annotated[Chosen, Depends(JsonBody(Chosen))]
) -> Response:
    """Have the conversation go on with another version of a turn, behind what was said last of it."""

    async def chosen() -> Json:
        run_id = RunId(body.run_id)
        return conversation_json(await visit.hub.conversations.choose(visit.principal, conversation_id, run_id))

    once = await visit.once([str(conversation_id), str(body.run_id)], chosen)
    return json_answer(once.answer, headers=replayed_headers(once.replayed))


def named_by_model(visit: Visit) -> bool:
    """Whether the operator has a model name conversations."""
    return visit.hub.config.current.conversations.titles == "model"


def conversation_json(conversation: Conversation, named: bool = False) -> Json:
    """A conversation as the interface shows it; `named`: a model names those that nobody did."""
    engagement_id = conversation.engagement_id
    return ConversationView(
        conversation_id=str(conversation.conversation_id),
        title=conversation.title,
        agent=conversation.agent,
        agent_ceiling=conversation.agent_ceiling.name,
        engagement_id=None if engagement_id is None else str(engagement_id),
        created_at=conversation.created_at.isoformat(),
        updated_at=conversation.updated_at.isoformat(),
        active_run_id=None if conversation.active_run_id is None else str(conversation.active_run_id),
        awaits_title=named and conversation.may_be_named,
    ).model_dump()


def found_json(found: Found, named: bool = False) -> Json:
    """A conversation that was found, with what was found in it."""
    matches = [
        {
            "message_id": str(match.message_id),
            "run_id": str(match.run_id),
            "role": match.role,
            "snippet": match.snippet,
        }
        for match in found.matches
    ]
    return {**conversation_json(found.conversation, named), "matches": matches}


def summary_json(summary: Summary) -> Json:
    """A summary as the interface shows it."""
    return SummaryView(
        summary_id=str(summary.summary_id),
        last_run_id=str(summary.last_run_id),
        turns=summary.turns,
        text=summary.text,
        trust=summary.trust,
        model=summary.model,
        input_tokens=summary.input_tokens,
        output_tokens=summary.output_tokens,
        created_at=summary.created_at.isoformat(),
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
        parent_id=None if said.parent_id is None else str(said.parent_id),
        version=said.versions.index(said.run_id) + 1,
        versions=[str(run_id) for run_id in said.versions],
        feedback=None if said.rating is None else {"rating": said.rating, "comment": said.comment},
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
