"""Budgets: what is left of them, set by a call, and the history of it looked up."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from domain.budgets.model import BudgetScope, BudgetSettingQuery
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, listed, shows, tool_result, with_members
from server.http.parameters import PageAsked
from server.http.visits import API, Api, Visit, of_tool, open_to
from tools.views.budgets import budget_json, budget_setting_json
from tools.views.values import page_json

router = APIRouter(tags=["budgets"])

SETTING = tool_result("budget_set", "setting")


@router.get("/v1/budgets", responses=shows(with_members(tool_result("budget_query"), next_cursor={"type": "null"})))
async def budgets(visit: Api) -> Response:
    """The budgets in force that one may see, with what is used, held and left of each, and when it renews."""
    async with visit.session() as session:
        states = await session.work.budgets.states()
    return json_answer({"items": [budget_json(state, visit.hub.clock()) for state in states], "next_cursor": None})


@router.put("/v1/budgets", responses={**shows(SETTING), **BODY_REFUSALS, **CALL_REFUSALS})
async def set_budget(
    visit: Annotated[Visit, Depends(open_to(API, refused=of_tool("budget_set")))],
    arguments: Annotated[Json, Depends(ToolArguments("budget_set"))],
) -> Response:
    """Set or lift a budget of the organization, of a member or of each run; it holds from the next call on."""
    outcome = await visit.call("budget_set", arguments)
    return result_answer(outcome, lambda result: result["setting"])


@router.get("/v1/budgets/settings", responses=shows(listed(SETTING)))
async def budget_history(visit: Api, page: PageAsked, scope: BudgetScope | None = None) -> Response:
    """What was set, newest first, with who, when and why; the newest of a scope, member and measure is in force."""
    async with visit.session() as session:
        found = await session.work.budgets.history(BudgetSettingQuery(page=page, scope=scope))
    return json_answer(page_json(found, budget_setting_json))
