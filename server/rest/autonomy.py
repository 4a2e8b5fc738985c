"""How far the agent may go: set by a call, and the history of it looked up."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from domain.autonomy.model import Scope, SettingQuery
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments
from server.http.document import BODY_REFUSALS, CALL_REFUSALS, listed, shows, tool_result
from server.http.parameters import PageAsked
from server.http.visits import API, Api, Visit, of_tool, open_to
from tools.views.calls import setting_json
from tools.views.values import page_json

router = APIRouter(tags=["autonomy"])

SETTING = tool_result("autonomy_set", "setting")


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
