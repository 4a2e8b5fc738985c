"""Feedback on answers over HTTP: one's own, changed and taken back; the firm reads it, and its events stay."""

import httpx
import pytest

from server.database.connection import Connection
from tests.doors.test_chat_door import talk
from tests.support.doors import Doors, problem_of


async def feedback_of(client: httpx.AsyncClient, answer: dict[str, str]) -> object:
    path = f"/v1/conversations/{answer['conversation_id']}/messages"
    return (await client.get(path)).json()["items"][-1]["feedback"]


async def rated(client: httpx.AsyncClient) -> dict[str, object]:
    report = (await client.get("/v1/analytics/feedback")).json()
    return {figure["label"]: figure["value"] for figure in report["headline"]}


async def test_an_answer_is_rated_again_and_no_more_and_each_time_stands_in_the_record(doors: Doors) -> None:
    client = await doors.client("employee@acme")
    answer = (await talk(client)).json()
    path = f"/v1/runs/{answer['run_id']}/feedback"
    assert await feedback_of(client, answer) is None

    first = await client.put(path, json={"rating": "down", "comment": " Too long. "})
    assert (first.status_code, first.json()["rating"], first.json()["comment"]) == (200, "down", "Too long.")
    assert await feedback_of(client, answer) == {"rating": "down", "comment": "Too long."}
    assert await rated(client) == {"Answers rated": 1, "Good": 0, "Not good": 1, "With a comment": 1}
    await client.put(path, json={"rating": "up"})
    assert await feedback_of(client, answer) == {"rating": "up", "comment": ""}
    assert (await client.delete(path)).json()["rating"] == "none"
    assert (await client.delete(path)).status_code == 200
    assert await feedback_of(client, answer) is None
    items = (await client.get("/v1/activity", params={"tool": "feedback_give"})).json()["items"]
    assert [(item["outcome"], item["mode"]) for item in items] == [("done", "person")] * 4


async def test_the_firm_reads_what_was_said_and_a_colleague_does_not(doors: Doors) -> None:
    client = await doors.client("employee@acme")
    answer = (await talk(client)).json()
    await client.put(f"/v1/runs/{answer['run_id']}/feedback", json={"rating": "down", "comment": "Wrong year."})

    for who, reads in (
        ("manager@acme", True),
        ("eqr@acme", True),
        ("readonly@acme", False),
        ("partner@borealis", False),
    ):
        other = await doors.client(who)
        comments = [item["comment"] for item in (await other.get("/v1/feedback")).json()["items"]]
        assert comments == (["Wrong year."] if reads else []), who
        problem_of(await other.get(f"/v1/runs/{answer['run_id']}"), 404, "not_found")
    manager = await doors.client("manager@acme")
    assert (await rated(manager))["Not good"] == 1


@pytest.mark.parametrize("who", ["manager@acme", "partner@borealis"])
async def test_nobody_rates_anothers_answer(doors: Doors, who: str) -> None:
    answer = (await talk(await doors.client("employee@acme"))).json()
    other = await doors.client(who)

    path = f"/v1/runs/{answer['run_id']}/feedback"
    for refused in (await other.put(path, json={"rating": "up"}), await other.delete(path)):
        problem_of(refused, 404, "not_found")


async def test_a_deleted_conversation_takes_its_feedback_along_and_leaves_the_record(
    doors: Doors, superuser_connection: Connection
) -> None:
    client = await doors.client("employee@acme")
    answer = (await talk(client)).json()
    await client.put(f"/v1/runs/{answer['run_id']}/feedback", json={"rating": "up"})

    assert (await client.delete(f"/v1/conversations/{answer['conversation_id']}")).status_code == 204

    assert await superuser_connection.fetchval("SELECT count(*) FROM feedback") == 0
    items = (await client.get("/v1/activity", params={"tool": "feedback_give"})).json()["items"]
    assert [item["outcome"] for item in items] == ["done"]
