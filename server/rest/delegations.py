"""Who decides in whose stead: read under row level security, given and revoked through the gate."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.responses import Response

from domain.delegations.model import DelegationId, DelegationQuery
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, listed, shows, tool_result
from server.http.parameters import PageAsked
from server.http.visits import Api
from tools.views.delegations import delegation_json
from tools.views.values import page_json

router = APIRouter(tags=["approvals"])

DELEGATION = tool_result("delegation_give", "delegation")


@router.get("/v1/delegations", responses=shows(listed(DELEGATION)))
async def list_delegations(visit: Api, page: PageAsked, over: bool = False) -> Response:
    """Who stands in for whom, newest first: the caller's, and the organization's for who reads its record.

    With `over`, also those whose time is over or that were revoked.
    """
    now = visit.hub.clock()
    async with visit.session() as session:
        found = await session.work.delegations.list(DelegationQuery(page=page, over=over), now)
        return json_answer(page_json(found, lambda each: delegation_json(each, now)))


@router.post(
    "/v1/delegations",
    status_code=201,
    responses={**shows(DELEGATION, status=201, located="The delegation"), **BODY_REFUSALS, **CALL_REFUSALS},
)
async def give_delegation(
    visit: Api, arguments: Annotated[Json, Depends(ToolArguments("delegation_give"))]
) -> Response:
    """Name who decides in one's stead, for a time in which one is away; only a person's own hand does."""
    outcome = await visit.call("delegation_give", arguments)
    return result_answer(outcome, lambda result: result["delegation"], 201, place=_place)


@router.get("/v1/delegations/{delegation_id}", responses=shows(DELEGATION))
async def get_delegation(visit: Api, delegation_id: UUID) -> Response:
    """One delegation."""
    async with visit.session() as session:
        found = await session.work.delegations.get(DelegationId(delegation_id))
    return json_answer(delegation_json(found, visit.hub.clock()))


@router.delete("/v1/delegations/{delegation_id}", responses={**shows(DELEGATION), **CALL_REFUSALS})
async def revoke_delegation(visit: Api, delegation_id: UUID) -> Response:
    """End a delegation from now on, and see what it was; what was decided under it stands."""
    outcome = await visit.call("delegation_revoke", {"delegation_id": str(delegation_id)})
    return result_answer(outcome, lambda result: result["delegation"])


def _place(result: Json) -> str:
    return f"/v1/delegations/{cast(Json, result['delegation'])['delegation_id']}"
