"""The record, read back: each call as one item, one's own or, for those who may, the organization's.

Lists are plain queries and hold no results. One call with its result, which may be somebody else's, is a call itself.
"""

from dataclasses import replace
from typing import Annotated, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from domain.activity.model import ActivityItem, ActivityQuery
from domain.kernel import CallId, ConversationId, Decision, Door, Outcome
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json
from server.http.document import CALL_REFUSALS, listed, of_model, shows
from server.http.parameters import PageAsked, Since, Text, Until
from server.http.visits import Api
from tools.views.calls import activity_json, event_json
from tools.views.values import page_json, parsed

router = APIRouter(tags=["activity"])

LIST_ARGUMENTS = 2048
"""Characters of a call's arguments that a list shows."""


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
    cost_usd: float | None = None
    """What it cost at models by itself; absent where it asked none, or nobody knows what that cost."""
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
    """Calls, newest first, without their results; of long arguments the beginning, as `{"_truncated", "preview"}`.

    `principal`: an e-mail address or an id.
    """
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
        return json_answer(page_json(await session.work.activity.list(query), _line_json))


@router.get("/v1/activity/{call_id}", responses={**shows(of_model(ActivityCallView)), **CALL_REFUSALS})
async def get_activity(visit: Api, call_id: UUID) -> Response:
    """One call, with its result and its events. Looking at it is a call of its own, and recorded as one."""
    outcome = await visit.call("call_get", {"call_id": str(call_id)})
    if outcome.outcome != "done":
        return result_answer(outcome, lambda result: result)
    async with visit.session() as session:
        steps = (await session.work.activity.call(CallId(call_id))).steps
    return result_answer(outcome, lambda call: {**_item_json(call), "events": [event_json(step) for step in steps]})


def _line_json(item: ActivityItem) -> Json:
    """One call in a list."""
    if item.arguments is None or len(item.arguments) <= LIST_ARGUMENTS:
        return activity_json(item)
    cut = {"_truncated": True, "preview": item.arguments[:LIST_ARGUMENTS]}
    return activity_json(replace(item, arguments=orjson.dumps(cut).decode()))


def _item_json(call: Json) -> Json:
    """What the tool tells of one call, in the shape that lists have; of its question there is a route of its own."""
    item = {name: value for name, value in call.items() if name != "approval"}
    if item["decision"] is None and "arguments" in item:
        item |= parsed("arguments", cast(str, item["arguments"]))
    return item
