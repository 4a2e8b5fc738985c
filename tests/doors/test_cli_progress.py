"""At a terminal: a call that waits for a task's run shows how far that has come."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest

from domain.kernel import CallId
from server.database.connection import Connection
from server.hub import Hub, open_hub
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, settings_of_tests
from tests.support.environment import external
from tests.support.firms import seed_firms
from tests.support.gates import principal_of
from tests.support.pseudo_terminal import PROMPT, terminal
from tests.support.task_work import work_at
from tools.outcomes import CallRequest, Json

WHO = ("--organization", "firm-1", "--user", "employee@firm-1.example")
LATEST = "SELECT task_run_id FROM task_runs ORDER BY created_at DESC LIMIT 1"


@pytest.fixture
async def environment(database: Database, owner_connection: Connection, tmp_path: Path) -> dict[str, str]:
    await seed_firms(owner_connection)
    return {**external(database), "GLOW_MODEL_API": "offline", "GLOW_HOME": str(tmp_path / "home")}


@pytest.fixture
async def hub(database: Database, environment: Mapping[str, str]) -> AsyncIterator[Hub]:
    async with open_hub(settings_of_tests(), database.urls(), PUBLIC_URL) as opened:
        yield opened


async def called(hub: Hub, tool: str, arguments: Json) -> Json:
    request = CallRequest(call_id=CallId(uuid4()), tool=tool, arguments=arguments)
    ended = await hub.gate.call(request, principal_of(mode="person", door="rest"))
    assert ended.result is not None, ended
    return ended.result


async def test_a_call_by_hand_shows_a_bar_that_leaves_nothing_behind(hub: Hub, environment: Mapping[str, str]) -> None:
    task = cast(Json, (await called(hub, "task_create", {"title": "A", "kind": "refresh_analytics"}))["task"])
    run = cast(Json, (await called(hub, "task_run", {"task_id": task["task_id"]}))["task_run"])
    arguments = f'{{"task_run_id": "{run["task_run_id"]}", "wait_s": 60}}'
    async with terminal(environment, "tools", "call", "task_run_get", *WHO, "--arguments", arguments) as at:
        await at.shows("0% queued")
        await work_at(hub, UUID(cast(str, run["task_run_id"])))
        await at.shows('"status": "completed"')
        assert await at.ended() == 0


async def test_a_conversation_shows_how_far_the_run_has_come_on_the_calls_line(
    hub: Hub, environment: Mapping[str, str], superuser_connection: Connection
) -> None:
    async with terminal(environment, "chat", *WHO) as at:
        await at.shows(f"{PROMPT}>")
        at.type("create a task to refresh the analytics and run it\r")
        await at.shows("task_run_get 0 % queued")
        await work_at(hub, await superuser_connection.fetchval(LATEST))
        await at.shows("← task_run_get done")
        await at.shows("The run is completed")
        await at.shows(f"{PROMPT}>")
        at.type("\x04")
        assert await at.ended() == 0
