"""Reports, each computed by a call through the gate, and shown as data, a table or a picture."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated, Literal, cast, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from domain.analytics.layouts import TIMES
from domain.analytics.model import Cell, GroupBy, ReportName
from server.charts.painter import DrawingBusy, DrawingFailed, Painter
from server.charts.picture import Picture, PictureFormat, PictureSeries
from server.http.answers import result_answer
from server.http.bodies import Json
from server.http.document import CALL_REFUSALS, Responses, problems, shows, tool_result
from server.http.negotiation import JSON, choose
from server.http.parameters import Text, only_known
from server.http.visits import Api, Visit
from server.problems import RETRY_AFTER_S, Problem, not_found
from server.rest.spreadsheet import csv_text
from tools.outcomes import CallOutcome

router = APIRouter(tags=["analytics"])

Format = Literal["json", "csv", "svg", "png"]
MEDIA_TYPES: Mapping[Format, str] = {"json": JSON, "csv": "text/csv", "svg": "image/svg+xml", "png": "image/png"}
STYLED = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
"""For a picture opened as a page: its own style and nothing else, in an origin of its own."""


def _formats() -> Responses:
    shown = shows(tool_result("analytics_report"))
    for media_type in ("text/csv", "image/svg+xml"):
        shown[200]["content"][media_type] = {"schema": {"type": "string"}}
    shown[200]["content"]["image/png"] = {}
    shown[200]["description"] = "The report; as CSV its table, as SVG or PNG its chart"
    return shown


@router.get("/v1/analytics/{report}", responses={**_formats(), **CALL_REFUSALS, **problems(429)})
async def report(
    request: Request,
    visit: Api,
    report: str,
    _known: Annotated[None, Depends(only_known)],
    since: Annotated[Text | None, Query(alias="from")] = None,
    until: Annotated[Text | None, Query(alias="to")] = None,
    engagement_id: UUID | None = None,
    group_by: GroupBy | None = None,
    format: Format | None = None,
) -> Response:
    """A report over a period: headline figures, a table, a chart. A plain date is meant with its whole day.

    `format` says as what; without it `Accept` does. However it is shown, it is one recorded call.
    """
    if report not in get_args(ReportName):
        raise not_found("report")
    shown = format or _accepted(request)
    asked: Json = {
        "report": report,
        "from": since,
        "to": until,
        "engagement_id": None if engagement_id is None else str(engagement_id),
        "group_by": group_by,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if shown in ("svg", "png"):
        with visit.limits.charting(visit.principal):
            return await _chart(visit, given, shown, request.app.state.painter)
    outcome = await visit.call("analytics_report", given)
    return _table(outcome) if shown == "csv" and outcome.outcome == "done" else _as_json(outcome)


def _accepted(request: Request) -> Format:
    """Raises  Problem: 406."""
    wanted = choose(request, *MEDIA_TYPES.values())
    return next(format for format, media_type in MEDIA_TYPES.items() if media_type == wanted)


def _as_json(outcome: CallOutcome) -> Response:
    return result_answer(outcome, lambda result: result)


def _table(outcome: CallOutcome) -> Response:
    result = outcome.result or {}
    table = cast(Json, result["table"])
    text = csv_text(cast("list[str]", table["columns"]), cast("list[list[Cell]]", table["rows"]))
    return _file(outcome, text.encode(), "csv", "text/csv; charset=utf-8; header=present", "attachment")


async def _chart(visit: Visit, asked: Json, format: PictureFormat, painter: Painter) -> Response:
    """Raises  Problem: 429, 503."""
    outcome = await visit.call("analytics_report", asked)
    if outcome.outcome != "done":
        return _as_json(outcome)
    try:
        drawn = await painter.draw(picture_of(outcome.result or {}), format)
    except DrawingBusy:
        raise Problem(
            429, "too_many_charts", "Many charts are being drawn; try again in a moment.", headers=AGAIN
        ) from None
    except DrawingFailed as failed:
        detail = "The chart could not be drawn; its figures are there as JSON and CSV."
        raise Problem(503, "chart_not_drawn", detail, headers=AGAIN) from failed
    return _file(outcome, drawn, format, MEDIA_TYPES[format], "inline")


AGAIN = {"Retry-After": str(RETRY_AFTER_S)}


def _file(outcome: CallOutcome, content: bytes, ending: str, media_type: str, disposition: str) -> Response:
    result = outcome.result or {}
    name = f"{result['report']}-by-{result['group_by']}-{result['first_day']}-{result['last_day']}.{ending}"
    return Response(
        content,
        headers={
            "Content-Type": media_type,
            "Content-Disposition": f'{disposition}; filename="{name}"',
            "Content-Security-Policy": STYLED,
            "X-Call-Id": str(outcome.call_id),
            "Vary": "Accept",
        },
    )


def picture_of(result: Json) -> Picture:
    """A report's chart, to be drawn; one in time shows every day of the period, also those without anything."""
    chart = cast(Json, result["chart"])
    series = cast("list[Json]", chart["series"])
    given = cast("list[str]", chart["x"])
    in_time = result["group_by"] in TIMES
    x = times_of(result) if in_time and given else given
    place = {name: number for number, name in enumerate(given)}
    return Picture(
        title=str(chart["title"]),
        description=str(result["summary"]),
        x_label=str(chart["x_label"]),
        y_label=str(chart["y_label"]),
        stacked=bool(chart["stacked"]),
        in_time=in_time,
        x=tuple(x),
        series=tuple(
            PictureSeries(label=str(each["label"]), values=_placed(cast("list[float]", each["values"]), x, place))
            for each in series
        ),
    )


def _placed(values: Sequence[float], x: Sequence[str], place: Mapping[str, int]) -> tuple[float, ...]:
    return tuple(values[place[name]] if name in place else 0 for name in x)


def times_of(result: Json) -> Sequence[str]:
    """Every day, week or month of the report's period, as the report names them."""
    first = date.fromisoformat(str(result["first_day"]))
    days = (date.fromisoformat(str(result["last_day"])) - first).days + 1
    name = _NAMES[cast(str, result["group_by"])]
    return list(dict.fromkeys(name(first + timedelta(days=day)) for day in range(days)))


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


_NAMES: Mapping[str, Callable[[date], str]] = {
    "day": date.isoformat,
    "week": _week,
    "month": lambda day: day.isoformat()[: len("2026-01")],
}
