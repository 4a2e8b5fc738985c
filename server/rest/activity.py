"""The record, read back: each call as one item, one's own or, for those who may, the organization's."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from domain.activity.model import ActivityQuery
from domain.kernel import CallId, ConversationId, Decision, Door, Outcome
from server.http.answers import json_answer
from server.http.document import listed, of_model, shows
from server.http.parameters import PageAsked, Since, Text, Until
from server.http.visits import Api
from tools.views import activity_call_json, activity_json, page_json

router = APIRouter(tags=["activity"])


class ActivityItemView(BaseModel):
    """One call, folded from its events."""

    call_id: str
    time: str
    tool: str
    door: str
    mode: str
    principal: str
    role: str | None
    decision: str | None
    reasons: list[str]
    outcome: str | None
    duration_ms: float | None
    error_code: str | None = None
    approval_id: str | None = None
    conversation_id: str | None = None
    run_id: str | None = None
    arguments: object = None
    result: object = None


class ActivityEventView(BaseModel):
    """One event of a call."""

    type: str
    time: str
    decision: str | None = None
    reasons: list[str] = []
    outcome: str | None = None
    error_code: str | None = None
    error_reference: str | None = None


class ActivityCallView(ActivityItemView):
    """One call with its result and its events, oldest first."""

    events: list[ActivityEventView]


@router.get("/v1/activity", responses=shows(listed(of_model(ActivityItemView))))
async def list_activity(
    visit: Api,
    page: PageAsked,
    tool: Text | None = None,
    door: Door | None = None,
    decision: Decision | None = None,
    outcome: Outcome | None = None,
    principal: Text | None = None,
    conversation_id: UUID | None = None,
    since: Annotated[Since | None, Query(alias="from")] = None,
    until: Annotated[Until | None, Query(alias="to")] = None,
) -> Response:
    """Calls, newest first, without their results. `principal`: an e-mail address or an id."""
    query = ActivityQuery(
        page=page,
        tool=tool,
        door=door,
        decision=decision,
        outcome=outcome,
        principal=principal,
        conversation_id=None if conversation_id is None else ConversationId(conversation_id),
        since=since,
        until=until,
    )
    async with visit.session() as session:
        return json_answer(page_json(await session.work.activity.list(query), activity_json))


@router.get("/v1/activity/{call_id}", responses=shows(of_model(ActivityCallView)))
async def get_activity(visit: Api, call_id: UUID) -> Response:
    """One call, with its result and its events."""
    async with visit.session() as session:
        return json_answer(activity_call_json(await session.work.activity.call(CallId(call_id))))
