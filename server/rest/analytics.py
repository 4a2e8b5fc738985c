"""Reports, each computed by a call through the gate."""

from typing import Annotated, Literal, get_args
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from domain.analytics.model import GroupBy, ReportName
from server.http.answers import result_answer
from server.http.bodies import Json
from server.http.document import CALL_REFUSALS, shows, tool_result
from server.http.parameters import Text
from server.http.visits import Api
from server.problems import not_found

router = APIRouter(tags=["analytics"])


@router.get("/v1/analytics/{report}", responses={**shows(tool_result("analytics_report")), **CALL_REFUSALS})
async def report(
    visit: Api,
    report: str,
    since: Annotated[Text | None, Query(alias="from")] = None,
    until: Annotated[Text | None, Query(alias="to")] = None,
    engagement_id: UUID | None = None,
    group_by: GroupBy | None = None,
    format: Literal["json"] = "json",
) -> Response:
    """A report over a period: headline figures, a table, a chart as data. A plain date is meant with its whole day."""
    del format
    if report not in get_args(ReportName):
        raise not_found("report")
    asked: Json = {
        "report": report,
        "from": since,
        "to": until,
        "engagement_id": None if engagement_id is None else str(engagement_id),
        "group_by": group_by,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return result_answer(await visit.call("analytics_report", given), lambda result: result)
