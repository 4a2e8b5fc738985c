"""What one principal may have under way at once: more is told to come back, and takes nothing from anybody else."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from agent.places import Places
from agent.run_options import RunOptions
from server.auth import Caller
from server.http.bodies import up_to
from server.http.limits import Limits
from server.hub import HubOptions
from server.problems import Problem
from server.system_config import UploadLimits
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors, problem_of
from tests.support.scripted_model import ScriptedModel, says

STREAM = {"Accept": "text/event-stream"}
FILE = {"file": ("a.txt", b"Some words.")}


class Held:
    """A pace at which a model stands still until it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()

    async def __call__(self) -> None:
        await self.let_go.wait()


def refused(answer: httpx.Response, code: str) -> dict[str, object]:
    assert int(answer.headers["retry-after"]) >= 1
    return problem_of(answer, 429, code)


async def hold(places: Places, doors: Doors, who: str) -> None:
    """Take one of the places of this principal."""
    member = (await doors.hub.authenticator.caller_of(await doors.token(who), None)).member
    assert places.take(Caller(member=member, audience="api").principal("rest"))


async def test_one_principals_runs_leave_room_for_the_others(database: Database) -> None:
    held = Held()
    model = ScriptedModel(brain=lambda _: says("All is well."), pace=held)
    options = HubOptions(model=model, run_options=RunOptions(most_of_a_principal=2))
    async with in_a_task(opened_doors(database, options)) as doors, asyncio.TaskGroup() as group:
        eager, other = await doors.client("employee@acme"), await doors.client("manager@acme")

        asked = [group.create_task(eager.post("/v1/chat", json={"message": f"Question {n}"})) for n in range(5)]
        ended = asyncio.as_completed(asked)
        for _ in range(3):
            refused(await next(ended), "too_many_runs")
        elsewhere = group.create_task(other.post("/v1/chat", json={"message": "Question"}))
        held.let_go.set()

        statuses = [answer.json()["status"] for answer in (await next(ended), await next(ended), await elsewhere)]
        assert statuses == ["completed"] * 3
        again = await eager.post("/v1/chat", json={"message": "Question 6"})
        assert again.json()["status"] == "completed"


async def test_a_message_that_began_nothing_leaves_its_place(database: Database) -> None:
    async with in_a_task(opened_doors(database, HubOptions(run_options=RunOptions(most_of_a_principal=1)))) as doors:
        client = await doors.client()

        for _ in range(3):
            lost = {"message": "hello", "conversation_id": str(doors.hub.new_id())}
            problem_of(await client.post("/v1/chat", json=lost), 404, "not_found")

        assert (await client.post("/v1/chat", json={"message": "hello"})).status_code == 200


async def test_followers_of_one_principal_leave_room_for_the_others(doors: Doors) -> None:
    eager, other = await doors.client("employee@acme"), await doors.client("manager@acme")
    runs = {each: (await each.post("/v1/chat", json={"message": "hello"})).json()["run_id"] for each in (eager, other)}
    limits = doors.app.state.limits = Limits(streams=Places(1))
    await hold(limits.streams, doors, "employee@acme")

    refused(await eager.get(f"/v1/runs/{runs[eager]}/events"), "too_many_streams")
    refused(await eager.post("/v1/chat", json={"message": "hello"}), "too_many_streams")
    refused(await eager.post("/v1/chat", json={"message": "hello"}, headers=STREAM), "too_many_streams")

    for _ in range(3):
        assert (await other.get(f"/v1/runs/{runs[other]}/events")).status_code == 200
        assert (await other.post("/v1/chat", json={"message": "hello"}, headers=STREAM)).status_code == 200
    conversations = (await eager.get("/v1/conversations")).json()["items"]
    assert len(conversations) == 1, "what was refused began no run"


async def test_uploads_of_one_principal_leave_room_for_the_others(doors: Doors) -> None:
    eager, other = await doors.client("employee@acme"), await doors.client("manager@acme")
    limits = doors.app.state.limits = Limits(uploads=Places(1))
    await hold(limits.uploads, doors, "employee@acme")

    refused(await eager.post("/v1/knowledge/documents", files=FILE), "too_many_uploads")
    for _ in range(3):
        assert (await other.post("/v1/knowledge/documents", files=FILE)).status_code == 202


async def test_charts_of_one_principal_leave_room_for_the_others(doors: Doors) -> None:
    eager, other = await doors.client("employee@acme"), await doors.client("manager@acme")
    limits = doors.app.state.limits = Limits(charts=Places(1))
    await hold(limits.charts, doors, "employee@acme")

    refused(await eager.get("/v1/analytics/activity?format=png"), "too_many_charts")
    assert (await eager.get("/v1/analytics/activity?format=csv")).status_code == 200
    for _ in range(2):
        assert (await other.get("/v1/analytics/activity?format=svg")).status_code == 200
    calls = (await eager.get("/v1/activity?tool=analytics_report")).json()["items"]
    assert len(calls) == 1, "what was refused computed no report"


async def test_an_upload_that_says_it_is_too_large_is_not_read(doors: Doors) -> None:
    client, read = await doors.client(), 0

    async def watched() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"--x"

    headers = {
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": str(UploadLimits().request_bytes + 1),
    }
    answer = await client.post("/v1/knowledge/documents", content=watched(), headers=headers)

    problem_of(answer, 413, "too_large")
    assert read == 0


async def test_a_body_that_does_not_say_is_read_up_to_its_limit() -> None:
    given = list[bytes]()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            given.append(b"x" * 10)
            yield given[-1]

    with pytest.raises(Problem) as large:
        async for _ in up_to(35, endless()):
            pass

    assert (large.value.status, len(given)) == (413, 4)
