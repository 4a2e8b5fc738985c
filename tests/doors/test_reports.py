"""Reports over HTTP: six of them, as data, table and picture, each shown one a recorded call."""

import csv
import io
from typing import Any, cast, get_args
from uuid import UUID

import pytest

from domain.analytics.layouts import LAYOUTS
from domain.analytics.model import ReportName
from server.database.connection import Connection
from server.system_config import Price as ModelPrice
from server.system_config import SystemConfig
from tests.support.doors import Doors, problem_of

Json = dict[str, Any]
TYPES = {"json": "application/json", "csv": "text/csv", "svg": "image/svg+xml", "png": "image/png"}


@pytest.mark.parametrize("name", get_args(ReportName))
async def test_every_report_is_told_alike_as_data_and_as_table(doors: Doors, name: ReportName) -> None:
    client = await doors.client("partner@acme")
    for _ in range(2):
        await client.post("/v1/chat", json={"message": "report activity"})
    period = {"to": "2099-01-01", "from": "2098-01-01"} if name == "cost" else {}

    told = await client.get(f"/v1/analytics/{name}", params=period)
    table = await client.get(f"/v1/analytics/{name}", params={**period, "format": "csv"})

    report: Json = told.json()
    assert (told.status_code, report["report"], report["group_by"]) == (200, name, LAYOUTS[name].groups[0])
    assert table.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert table.headers["content-disposition"].startswith(f'attachment; filename="{name}-by-')
    columns, *rows = csv.reader(io.StringIO(table.text))
    assert columns == report["table"]["columns"]
    if name in ("tasks", "cost", "approvals"):  # looking at the others adds to them
        assert rows == [["" if cell is None else str(cell) for cell in row] for row in report["table"]["rows"]]
    recorded = (await client.get(f"/v1/activity/{table.headers['x-call-id']}")).json()
    assert (recorded["tool"], recorded["outcome"], recorded["arguments"]["report"]) == (
        "analytics_report",
        "done",
        name,
    )


@pytest.mark.parametrize("format", ["svg", "png"])
async def test_a_chart_is_a_picture_that_runs_nothing(doors: Doors, format: str) -> None:
    client = await doors.client("partner@acme")
    answer = await client.get(
        "/v1/analytics/tasks", params={"format": format, "from": "2026-01-01", "to": "2026-12-31"}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, TYPES[format])
    assert answer.headers["content-security-policy"].startswith(
        "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    )
    assert answer.headers["content-disposition"] == f'inline; filename="tasks-by-status-2026-01-01-2026-12-31.{format}"'
    assert answer.content.startswith(b"\x89PNG" if format == "png" else b"<?xml")


@pytest.mark.parametrize(
    ("accept", "format", "given"),
    [
        ("text/csv", None, "csv"),
        ("text/html, text/csv;q=0.5, application/json;q=0.1", None, "csv"),
        ("*/*", None, "json"),
        ("text/csv", "json", "json"),
        ("application/json", "csv", "csv"),
    ],
)
async def test_the_reader_says_as_what(doors: Doors, accept: str, format: str | None, given: str) -> None:
    client = await doors.client(headers={"Accept": accept})
    answer = await client.get("/v1/analytics/tasks", params={} if format is None else {"format": format})
    assert answer.headers["content-type"].startswith(TYPES[given])


async def test_a_filter_that_is_misspelt_is_refused_by_its_name(doors: Doors) -> None:
    client = await doors.client()
    answer = await client.get("/v1/analytics/cost?engagment_id=x&form=2026-01-01")
    unknown = [{"path": name, "message": "is no parameter of this"} for name in ("engagment_id", "form")]
    assert problem_of(answer, 422, "invalid_request")["details"] == unknown


async def test_what_is_not_offered_is_refused(doors: Doors) -> None:
    client = await doors.client()
    html = await client.get("/v1/analytics/tasks", headers={"Accept": "text/html"})
    problem_of(html, 406, "not_acceptable")
    problem_of(await client.get("/v1/analytics/tasks?format=xlsx"), 422, "invalid_request")
    problem_of(await client.get("/v1/analytics/payroll?format=csv"), 404, "not_found")
    problem_of(await client.get("/v1/analytics/tasks?group_by=door&format=csv"), 422, "invalid_group_by")


@pytest.mark.parametrize("format", TYPES)
async def test_who_may_not_report_is_refused_in_every_form(doors: Doors, format: str) -> None:
    reader = await doors.client("readonly@acme")
    problem_of(await reader.get("/v1/analytics/cost", params={"format": format}), 403, "denied")


async def test_a_name_that_is_a_formula_is_none_in_the_table(
    doors: Doors, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await superuser_connection.execute("SET session_replication_role = replica")
    await superuser_connection.execute("UPDATE tasks SET kind = '=HYPERLINK(\"http://evil.example\")'")
    client = await doors.client()
    table = await client.get("/v1/analytics/tasks", params={"format": "csv", "group_by": "kind"})
    names = [row[0] for row in list(csv.reader(io.StringIO(table.text)))[1:]]
    assert names
    assert all(name.startswith("'=") for name in names)


async def test_ones_own_calls_are_reported_to_an_employee_and_all_to_a_manager(doors: Doors) -> None:
    employee, manager = await doors.client(), await doors.client("manager@acme")
    for client in (employee, manager, manager):
        await client.post("/v1/tools/task_list/call", json={"arguments": {}})

    async def people(client: Any) -> set[str]:
        report = (await client.get("/v1/analytics/activity", params={"group_by": "principal"})).json()
        return {cast(str, row[0]) for row in report["table"]["rows"]}

    assert await people(employee) == {"employee@acme.example"}
    assert {"employee@acme.example", "manager@acme.example"} <= await people(manager)


@pytest.mark.parametrize(
    ("message", "report"),
    [("report approvals", "approvals"), ("report cost last month", "cost"), ("/report knowledge", "knowledge")],
)
async def test_a_report_can_be_asked_for_in_chat(doors: Doors, message: str, report: str) -> None:
    client = await doors.client()
    answer = (await client.post("/v1/chat", json={"message": message})).json()
    (call,) = answer["tool_calls"]
    assert (call["tool"], call["outcome"], call["arguments"]["report"]) == ("analytics_report", "done", report)
    assert call["result"]["summary"] in answer["text"]


async def test_cost_is_reckoned_at_the_operators_prices_of_now(doors: Doors, owner_connection: Connection) -> None:
    client = await doors.client()
    run_id = (await client.post("/v1/chat", json={"message": "hello"})).json()["run_id"]
    usage = '{"type":"run.usage","input_tokens":2000000,"output_tokens":100000,"model_calls":1,"tool_calls":0}'
    await owner_connection.execute("UPDATE runs SET model = 'gpt', usage = $2 WHERE run_id = $1", UUID(run_id), usage)

    async def cost() -> tuple[object, str]:
        report: Json = (await client.get("/v1/analytics/cost")).json()
        (figure,) = [figure for figure in report["headline"] if figure["label"] == "Cost"]
        return figure["value"], report["summary"]

    value, said = await cost()
    assert value is None
    assert "there is no price list" in said
    doors.hub.config.current = SystemConfig(prices={"gpt": ModelPrice(input=1.25, output=10.0)})
    value, said = await cost()
    assert value == 3.5
    assert "3.5 US dollars" in said
