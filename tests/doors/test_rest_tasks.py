"""Tasks over REST: changed by what is given, listed by filters, and their runs cancelled."""

import json
from typing import Any

import httpx
import pytest

from tests.support.doors import Doors, problem_of

NOTHING = "4a0c3f6e-0000-4000-8000-000000000000"


async def test_a_task_is_changed_by_what_is_given(doors: Doors) -> None:
    client = await doors.client()
    task = (await client.post("/v1/tasks", json={"title": "Count", "description": "All"})).json()
    path = f"/v1/tasks/{task['task_id']}"

    answer = await client.patch(path, json={"status": "done"})

    changed = answer.json()
    assert (answer.status_code, changed["status"], changed["description"]) == (200, "done", "All")
    assert (await client.get(path)).json() == changed
    record = (await client.get(f"/v1/activity/{answer.headers['x-call-id']}")).json()
    assert (record["tool"], record["outcome"]) == ("task_update", "done")
    assert record["arguments"] == {"task_id": task["task_id"], "status": "done"}


async def test_a_change_that_rests_on_an_older_version_is_in_conflict(doors: Doors) -> None:
    client = await doors.client()
    task = (await client.post("/v1/tasks", json={"title": "Count"})).json()
    path = f"/v1/tasks/{task['task_id']}"
    await client.patch(path, json={"title": "Count the chairs"})

    answer = await client.patch(path, json={"title": "Lost", "expected_version": task["version"]})

    problem = problem_of(answer, 409, "version_conflict")
    assert "version 2" in str(problem["detail"])
    assert (await client.get(path)).json()["title"] == "Count the chairs"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "nothing_to_change"),
        ({"task_id": NOTHING}, 422, "invalid_request"),
        ({"status": 7}, 422, "invalid_arguments"),
        ({"spare": 1}, 422, "invalid_arguments"),
        ({"assignee": "nobody@acme.example"}, 404, "assignee_not_found"),
    ],
)
async def test_a_change_that_makes_no_sense_is_told_so(
    doors: Doors, body: dict[str, object], status: int, code: str
) -> None:
    client = await doors.client("manager@acme")
    task = (await client.post("/v1/tasks", json={"title": "Count"})).json()
    problem_of(await client.patch(f"/v1/tasks/{task['task_id']}", json=body), status, code)


async def test_what_is_not_there_or_another_firms_is_changed_and_cancelled_alike(doors: Doors) -> None:
    client, other = await doors.client(), await doors.client("employee@borealis")
    task = (await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics"})).json()
    run = (await client.post(f"/v1/tasks/{task['task_id']}/runs")).json()
    for task_id in (task["task_id"], NOTHING):
        problem_of(await other.patch(f"/v1/tasks/{task_id}", json={"status": "done"}), 404, "task_not_found")
    for run_id in (run["task_run_id"], NOTHING):
        problem_of(await other.post(f"/v1/task-runs/{run_id}/cancel"), 404, "task_run_not_found")


async def test_a_reader_changes_and_cancels_nothing(doors: Doors) -> None:
    client, reader = await doors.client(), await doors.client("readonly@acme")
    task = (await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics"})).json()
    run = (await client.post(f"/v1/tasks/{task['task_id']}/runs")).json()
    problem_of(await reader.patch(f"/v1/tasks/{task['task_id']}", json={"status": "done"}), 403, "denied")
    problem_of(await reader.post(f"/v1/task-runs/{run['task_run_id']}/cancel"), 403, "denied")


async def test_a_run_is_cancelled_once(doors: Doors) -> None:
    client = await doors.client()
    task = (await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics"})).json()
    run = (await client.post(f"/v1/tasks/{task['task_id']}/runs")).json()
    path = f"/v1/task-runs/{run['task_run_id']}"

    answer = await client.post(f"{path}/cancel", json={"reason": "asked by mistake"})

    if answer.status_code == 409:  # a worker of the test's hub was quicker
        problem_of(answer, 409, "already_ended")
        return
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert (await client.get(path)).json()["status"] == "cancelled"
    problem_of(await client.post(f"{path}/cancel"), 409, "already_ended")


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each with its number beside what it says."""
    told: list[dict[str, Any]] = []
    for block in text.replace("\r", "").strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines:
            told.append({**json.loads(lines["data"]), "id": int(lines["id"]), "event": lines["event"]})
    return told


async def test_a_call_that_waits_for_a_run_is_answered_once_that_has_ended(doors: Doors) -> None:
    client = await doors.client()
    client.timeout = httpx.Timeout(90)
    task = (await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics"})).json()
    run = (await client.post(f"/v1/tasks/{task['task_id']}/runs")).json()

    answer = await client.post(
        "/v1/tools/task_run_get/call", json={"arguments": {"task_run_id": run["task_run_id"], "wait_s": 60}}
    )

    assert (answer.status_code, answer.json()["outcome"]) == (200, "done")
    assert answer.json()["result"]["task_run"]["status"] == "completed"
    for seconds in (-1, 61, "long", 1.5):
        asked = {"task_run_id": run["task_run_id"], "wait_s": seconds}
        problem_of(
            await client.post("/v1/tools/task_run_get/call", json={"arguments": asked}), 422, "invalid_arguments"
        )


async def test_a_run_is_followed_to_its_end_from_wherever_a_reader_left_off(doors: Doors) -> None:
    client = await doors.client()
    task = (await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics"})).json()
    run = (await client.post(f"/v1/tasks/{task['task_id']}/runs")).json()
    path = f"/v1/task-runs/{run['task_run_id']}/events"

    told = events_of((await client.get(path, headers={"Accept": "text/event-stream"})).text)

    ids = [event["id"] for event in told]
    assert ids == sorted(set(ids))
    assert all(event["id"] == event["sequence"] and event["event"] == event["type"] for event in told)
    assert {event["type"] for event in told[:-1]} <= {"task_run.progress"}
    last = told[-1]
    assert (last["type"], last["status"], last["progress"]) == ("task_run.completed", "completed", 1.0)
    assert [step["status"] for step in last["steps"]] == ["done"] * 3

    problem_of(await client.get(path, headers={"Accept": "application/json"}), 406, "not_acceptable")
    again = await client.get(path, headers={"Last-Event-ID": str(ids[-1] - 1)})
    assert events_of(again.text) == [last]
    assert (await client.get(path, params={"after": ids[-1]})).status_code == 204
    assert (await client.get(path, headers={"Last-Event-ID": str(ids[-1])})).status_code == 204


async def test_nobody_follows_another_firms_run(doors: Doors) -> None:
    client, other = await doors.client(), await doors.client("employee@borealis")
    task = (await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics"})).json()
    run = (await client.post(f"/v1/tasks/{task['task_id']}/runs")).json()
    for run_id in (run["task_run_id"], NOTHING):
        problem_of(await other.get(f"/v1/task-runs/{run_id}/events"), 404, "not_found")
    problem_of(await client.get(f"/v1/task-runs/{NOTHING}/events?after=-1"), 422, "invalid_request")


async def test_tasks_are_listed_by_kind_day_and_maker(doors: Doors) -> None:
    client = await doors.client()
    await client.post("/v1/tasks", json={"title": "Due at Christmas", "due_on": "2031-12-24"})

    async def titles(query: str) -> list[str]:
        return [task["title"] for task in (await client.get(f"/v1/tasks?{query}")).json()["items"]]

    assert await titles("due_from=2031-12-24&due_to=2031-12-24") == ["Due at Christmas"]
    assert "Due at Christmas" in await titles("created_by=employee@acme.example&limit=100")
    assert "Due at Christmas" not in await titles("kind=refresh_analytics&limit=100")
    problem_of(await client.get("/v1/tasks?due_from=yesterday"), 422, "invalid_request")
    problem_of(await client.get("/v1/tasks?due=2031-12-24"), 422, "invalid_request")
