"""In Slack: a thread's status says how far a task's run has come while a call waits for it, and costs no answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest

from server.database.connection import Connection
from server.slack.answer import Place
from server.slack.status import BETWEEN_STATUSES_S, Status
from server.slack.web import SlackWeb
from tests.support.database import Database
from tests.support.doors import in_a_task
from tests.support.fake_slack import CHANNEL
from tests.support.slack_world import SlackWorld, slack_id, slack_world
from tests.support.task_work import work_at

Json = dict[str, Any]

SAID = "create a task to refresh the analytics and run it"
SET = "assistant.threads.setStatus"
LATEST = "SELECT organization_id, task_run_id FROM task_runs ORDER BY created_at DESC LIMIT 1"
PLACE = Place(channel_id=CHANNEL, thread_ts="1.2", team_id="T", user_id="U")


@pytest.fixture
async def world(database: Database) -> AsyncIterator[SlackWorld]:
    async with in_a_task(slack_world(database)) as opened:
        yield opened


async def answer_of(world: SlackWorld, inspector: Connection, waits: Callable[[], bool]) -> tuple[str, str]:
    """A mention's thread and what is answered in it; once Slack has heard that the call waits, its run is worked at."""
    body = world.slack.mention(slack_id("employee@acme"), SAID)
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        group.create_task(world.deliver(body))
        await world.slack.until(waits)
        run = await inspector.fetchrow(LATEST)
        assert run is not None
        await work_at(world.hub, run["task_run_id"], run["organization_id"])
    (answer,) = world.slack.posted(CHANNEL, body["event"]["ts"])
    return body["event"]["ts"], answer.body


async def test_the_threads_status_says_how_far_the_run_has_come(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    thread, answer = await answer_of(world, superuser_connection, lambda: bool(world.slack.statuses))

    assert "The run is completed" in answer
    first, *_ = said = world.slack.made(SET)
    assert first == {
        "channel_id": CHANNEL,
        "thread_ts": thread,
        "status": "is at task_run_get: 0 %, queued",
    }
    assert all(one["status"] != other["status"] for one, other in pairwise(said))
    assert world.slack.statuses.get((CHANNEL, thread), "") == ""


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, {"ok": False, "error": "missing_scope"}, {}),
        (429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "3600"}),
        (500, {}, {}),
    ],
)
async def test_a_status_that_slack_does_not_take_is_not_tried_again_and_costs_no_answer(
    world: SlackWorld, superuser_connection: Connection, status: int, body: Json, headers: dict[str, str]
) -> None:
    refusals = world.slack.faults[SET]
    refusals.append((status, body, headers))

    _, answer = await answer_of(world, superuser_connection, lambda: not refusals)

    assert "The run is completed" in answer
    assert world.slack.made(SET) == []


class Taken(SlackWeb):
    """Notes what would be sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def tried_once(self, method: str, **arguments: object) -> bool:
        self.sent.append(str(arguments["status"]))
        return True


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if holds():
                return
            await asyncio.sleep(0)


async def test_statuses_are_bounded_in_number_and_length_and_ping_nobody() -> None:
    web, paused = Taken(), list[float]()

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    async with Status(web, PLACE, pause, lambda: 100.0) as status:
        for words, count in (("one", 1), ("one", 1), ("<!channel>", 2), ("x" * 1000, 3), ("", 4)):
            status.show(words)
            await until(lambda count=count: len(web.sent) == count)
    assert web.sent == ["one", "&lt;!channel&gt;", "x" * 139 + "…", ""]
    assert paused == [0.0, *[BETWEEN_STATUSES_S] * 3]


async def test_nobody_waits_until_a_status_may_be_said_and_the_latest_is() -> None:
    web, pausing, over = Taken(), asyncio.Event(), asyncio.Event()

    async def pause(seconds: float) -> None:
        if seconds:
            pausing.set()
            await over.wait()

    async with asyncio.timeout(60), Status(web, PLACE, pause, lambda: 100.0) as status:
        status.show("one")
        await until(lambda: web.sent == ["one"])
        status.show("two")
        await pausing.wait()
        status.show("three")
        over.set()
        await until(lambda: len(web.sent) == 2)
        pausing.clear()
        over.clear()
        status.show("four")
        await pausing.wait()
    assert web.sent == ["one", "three", ""]
