"""Calls that were left open outside: looked up and closed over HTTP and by commands, by whom policy lets."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from server.database.connection import Connection, connected
from tests.doors.test_cli_commands import Glow, firm, glow, installation, last_call
from tests.support.database import Database, run_apart
from tests.support.doors import Doors, problem_of
from tests.support.open_calls import left_open

__all__ = ["firm", "glow", "installation"]

STATED = {"happened": True, "statement": "Letter 4711, says the post's book."}
PARTNER = ("--organization", "acme-audit", "--user", "partner@acme.example")
EMPLOYEE = ("--organization", "acme-audit", "--user", "employee@acme.example")


async def test_an_open_call_is_listed_and_closed_over_http(doors: Doors, superuser_connection: Connection) -> None:
    employee, partner = await doors.client("employee@acme"), await doors.client("partner@acme")
    assert (await employee.post("/v1/tasks", json={"title": "Write"})).status_code == 201
    call_id = str(await left_open(superuser_connection))

    (item,) = (await partner.get("/v1/open-calls")).json()["items"]
    assert (item["call_id"], item["tool"], item["asked_by"]) == (call_id, "task_create", "employee@acme.example")
    assert (item["needs_role"], item["four_eyes"]) == ("MANAGER", False)
    assert [each["call_id"] for each in (await employee.get("/v1/open-calls")).json()["items"]] == [call_id]
    stranger = await doors.client("partner@borealis")
    assert (await stranger.get("/v1/open-calls")).json()["items"] == []

    path = f"/v1/open-calls/{call_id}/conclusion"
    problem_of(await employee.post(path, json=STATED), 403, "denied")
    problem_of(await stranger.post(path, json=STATED), 404, "open_call_not_found")
    problem_of(await partner.post(f"/v1/open-calls/{uuid4()}/conclusion", json=STATED), 404, "open_call_not_found")
    problem_of(await partner.post(path, json={"happened": True}), 422, "invalid_arguments")
    problem_of(await partner.post(path, json={**STATED, "statement": "x" * 2001}), 422, "invalid_arguments")
    problem_of(await (await doors.client("partner@acme", "service")).post(path, json=STATED), 403, "denied")
    refused = problem_of(
        await (await doors.client("partner@acme", "mcp")).post(path, json=STATED), 403, "wrong_audience"
    )
    assert refused["outcome"] == "denied"

    closed = await partner.post(path, json=STATED)
    assert closed.status_code == 200, closed.text
    assert closed.json() == {
        "call_id": call_id,
        "tool": "task_create",
        "outcome": "done",
        "stated": STATED["statement"],
    }
    shown = (await partner.get(f"/v1/activity/{call_id}")).json()
    assert shown["result"] == {"stated": STATED["statement"], "stated_in": closed.headers["x-call-id"]}
    problem_of(await partner.post(path, json=STATED), 409, "call_has_ended")
    assert (await partner.get("/v1/open-calls")).json()["items"] == []


def opened(database: Database) -> UUID:
    """As `left_open`, from outside of a loop."""

    async def ask() -> UUID:
        async with connected(database.dsn("postgres")) as connection:
            return await left_open(connection)

    return run_apart(ask())


@pytest.mark.parametrize(("word", "ended"), [("happened", "done"), ("failed", "failed")])
def test_an_open_call_is_listed_and_closed_by_commands(glow: Glow, firm: Database, word: str, ended: str) -> None:
    def said(who: Sequence[str]) -> int:
        return glow("calls", word, call_id, *who, "--statement", "I have looked.")

    assert glow("calls", "open", *PARTNER) == 0
    assert glow.out == "It is known of every call how it ended.\n"
    assert glow("tools", "call", "task_create", *EMPLOYEE, "--arguments", '{"title": "Write"}') == 0
    call_id = str(opened(firm))
    assert glow("calls", "open", *PARTNER, "--json") == 0
    assert [each["call_id"] for each in glow.json["items"]] == [call_id]
    assert glow("calls", "open", *PARTNER) == 0
    assert "employee@acme.example" in glow.out

    assert said(EMPLOYEE) == 1
    assert "denied" in glow.err
    assert last_call(firm, "call_conclude")["outcome"] == "denied"
    assert said(PARTNER) == 0
    assert glow.out == f"task_create: the call is {ended}.\n"
    assert last_call(firm, "call_conclude")["door"] == "cli"
    assert said(PARTNER) == 1
    assert "it is recorded how this call ended" in glow.err
