"""A call that waits for a task run: what it tells meanwhile, what it holds, and everything that ends its waiting."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import cast
from uuid import UUID, uuid4

import pytest

from domain.kernel import CallId, OrganizationId, Principal, PrincipalId, TaskRunId
from domain.tasks.model import TaskRun
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.unit_of_work import PostgresTransactions, Session
from server.following import MOST_FOLLOWED, TaskRunFeed
from tests.database.test_task_run_steps import HAND, Lists, Opened, Site, drafts, opened, reads, suggest_only
from tests.support.firms import FIRM_B
from tests.support.gates import gate_on, principal_of
from tools.outcomes import CallOutcome, CallRequest, CutOff, Json
from tools.work import Job

__all__ = ["opened"]

EVENTS = "SELECT kind, outcome, error_code FROM activity_events WHERE call_id = $1"
SOON_S = 30
"""Much less than the call would wait."""


@dataclass(slots=True)
class Waiting:
    """A call that waits for the run, and what it has told."""

    site: Site
    run_id: UUID
    wait_s: int = 60
    principal: Principal = HAND
    call_id: CallId = field(default_factory=lambda: CallId(uuid4()))
    told: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, progress: float, message: str) -> None:
        self.told.append((progress, message))
        self.heard.set()

    async def call(self) -> CallOutcome:
        arguments = {"task_run_id": str(self.run_id), "wait_s": self.wait_s}
        request = CallRequest(call_id=self.call_id, tool="task_run_get", arguments=arguments, tell=self.tell)
        return await self.site.gate.gate.call(request, self.principal)

    async def events(self) -> list[tuple[str, str, str | None]]:
        return [tuple(row) for row in await self.site.inspector.fetch(EVENTS, self.call_id)]

    @asynccontextmanager
    async def under_way(self) -> AsyncGenerator[asyncio.Task[CallOutcome]]:
        """The call, which has begun to wait."""
        async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as group:
            call = group.create_task(self.call())
            await self.heard.wait()
            assert not call.done()
            yield call


def run_of(ended: CallOutcome) -> Json:
    assert ended.result is not None, ended
    return cast(Json, ended.result["task_run"])


async def test_a_call_waits_for_the_run_to_end_tells_how_it_goes_and_is_recorded_once(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        waiting = Waiting(site, job.subject_id)
        async with waiting.under_way() as call:
            assert await site.work(job, reads("look"), drafts("note", "look")) is None
        run = run_of(call.result())
        assert (call.result().outcome, run["status"], run["progress"]) == ("done", "completed", 1.0)
        assert waiting.told[0] == (0.0, "queued")
        assert waiting.told[-1] == (1.0, run["message"])
        assert all(one != other for one, other in zip(waiting.told, waiting.told[1:], strict=False))
        assert await waiting.events() == [("tool.completed", "done", None)]


async def test_a_call_that_waits_holds_no_connection(opened: Opened, pools: DatabasePools) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        async with Waiting(site, job.subject_id).under_way() as call:
            while pools.app.lent:  # noqa: ASYNC110 - a pool tells nobody when it has everything back
                await asyncio.sleep(0.01)
            assert not call.done()
            await site.work(job, reads("look"))


async def test_a_run_that_waits_for_a_person_is_waited_for_no_longer(
    opened: Opened, owner_connection: Connection
) -> None:
    async with opened(Lists()) as site:
        await suggest_only(owner_connection)
        job = await site.started()
        async with Waiting(site, job.subject_id).under_way() as call:
            assert await site.work(job, drafts("note")) is not None
        assert run_of(call.result())["status"] == "waiting"


async def test_a_wait_that_is_over_says_where_the_run_stands(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        async with asyncio.timeout(SOON_S):
            ended = await Waiting(site, job.subject_id, wait_s=1).call()
        assert (ended.outcome, run_of(ended)["status"]) == ("done", "queued")


async def test_a_call_that_asks_for_no_wait_tells_nothing(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        plain = Waiting(site, job.subject_id, wait_s=0)
        assert (run_of(await plain.call())["status"], plain.told) == ("queued", [])


async def test_a_wait_ends_when_the_process_is_to_stop(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        async with Waiting(site, job.subject_id).under_way() as call:
            site.gate.task_runs.end_all()
        assert (call.result().outcome, run_of(call.result())["status"]) == ("done", "queued")
        late = Waiting(site, job.subject_id)
        async with asyncio.timeout(SOON_S):
            assert run_of(await late.call())["status"] == "queued"


async def test_a_wait_that_is_cancelled_is_recorded_as_that(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        waiting = Waiting(site, job.subject_id)
        call = asyncio.create_task(waiting.call())
        async with asyncio.timeout(SOON_S):
            await waiting.heard.wait()
            call.cancel()
            with pytest.raises(CutOff):
                await call
        assert await waiting.events() == [("tool.cancelled", "cancelled", "cancelled")]


async def test_a_wait_ends_with_the_time_of_the_call(opened: Opened, pools: DatabasePools) -> None:
    async with opened(Lists()) as site, gate_on(pools, timeout=timedelta(seconds=0.2)) as hurried:
        job = await site.started()
        waiting = Waiting(replace(site, gate=hurried), job.subject_id)
        async with asyncio.timeout(SOON_S):
            ended = await waiting.call()
        assert ended.error is not None
        assert (ended.outcome, ended.error.code) == ("failed", "timeout")
        assert await waiting.events() == [("tool.failed", "failed", "timeout")]


async def test_a_run_of_another_firm_and_one_that_is_none_are_not_waited_for(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        stranger = principal_of(FIRM_B)
        for run_id, principal in ((job.subject_id, stranger), (uuid4(), HAND)):
            waiting = Waiting(site, run_id, principal=principal)
            async with asyncio.timeout(SOON_S):
                ended = await waiting.call()
            assert ended.error is not None
            assert (ended.outcome, ended.error.code, waiting.told) == ("invalid", "task_run_not_found", [])


async def test_a_wait_outside_its_bounds_is_invalid(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        for seconds in (-1, 61):
            ended = await Waiting(site, job.subject_id, wait_s=seconds).call()
            assert ended.error is not None
            assert (ended.outcome, ended.error.code) == ("invalid", "invalid_arguments")


async def test_whoever_may_no_longer_see_the_run_is_told_so_at_the_next_look(
    opened: Opened, owner_connection: Connection
) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        async with Waiting(site, job.subject_id).under_way() as call:
            await owner_connection.execute(
                "UPDATE memberships SET role = 'CLIENT' WHERE user_id = $1", HAND.principal_id
            )
        ended = call.result()
        assert ended.error is not None
        assert (ended.outcome, ended.error.code) == ("invalid", "task_run_not_found")


@dataclass(slots=True)
class Counted:
    """Sessions that were opened."""

    count: int = 0


class CountingTransactions(PostgresTransactions):
    """Counts its sessions."""

    counted: Counted

    @asynccontextmanager
    async def session(
        self, organization_id: OrganizationId, principal_id: PrincipalId | None, *, read_only: bool = True
    ) -> AsyncGenerator[Session]:
        self.counted.count += 1
        async with super().session(organization_id, principal_id, read_only=read_only) as session:
            yield session


async def test_many_who_follow_one_run_look_at_it_once(opened: Opened, pools: DatabasePools) -> None:
    async with opened(Lists()) as site:
        job, transactions = await site.started(), CountingTransactions(pools.app, site.gate.workflows)
        transactions.counted = counted = Counted()
        feed, all_here = TaskRunFeed(transactions), asyncio.Barrier(11)
        async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as group:
            ended = [group.create_task(_last_of(feed, job, all_here)) for _ in range(10)]
            await all_here.wait()
            began = counted.count
            await site.work(job, reads("look"))
            finished = counted.count
        assert {each.result().progress.status for each in ended} == {"completed"}
        assert began == 10
        # All ten see the end by the same look; how often they looked while it went is the clock's to say.
        assert counted.count - finished <= 3


async def _last_of(feed: TaskRunFeed, job: Job, all_here: asyncio.Barrier) -> TaskRun:
    last: TaskRun | None = None
    async with aclosing(feed.states(HAND, TaskRunId(job.subject_id), goes_on=False)) as states:
        async for run in states:
            if last is None:
                await all_here.wait()
            last = run
    assert last is not None
    return last


async def test_whoever_follows_too_many_runs_is_shown_where_the_next_stands(opened: Opened) -> None:
    async with opened(Lists()) as site, AsyncExitStack() as stack:
        feed = site.gate.task_runs
        for _ in range(MOST_FOLLOWED):
            job = await site.started()
            states = feed.states(HAND, TaskRunId(job.subject_id), goes_on=False)
            stack.push_async_callback(states.aclose)
            await anext(states)
            following = asyncio.create_task(anext(states, None))
            stack.push_async_callback(_ended, following)
            await asyncio.sleep(0)
        job = await site.started()
        async with asyncio.timeout(SOON_S):
            assert run_of(await Waiting(site, job.subject_id).call())["status"] == "queued"


async def _ended(following: "asyncio.Task[TaskRun | None]") -> None:
    following.cancel()
    await asyncio.wait([following])
