"""Schedules over REST: set up, changed, paused and deleted by a manager's hand; what makes no sense is told so."""

from datetime import datetime
from typing import Any

import httpx

from domain.kernel import utc_now
from tests.support.doors import Doors, problem_of

NOTHING = "4a0c3f6e-0000-4000-8000-000000000000"


async def task_of(client: httpx.AsyncClient, **given: str) -> str:
    answer = await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics", **given})
    return str(answer.json()["task_id"])


async def scheduled(client: httpx.AsyncClient, **given: object) -> dict[str, Any]:
    asked = {"task_id": await task_of(client), "cron": "0 7 * * MON-FRI", "time_zone": "Europe/Malta", **given}
    answer = await client.post("/v1/schedules", json=asked)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_schedule_shows_when_it_is_due_next_and_is_found_where_the_answer_says(doors: Doors) -> None:
    client = await doors.client("manager@acme")
    answer = await client.post(
        "/v1/schedules",
        json={"task_id": await task_of(client), "cron": " 0  7 * * * ", "input": {"from": "2026-01-01"}},
    )
    schedule = answer.json()
    assert (schedule["cron"], schedule["time_zone"], schedule["paused"]) == ("0 7 * * *", "UTC", False)
    due = datetime.fromisoformat(schedule["next_run_at"])
    assert due > utc_now()
    assert (due.hour, due.minute) == (7, 0)
    assert (await client.get(answer.headers["location"])).json() == schedule
    assert schedule in (await client.get("/v1/schedules", params={"task_id": schedule["task_id"]})).json()["items"]


async def test_a_schedule_is_changed_paused_resumed_and_deleted(doors: Doors) -> None:
    client = await doors.client("manager@acme")
    path = f"/v1/schedules/{(await scheduled(client))['schedule_id']}"
    changed = (await client.patch(path, json={"cron": "30 6 1 * *", "time_zone": "Asia/Kathmandu"})).json()
    assert changed["next_run_at"].endswith("T00:45:00+00:00")
    assert (await client.patch(path, json={"paused": True})).json()["next_run_at"] is None
    assert (await client.patch(path, json={"paused": False})).json()["next_run_at"] == changed["next_run_at"]
    assert (await client.delete(path)).status_code == 204
    problem_of(await client.get(path), 404, "not_found")
    problem_of(await client.delete(path), 404, "schedule_not_found")


NO_TIMING: tuple[tuple[dict[str, object], str, str], ...] = (
    ({"cron": "61 * * * *"}, "invalid_cron", "bad minute"),
    ({"cron": "@daily"}, "invalid_cron", "five fields"),
    ({"cron": "* * * * * *"}, "invalid_cron", "more often than once a minute"),
    ({"cron": "0 0 31 2 *"}, "invalid_cron", "day-of-month"),
    ({"time_zone": "Europe/Atlantis"}, "unknown_time_zone", "Europe/Atlantis"),
    ({"time_zone": "../../etc/passwd"}, "unknown_time_zone", "time zone"),
    ({"cron": "x" * 201}, "invalid_arguments", "cron"),
    ({"cron": 7}, "invalid_arguments", "cron"),
    ({"spare": 1}, "invalid_arguments", "spare"),
)


async def test_what_makes_no_schedule_is_told_so(doors: Doors) -> None:
    client = await doors.client("manager@acme")
    schedule = await scheduled(client)
    task = (await client.post("/v1/tasks", json={"title": "For people"})).json()
    await refused(client, "POST", "/v1/schedules", {"task_id": task["task_id"], "cron": "0 7 * * *"}, "not_runnable")
    for given, code, words in NO_TIMING:
        asked = {"task_id": schedule["task_id"], "cron": "0 7 * * *", **given}
        assert words in (await refused(client, "POST", "/v1/schedules", asked, code))
        assert words in (await refused(client, "PATCH", f"/v1/schedules/{schedule['schedule_id']}", given, code))


async def refused(client: httpx.AsyncClient, method: str, path: str, body: object, code: str) -> str:
    answer = await client.request(method, path, json=body)
    problem_of(answer, 422, code)
    return answer.text


async def test_who_is_no_manager_changes_nothing_and_another_firm_finds_nothing(doors: Doors) -> None:
    client, employee = await doors.client("manager@acme"), await doors.client()
    other, customer = await doors.client("manager@borealis"), await doors.client("client@acme")
    schedule = await scheduled(client)
    path, asked = f"/v1/schedules/{schedule['schedule_id']}", {"task_id": schedule["task_id"], "cron": "0 7 * * *"}
    problem_of(await employee.post("/v1/schedules", json=asked), 403, "denied")
    problem_of(await employee.patch(path, json={"paused": True}), 403, "denied")
    problem_of(await employee.delete(path), 403, "denied")
    assert (await employee.get(path)).json() == schedule
    for stranger in (other, customer):
        problem_of(await stranger.get(path), 404, "not_found")
        assert (await stranger.get("/v1/schedules")).json()["items"] == []
    problem_of(await other.post("/v1/schedules", json=asked), 404, "task_not_found")
    problem_of(await other.patch(path, json={"paused": True}), 404, "schedule_not_found")
    problem_of(await client.patch(f"/v1/schedules/{NOTHING}", json={"paused": True}), 404, "schedule_not_found")
