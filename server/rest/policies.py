"""An organization's own policies: looked up under row level security; tried, put in force and taken back by calls."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from domain.paging import PAGE_LIMIT, Page
from domain.policies.model import PolicyChangeQuery
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, WAITING, listed, shows, tool_result
from server.http.parameters import PageAsked, Text, only_known
from server.http.visits import API, Api, Visit, of_tool, open_to
from tools.views.policies import policy_change_json
from tools.views.values import page_json

router = APIRouter(tags=["policies"])

POLICY = tool_result("policy_add", "policy")


@router.get("/v1/policies", responses=shows(listed(POLICY)))
async def list_policies(
    visit: Api,
    _known: Annotated[None, Depends(only_known)],
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = PAGE_LIMIT,
    cursor: Text | None = None,
) -> Response:
    """The organization's own policies that are in force, by id, each with who put it there, when and why."""
    async with visit.session() as session:
        held = await session.work.policies.listed()
    # Paged by what a policy is known by: the cursor is the last one's id.
    behind = [each for each in held if cursor is None or each.policy_id > cursor]
    more = behind[limit - 1].policy_id if len(behind) > limit else None
    return json_answer(page_json(Page(items=tuple(behind[:limit]), next_cursor=more), policy_change_json))


@router.get("/v1/policies/changes", responses=shows(listed(POLICY)))
async def list_policy_changes(visit: Api, page: PageAsked, policy_id: Text | None = None) -> Response:
    """What was put in force and taken back, newest first, with who, when and why."""
    async with visit.session() as session:
        found = await session.work.policies.history(PolicyChangeQuery(page=page, policy_id=policy_id))
    return json_answer(page_json(found, policy_change_json))


@router.post(
    "/v1/policies/try",
    responses={**shows(tool_result("policy_try")), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS},
)
async def try_policy(visit: Api, arguments: Annotated[Json, Depends(ToolArguments("policy_try"))]) -> Response:
    """What a policy would have decided otherwise, of the newest calls; nothing is put in force."""
    return result_answer(await visit.call("policy_try", arguments), lambda result: result)


@router.post(
    "/v1/policies",
    status_code=201,
    responses={**shows(tool_result("policy_add"), status=201), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS},
)
async def add_policy(
    visit: Annotated[Visit, Depends(open_to(API, refused=of_tool("policy_add")))],
    arguments: Annotated[Json, Depends(ToolArguments("policy_add"))],
) -> Response:
    """Put one in force, from the next call on; it only forbids, or has a person asked first."""
    return result_answer(await visit.call("policy_add", arguments), lambda result: result, 201)


@router.delete("/v1/policies/{policy_id}", responses={**shows(POLICY), **WAITING, **CALL_REFUSALS})
async def remove_policy(
    visit: Annotated[Visit, Depends(open_to(API, refused=of_tool("policy_remove")))],
    policy_id: str,
    reason: Annotated[str, Query(description="Why; kept in the history.")],
) -> Response:
    """Take one back, from the next call on; the history keeps it."""
    outcome = await visit.call("policy_remove", {"policy_id": policy_id, "reason": reason})
    return result_answer(outcome, lambda result: result["policy"])
