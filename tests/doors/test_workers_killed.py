"""One server and two workers, of which one or both are killed again and again: each step of each task is done once.

`make test` does it a few times; `make workers-killed` for long: GLOW_TEST_WORKER_KILLS is how often.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest

from server.database.connection import Connection
from tests.support.database import Database
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Turn
from tests.support.firms import seed_firms
from tests.support.parted import assert_nothing_parted
from tests.support.replicas import Replica, Replicas, replicas

KILLS = int(os.environ.get("GLOW_TEST_WORKER_KILLS", "4"))
AT_FIRST = 8
"""Runs that are asked for while no step of theirs can be done."""
MORE = 3
"""Runs that are queued before each kill."""
WITHIN_S = 240
LOOK_S = 0.01

pytestmark = pytest.mark.timeout(300 + 20 * KILLS)

# Nobody's business here: no worker is to take the seeded ones up.
NOTHING_GOES_ON = """
UPDATE task_run_progress SET status = 'completed', finished_at = now();
UPDATE runs SET status = 'completed', finished_at = now();
"""
# A worker that was killed is known by its silence. Those that live are taken for dead too, and then two do one job.
SILENT = "UPDATE queue.pgqueuer SET heartbeat = heartbeat - interval '1 minute'"
RESTED = "UPDATE queue.pgqueuer SET execute_after = now() WHERE status = 'queued' AND execute_after > now()"
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
EVENTS = "SELECT count(*) FROM activity_events WHERE task_run_id = ANY ($1)"
UNFINISHED = """
SELECT count(*) FROM task_runs r LEFT JOIN task_run_progress p USING (task_run_id)
WHERE r.task_run_id = ANY ($1) AND (p.status IS NULL OR p.status IN ('running', 'waiting'))
"""
ENDED = "SELECT task_run_id, status, failure FROM task_run_progress WHERE task_run_id = ANY ($1)"
# Of each run what was done, by tool. What a second worker asks for at the same time is refused, and that is recorded.
CALLS = """
SELECT task_run_id, tool, count(*) FILTER (WHERE kind = 'tool.completed') AS done,
       count(*) FILTER (WHERE kind NOT IN ('tool.allowed', 'tool.completed')
                        AND error_code IS DISTINCT FROM 'duplicate_call') AS otherwise
FROM activity_events WHERE task_run_id = ANY ($1) GROUP BY task_run_id, tool ORDER BY tool
"""
ONCE = [("analytics_report", 2), ("task_create", 1)]


class Workers:
    """Two at a time; the place of one that was killed is taken by another."""

    def __init__(self, started: Replicas, stack: AsyncExitStack) -> None:
        self._started = started
        self._stack = stack
        self.living = list[Replica]()

    async def fill(self) -> None:
        """Have two of them."""
        while len(self.living) < 2:
            self.living.append(await self._stack.enter_async_context(self._started.running("worker")))

    async def kill(self, count: int, inspector: Connection) -> None:
        """Kill so many, wherever they are, and have others who find what they had in hand."""
        for _ in range(count):
            self.living.pop(0).signal(signal.SIGKILL)
        await inspector.execute(SILENT)
        await self.fill()


async def queued(client: httpx.AsyncClient, count: int) -> list[UUID]:
    """So many tasks, each with a run that waits for a worker."""
    return await asked_for(client, await created(client, count))


async def created(client: httpx.AsyncClient, count: int) -> list[str]:
    """So many tasks."""
    task = {"title": "Refresh", "kind": "refresh_analytics"}
    return [(await posted(client, "/v1/tasks", task))["task_id"] for _ in range(count)]


async def asked_for(client: httpx.AsyncClient, tasks: list[str]) -> list[UUID]:
    """A run of each."""
    return [UUID((await posted(client, f"/v1/tasks/{task}/runs", {}))["task_run_id"]) for task in tasks]


async def posted(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code < 300, answer.text
    return answer.json()


async def reaches(inspector: Connection, question: str, least: int, *arguments: object) -> None:
    """Returns once the count is so high."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            if await inspector.fetchval(question, *arguments) >= least:
                return
            await asyncio.sleep(LOOK_S)


async def all_ended(inspector: Connection, runs: list[UUID]) -> None:
    """Returns once they are, without the rest that a job takes after each attempt."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            if not await inspector.fetchval(UNFINISHED, runs):
                return
            await inspector.execute(RESTED)
            await asyncio.sleep(10 * LOOK_S)


@asynccontextmanager
async def site(database: Database) -> AsyncGenerator[tuple[Workers, httpx.AsyncClient]]:
    """A server that takes no jobs, and room for two workers."""
    async with (
        FakeOpenAI(brain=lambda _: Turn(text="Nobody asks.")) as model,
        replicas(database, model.base_url) as started,
        started.running() as server,
        server.client() as client,
        AsyncExitStack() as stack,
    ):
        yield Workers(started, stack), client


async def test_each_step_of_each_run_is_done_once_however_often_workers_are_killed(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    await owner_connection.execute(NOTHING_GOES_ON)
    inspector, chance = superuser_connection, random.Random(KILLS)
    async with site(database) as (workers, client):
        tasks = await created(client, AT_FIRST)
        await workers.fill()
        # Nobody may write a task: whoever has taken jobs comes to stand in the midst of steps that do, and dies there.
        async with owner_connection.transaction():
            await owner_connection.execute("LOCK TABLE tasks IN SHARE ROW EXCLUSIVE MODE")
            runs = await asked_for(client, tasks)
            await reaches(inspector, BLOCKED, 2)
            await workers.kill(2, inspector)
        for _ in range(KILLS):
            runs += await queued(client, MORE)
            seen = await inspector.fetchval(EVENTS, runs)
            await reaches(inspector, EVENTS, seen + chance.randint(1, MORE), runs)
            await workers.kill(chance.choice((1, 1, 2)), inspector)
        await all_ended(inspector, runs)
        await assert_each_once(inspector, runs)
    await assert_nothing_parted(inspector, "all is done")


async def assert_each_once(inspector: Connection, runs: list[UUID]) -> None:
    ended = {row["task_run_id"]: (row["status"], row["failure"]) for row in await inspector.fetch(ENDED, runs)}
    assert ended == dict.fromkeys(runs, ("completed", None))
    steps = {run: list[tuple[str, int]]() for run in runs}
    for row in await inspector.fetch(CALLS, runs):
        assert row["otherwise"] == 0, row
        steps[row["task_run_id"]].append((row["tool"], row["done"]))
    assert steps == dict.fromkeys(runs, ONCE)
    assert await inspector.fetchval("SELECT count(*) FROM tasks WHERE title LIKE 'Review%'") == len(runs)
