"""An objective ends in its time, and takes the agent's run with it, also where nobody wrote down that it began."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

import pytest

from agent.conversations.ports import ConversationStore, Sessions
from domain.kernel import Principal, RunId, TaskRunId, utc_now
from domain.tasks.model import TaskRun
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.worker.objectives import ObjectiveWorker
from tests.support.conversing import Process, process_on
from tests.support.firms import seed_firms
from tests.support.gates import principal_of
from tests.support.scripted_model import ScriptedModel, says
from tools.outcomes import Json
from tools.workflows import RUN_TIMEOUT

HAND = principal_of(mode="person", door="rest")
AT_WORK = principal_of(door="worker")
PROGRESS = "SELECT status, failure FROM task_run_progress WHERE task_run_id = $1"
OF_AGENT = "SELECT run_id, status FROM runs WHERE door = 'worker'"
FORGET = "DELETE FROM task_run_answers WHERE task_run_id = $1"


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


async def begun(process: Process) -> UUID:
    """A task run that is an objective, which nobody has taken up."""
    asked = {"title": "Count the letters", "kind": "objective"}
    created = await process.stands_on.call("task_create", asked, HAND)
    task = cast(Json, (created.result or {})["task"])
    await process.stands_on.call("task_run", {"task_id": task["task_id"]}, HAND)
    return process.stands_on.queue.jobs.pop().subject_id


async def cancel(process: Process, task_run_id: UUID) -> None:
    cancelled = await process.stands_on.call("task_run_cancel", {"task_run_id": str(task_run_id)}, HAND)
    assert cancelled.outcome == "done", cancelled


def worker_of(process: Process, ahead: timedelta = timedelta(0)) -> ObjectiveWorker:
    def clock() -> datetime:
        return utc_now() + ahead

    return ObjectiveWorker(runs=process.runs, transactions=process.stands_on.transactions, clock=clock)


async def as_found(process: Process, task_run_id: UUID) -> TaskRun:
    session = process.stands_on.transactions.session(AT_WORK.organization_id, AT_WORK.principal_id)
    async with session as opened:
        return await opened.work.tasks.get_run(TaskRunId(task_run_id))


async def work(process: Process, task_run_id: UUID, ahead: timedelta = timedelta(0)) -> None:
    """A worker takes the task run, and brings it to its end."""
    async with asyncio.timeout(60):
        found = await as_found(process, task_run_id)
        assert await worker_of(process, ahead).work(AT_WORK, found) is None


class Hold:
    """A model's pace that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.goes_on.wait()


async def lost(process: Process, task_run_id: UUID, hold: Hold) -> None:
    """A worker has begun the agent's run, which stands still, and is no more."""
    working = asyncio.create_task(work(process, task_run_id))
    async with asyncio.timeout(60):
        await hold.reached.wait()
    working.cancel()
    await asyncio.wait([working])


async def assert_stopped(inspector: Connection, task_run_id: UUID, status: str, failure: str | None) -> None:
    assert tuple(cast(tuple[str, str | None], await inspector.fetchrow(PROGRESS, task_run_id))) == (status, failure)
    # Whoever cancels a run waits for its end only a moment.
    async with asyncio.timeout(60):
        while (of_agent := [row["status"] for row in await inspector.fetch(OF_AGENT)]) == ["running"]:
            pass
    assert of_agent == ["cancelled"]


@pytest.mark.parametrize("left", [timedelta(hours=-1), timedelta(seconds=0.2)])
async def test_an_objective_that_works_too_long_has_failed_and_its_agent_is_stopped(
    pools: DatabasePools, superuser_connection: Connection, left: timedelta
) -> None:
    hold = Hold()
    async with process_on(pools, ScriptedModel(says("Never said."), pace=hold)) as process:
        task_run_id = await begun(process)
        await lost(process, task_run_id, hold)
        await work(process, task_run_id, ahead=RUN_TIMEOUT - left)
        await assert_stopped(
            superuser_connection, task_run_id, "failed", "It had not come to its end after 3600 s of work."
        )


async def test_the_agents_run_is_stopped_though_a_crash_came_before_it_was_written_down(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    hold = Hold()
    async with process_on(pools, ScriptedModel(says("Never said."), pace=hold)) as process:
        task_run_id = await begun(process)
        await lost(process, task_run_id, hold)
        await owner_connection.execute(FORGET, task_run_id)
        await cancel(process, task_run_id)
        await work(process, task_run_id)
        await assert_stopped(superuser_connection, task_run_id, "cancelled", None)


@dataclass(slots=True)
class Then:
    """Sessions after whose first write something happens."""

    sessions: Sessions
    happens: Callable[[], Awaitable[None]] | None = None

    @asynccontextmanager
    async def session(self, principal: Principal, *, read_only: bool) -> AsyncGenerator[ConversationStore]:
        async with self.sessions.session(principal, read_only=read_only) as store:
            yield store
        if not read_only and self.happens is not None:
            happens, self.happens = self.happens, None
            await happens()


async def test_an_agent_that_begins_as_its_task_run_is_cancelled_is_stopped(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    between: list[Then] = []

    def around(sessions: Sessions) -> Sessions:
        between.append(Then(sessions))
        return between[0]

    hold = Hold()
    async with process_on(pools, ScriptedModel(says("Never said."), pace=hold), around=around) as process:
        task_run_id = await begun(process)

        async def cancelled() -> None:
            """All that a cancellation does, before the agent's run is written down."""
            await cancel(process, task_run_id)
            assert await superuser_connection.fetchval(OF_AGENT) is not None

        between[0].happens = cancelled
        await work(process, task_run_id)
        await assert_stopped(superuser_connection, task_run_id, "cancelled", None)


async def test_whoever_comes_after_finds_the_agents_run_though_the_tasks_words_have_changed(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    hold = Hold()
    async with process_on(pools, ScriptedModel(says("Seven."), pace=hold)) as process:
        task_run_id = await begun(process)
        await lost(process, task_run_id, hold)
        await owner_connection.execute(FORGET, task_run_id)
        task_id = str((await as_found(process, task_run_id)).task_id)
        changed = await process.stands_on.call("task_update", {"task_id": task_id, "title": "Count them"}, HAND)
        assert changed.outcome == "done"
        hold.goes_on.set()
        await work(process, task_run_id)
        (run,) = await superuser_connection.fetch(OF_AGENT)
        assert (await process.runs.summary(AT_WORK, RunId(run["run_id"]))).text == "Seven."
        assert await superuser_connection.fetchval(PROGRESS, task_run_id) == "completed"
