"""Approvals: what waits for a person, and the person's answer, which is a call of its own."""

from typing import Annotated, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from domain.approvals.comparison import Comparison, compared
from domain.approvals.model import ApprovalItem, ApprovalQuery, ApprovalState
from domain.approvals.service import ApprovalNotFound, ApprovalService
from domain.kernel import ApprovalId
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, listed, shows, tool_result, with_members
from server.http.parameters import PageAsked
from server.http.visits import PEOPLE, People, Visit, open_to, turned_away
from server.problems import Problem
from tools.ports import Unavailable
from tools.views.calls import approval_item_json, compared_json, comparison_json
from tools.views.values import page_json

router = APIRouter(tags=["approvals"])

APPROVAL = tool_result("approval_decide", "approval")
COMPARISON: Json = {
    "type": "object",
    "description": "The arguments laid out, each beside what it was in the last like call.",
    "required": ["rows"],
    "properties": {
        "last": {
            "type": "object",
            "description": "The last call of the tool that was made before: the requester's, else the organization's.",
            "required": ["call_id", "made_at", "made_by", "same_requester"],
            "properties": {
                "call_id": {"type": "string", "format": "uuid"},
                "made_at": {"type": "string", "format": "date-time"},
                "made_by": {"type": "string", "description": "An e-mail address."},
                "same_requester": {"type": "boolean"},
            },
        },
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["argument"],
                "properties": {
                    "argument": {"type": "string", "description": "Its path: `evidence[0].version`."},
                    "change": {"enum": ["same", "changed", "added", "removed"]},
                    "value": {},
                    "last_value": {},
                },
            },
        },
        "rows_left_out": {"type": "integer"},
    },
}
SUBJECTS: Json = {
    "type": "object",
    "description": "What the call names, as the caller sees it, and whether it is still what was asked about.",
    "required": ["is_bound", "items"],
    "properties": {
        "is_bound": {
            "type": "boolean",
            "description": "False: asked before this was kept, so that nobody can say what has changed since.",
        },
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["subject", "argument", "state"],
                "properties": {
                    "subject": {"type": "string", "description": "task, document, engagement ..."},
                    "argument": {"type": "string", "description": "Where it is named: `task_id`."},
                    "state": {
                        "enum": ["unchanged", "changed"],
                        "description": "changed: an approved call would be refused as subject_changed.",
                    },
                    "words": {
                        "description": "In words; left out where the caller sees no such thing, or it is gone.",
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "value"],
                            "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
                        },
                    },
                    "is_whole": {"type": "boolean", "description": "False: words are cut or left out."},
                },
            },
        },
        "left_out": {"type": "integer", "description": "How many more it names."},
    },
}
SHOWN = with_members(APPROVAL, comparison=COMPARISON, subjects=SUBJECTS)
DECIDED = with_members(APPROVAL, comparison=COMPARISON, call=tool_result("approval_decide", "call"))


def decided(request: Request) -> tuple[str, Json]:
    """What a refused caller would have decided; how, stands in the body, which is not read for it."""
    return "approval_decide", {"approval_id": str(request.path_params["approval_id"])}


@router.get("/v1/approvals", responses=shows(listed(APPROVAL)))
async def list_approvals(visit: People, page: PageAsked, state: ApprovalState | None = None) -> Response:
    """The approvals that the caller asked for or may decide, newest first; a widget's, that its person asked for."""
    asker = visit.principal.principal_id if _sees_own_only(visit) else None
    query = ApprovalQuery(page=page, state=state, requested_by=asker)
    async with visit.session() as session:
        found = await session.work.approvals.list(query, visit.hub.clock())
        return json_answer(page_json(found, approval_item_json))


@router.get("/v1/approvals/{approval_id}", responses=shows(SHOWN))
async def get_approval(visit: People, approval_id: UUID) -> Response:
    """One approval, as it stands now: its arguments beside those of the last like call, and what they name."""
    async with visit.session() as session:
        found = await session.work.approvals.get(ApprovalId(approval_id), visit.hub.clock())
        if _is_anothers(visit, found):
            raise ApprovalNotFound(ApprovalId(approval_id))
        return json_answer(await _laid_out(session.work.approvals, found))


@router.post("/v1/approvals/{approval_id}/decision", responses={**shows(DECIDED), **BODY_REFUSALS, **CALL_REFUSALS})
async def decide_approval(
    request: Request,
    visit: Annotated[Visit, Depends(open_to(PEOPLE, refused=decided))],
    approval_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("approval_decide", from_path=("approval_id",)))],
) -> Response:
    """Approve or reject: exactly one answer counts, and only a person's own hand gives it."""
    if await _is_out_of_reach(visit, approval_id):
        detail = "A widget decides only what its own person asked for; decide this one on the hub's own page."
        raise await turned_away(visit, Problem(403, "not_own_approval", detail), decided(request))
    outcome = await visit.call("approval_decide", {**arguments, "approval_id": str(approval_id)})
    if outcome.outcome != "done":
        return result_answer(outcome, lambda result: result)
    item = cast(Json, (outcome.result or {})["approval"])
    laid_out = comparison_json(await _comparison(visit, approval_id, item["arguments"]))
    return result_answer(outcome, lambda result: {**item, "comparison": laid_out, "call": result["call"]})


async def _laid_out(approvals: ApprovalService, item: ApprovalItem) -> Json:
    approval = item.approval
    return compared_json(item, await approvals.comparison(approval), await approvals.subjects(approval))


async def _comparison(visit: Visit, approval_id: UUID, arguments: object) -> Comparison:
    """What was decided, laid out; the answer that it was decided does not wait for it."""
    try:
        async with visit.session() as session:
            found = await session.work.approvals.find(ApprovalId(approval_id))
            return await session.work.approvals.comparison(found.approval)
    except (ApprovalNotFound, Unavailable):  # a deputy's time may end with the decision
        return compared(orjson.dumps(arguments).decode(), None)


def _sees_own_only(visit: Visit) -> bool:
    """A widget's token can be taken by whatever runs in its page: what others asked for is not within its reach."""
    return visit.caller.audience == "widget"


def _is_anothers(visit: Visit, item: ApprovalItem) -> bool:
    return _sees_own_only(visit) and item.approval.requested_by != visit.principal.principal_id


async def _is_out_of_reach(visit: Visit, approval_id: UUID) -> bool:
    """The approval is another's, and the credential opens its own person's only; what is none, the gate refuses."""
    if not _sees_own_only(visit):
        return False
    async with visit.session() as session:
        try:
            found = await session.work.approvals.get(ApprovalId(approval_id), visit.hub.clock())
        except ApprovalNotFound:
            return False
    return _is_anothers(visit, found)
