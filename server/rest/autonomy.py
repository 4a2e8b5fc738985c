"""How far the agent may go: set by a call, its history, and what the record has earned it, decided by a person."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from domain.autonomy.model import Scope, SettingQuery
from domain.earned.model import ProposalId, ProposalQuery, ProposalState
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, listed, shows, tool_result
from server.http.parameters import PageAsked
from server.http.visits import API, Api, Visit, of_tool, open_to
from tools.views.calls import setting_json
from tools.views.earned import proposal_json, records_json
from tools.views.values import page_json

router = APIRouter(tags=["autonomy"])

SETTING = tool_result("autonomy_set", "setting")
PROPOSAL = tool_result("autonomy_proposal_decide", "proposal")
RECORDS: Json = {
    "type": "object",
    "required": ["items", "through"],
    "properties": {
        "items": tool_result("autonomy_query", "earned"),
        "through": {"type": "integer", "minimum": 0, "description": "how many events of the record were read"},
        "reviewed_at": {"type": "string", "format": "date-time", "description": "absent: not reviewed yet"},
    },
}


def decided(request: Request) -> tuple[str, Json]:
    """What a refused caller would have decided; how, stands in the body, which is not read for it."""
    return "autonomy_proposal_decide", {"proposal_id": str(request.path_params["proposal_id"])}


@router.put("/v1/autonomy/settings", responses={**shows(SETTING), **BODY_REFUSALS, **CALL_REFUSALS})
async def set_autonomy(
    visit: Annotated[Visit, Depends(open_to(API, refused=of_tool("autonomy_set")))],
    arguments: Annotated[Json, Depends(ToolArguments("autonomy_set"))],
) -> Response:
    """Set the organization's level or switch, a tool's ceiling, or a member's range; it holds from the next call on."""
    outcome = await visit.call("autonomy_set", arguments)
    return result_answer(outcome, lambda result: result["setting"])


@router.get("/v1/autonomy/settings", responses=shows(listed(SETTING)))
async def autonomy_history(visit: Api, page: PageAsked, scope: Scope | None = None) -> Response:
    """What was set, newest first, with who, when and why; the newest of a scope and subject is in force."""
    async with visit.session() as session:
        found = await session.work.autonomy.history(SettingQuery(page=page, scope=scope))
    return json_answer(page_json(found, setting_json))


@router.get("/v1/autonomy/records", responses=shows(RECORDS))
async def autonomy_records(visit: Api) -> Response:
    """What the record says of the agent's calls, tool by tool, and from how many of its events that is counted."""
    async with visit.session() as session:
        records, progress = await session.work.earned.records()
    return json_answer(records_json(records, progress))


@router.get("/v1/autonomy/proposals", responses=shows(listed(PROPOSAL)))
async def autonomy_proposals(visit: Api, page: PageAsked, state: ProposalState | None = None) -> Response:
    """Proposals to raise a tool's ceiling, newest first, each with its evidence as it was when it was made."""
    async with visit.session() as session:
        found = await session.work.earned.proposals(ProposalQuery(page=page, state=state))
    return json_answer(page_json(found, proposal_json))


@router.get("/v1/autonomy/proposals/{proposal_id}", responses=shows(PROPOSAL))
async def autonomy_proposal(visit: Api, proposal_id: UUID) -> Response:
    """One proposal."""
    async with visit.session() as session:
        found = await session.work.earned.proposal(ProposalId(proposal_id))
    return json_answer(proposal_json(found))


@router.post(
    "/v1/autonomy/proposals/{proposal_id}/decision",
    responses={**shows(PROPOSAL), **BODY_REFUSALS, **CALL_REFUSALS},
)
async def decide_autonomy_proposal(
    visit: Annotated[Visit, Depends(open_to(API, refused=decided))],
    proposal_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("autonomy_proposal_decide", from_path=("proposal_id",)))],
) -> Response:
    """Accept, which raises the tool's ceiling from the next call on, or reject; a PARTNER's own hand decides."""
    outcome = await visit.call("autonomy_proposal_decide", {**arguments, "proposal_id": str(proposal_id)})
    return result_answer(outcome, lambda result: result["proposal"])
