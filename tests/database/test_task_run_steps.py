"""Steps of a task run against the real gate and record: retried, together, one for each item, and within their time."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import orjson
import pytest

from domain.kernel import Level, TaskRunId, utc_now
from domain.tasks.model import TaskRunStep
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.worker.again import Again
from server.worker.steps import settled
from server.worker.task_runs import TaskRunWorker
from tests.support.firms import seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.handlers import HANDLERS
from tools.outcomes import Json
from tools.work import Handler, Job
from tools.workflows import Retries, Step, Workflow, Workflows

HAND = principal_of(mode="person", door="rest")
RUN = "SELECT status, progress, message, failure, steps FROM task_run_progress WHERE task_run_id = $1"
CALLS = """
SELECT tool, outcome, error_code FROM activity_events
WHERE task_run_id = $1 AND (kind <> 'tool.allowed') ORDER BY recorded_at
"""


@dataclass(slots=True)
class Lists:
    """What task_list does in place of listing: fails so often first, and meets others when asked to."""

    fails: int = 0
    meeting: asyncio.Barrier | None = None
    hangs: bool = False
    listed: int = 0
    """Items that there are, told two a page; the cursor is the number of the next."""
    calls: int = 0
    paused: list[float] = field(default_factory=list[float])

    async def work(self, arguments: Any, _context: object) -> Json:
        self.calls += 1
        if self.meeting is not None:
            async with asyncio.timeout(20):
                await self.meeting.wait()
        if self.hangs:
            await asyncio.Event().wait()
        if self.calls <= self.fails:
            raise RuntimeError("not today")
        first = int(arguments.cursor or 0)
        last = min(first + 2, self.listed)
        items = [listed_task(number) for number in range(first, last)]
        return {"items": items, "next_cursor": str(last) if last < self.listed else None}

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)


def listed_task(number: int) -> Json:
    return {
        "task_id": str(UUID(int=number)),
        "title": f"{number:02}",
        "description": "",
        "status": "open",
        "audience": "firm",
        "created_by": "somebody",
        "created_at": utc_now().isoformat(),
        "updated_at": utc_now().isoformat(),
        "version": 1,
    }


def reads(name: str, *needs: str, **more: Any) -> Step:
    return Step(name=name, tool="task_list", arguments={}, needs=needs, **more)


def drafts(name: str, *needs: str, **more: Any) -> Step:
    arguments: Json = {"title": {"$text": "Draft {item}"}} if "for_each" in more else {"title": "Draft"}
    return Step(name=name, tool="task_create", arguments=arguments, needs=needs, **more)


@dataclass(slots=True, kw_only=True)
class Site:
    """A gate with these lists behind it, and workers on it."""

    gate: GateOnTest
    identities: PostgresIdentities
    lists: Lists
    inspector: Connection

    async def started(self, **given: object) -> Job:
        asked = {"title": "Refresh", "kind": "refresh_analytics", "input": given}
        created = await self.gate.call("task_create", asked, HAND)
        task = cast(Json, (created.result or {})["task"])
        await self.gate.call("task_run", {"task_id": task["task_id"]}, HAND)
        return self.gate.queue.jobs.pop()

    async def started_again(self, job: Job) -> Job:
        """A run more of the same task."""
        task_id = await self.inspector.fetchval("SELECT task_id FROM task_runs WHERE task_run_id = $1", job.subject_id)
        await self.gate.call("task_run", {"task_id": str(task_id)}, HAND)
        return self.gate.queue.jobs.pop()

    async def work(
        self, job: Job, *steps: Step, timeout: timedelta = timedelta(hours=1), ahead: timedelta = timedelta(0)
    ) -> Again | None:
        def clock() -> datetime:
            return utc_now() + ahead

        workflow = Workflow(
            name="refresh_analytics",
            title="Refresh",
            description="",
            minimum_autonomy=Level.L1,
            steps=steps,
            timeout=timeout,
        )
        worker = TaskRunWorker(
            gate=self.gate.gate,
            transactions=self.gate.transactions,
            identities=self.identities,
            workflows=Workflows([workflow]),
            clock=clock,
            pause=self.lists.pause,
        )
        return await worker.work(job)

    async def run(self, job: Job) -> Json:
        row = await self.inspector.fetchrow(RUN, job.subject_id)
        assert row is not None
        return {**dict(row), "steps": orjson.loads(row["steps"])}

    async def recorded(self, job: Job) -> list[tuple[str, str, str | None]]:
        return [tuple(row) for row in await self.inspector.fetch(CALLS, job.subject_id)]

    async def drafted(self) -> list[str]:
        rows = await self.inspector.fetch("SELECT title FROM tasks WHERE title LIKE 'Draft%' ORDER BY title")
        return [row["title"] for row in rows]


Opened = Callable[..., Any]


async def suggest_only(owner: Connection) -> None:
    """From now on each draft waits for a person."""
    await owner.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at) "
        "VALUES ($1, gen_random_uuid(), 'organization', 1, $2, clock_timestamp())",
        HAND.organization_id,
        HAND.principal_id,
    )


@pytest.fixture
async def opened(pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection) -> Opened:
    await seed_firms(owner_connection)

    @asynccontextmanager
    async def site(lists: Lists, fault: Any = None) -> AsyncGenerator[Site]:
        replaced: dict[str, Handler[Any]] = {
            "task_list": Handler(arguments=HANDLERS["task_list"].arguments, work=lists.work)
        }
        async with gate_on(pools, replaced, **({} if fault is None else {"fault": fault})) as gate:
            yield Site(gate=gate, identities=PostgresIdentities(pools.app), lists=lists, inspector=superuser_connection)

    return site


async def test_a_step_that_fails_is_made_again_and_each_attempt_is_a_call_of_its_own(opened: Opened) -> None:
    async with opened(Lists(fails=2)) as site:
        job = await site.started()
        step = reads("look", retries=Retries(times=2, pause=timedelta(seconds=1)))
        assert await site.work(job, step) is None
        assert await site.recorded(job) == [
            ("task_list", "failed", "internal"),
            ("task_list", "failed", "internal"),
            ("task_list", "done", None),
        ]
        run = await site.run(job)
        assert (run["status"], run["progress"], run["steps"][0]["attempts"]) == ("completed", 1.0, 3)
        first, second = site.lists.paused
        assert 0.3 < first <= 1.0 < second + 0.2 <= 2.2


async def test_the_last_attempt_of_a_step_is_found_however_many_there_were(opened: Opened) -> None:
    async with opened(Lists(fails=22)) as site:
        job = await site.started()
        brief = timedelta(milliseconds=1)
        await site.work(job, reads("look", retries=Retries(times=22, pause=brief, longest=brief)))
        async with site.gate.transactions.session(HAND.organization_id, HAND.principal_id) as session:
            run = await session.work.tasks.get_run(TaskRunId(job.subject_id))
            under_way = TaskRunStep(name="look", tool="task_list", status="running")
            assert (await settled(session, run, under_way)).status == "done"


async def test_a_step_that_fails_too_often_ends_the_run(opened: Opened) -> None:
    async with opened(Lists(fails=9)) as site:
        job = await site.started()
        assert await site.work(job, reads("look", retries=Retries(times=1)), drafts("note", "look")) is None
        run = await site.run(job)
        assert (run["status"], run["failure"]) == ("failed", "look did not succeed: internal.")
        assert site.lists.calls == 2
        assert await site.drafted() == []


async def test_what_is_denied_or_invalid_is_never_made_again(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started()
        denied = Step(
            name="lock",
            tool="approval_decide",
            arguments={"approval_id": str(job.subject_id), "decision": "approve"},
            retries=Retries(times=5),
        )
        assert await site.work(job, denied) is None
        assert len(await site.recorded(job)) == 1
        assert (await site.run(job))["status"] == "failed"


async def test_a_long_pause_is_spent_in_the_queue_and_not_cut_short_by_whoever_takes_over(opened: Opened) -> None:
    async with opened(Lists(fails=1)) as site:
        job, step = await site.started(), reads("look", retries=Retries(times=1, pause=timedelta(minutes=1)))
        for _ in range(2):
            again = await site.work(job, step)
            assert again is not None
            assert timedelta(seconds=25) < again.after <= timedelta(seconds=60)
            run = await site.run(job)
            assert (run["status"], run["steps"][0]["status"]) == ("running", "queued")
            assert run["message"] == "look failed (internal) and is tried again, for the second time."
        assert site.lists.calls == 1
        assert await site.work(job, step, ahead=timedelta(minutes=2)) is None
        assert ((await site.run(job))["status"], site.lists.calls) == ("completed", 2)


async def test_a_step_is_made_again_in_its_time_while_another_waits_for_a_person(
    opened: Opened, owner_connection: Connection
) -> None:
    async with opened(Lists(fails=1)) as site:
        await suggest_only(owner_connection)
        job = await site.started()
        steps = drafts("note"), reads("look", retries=Retries(times=1, pause=timedelta(minutes=1)))
        again = await site.work(job, *steps)
        assert again is not None
        assert again.after <= timedelta(minutes=1)
        again = await site.work(job, *steps, ahead=timedelta(minutes=2))
        assert again is not None
        assert again.after > timedelta(hours=1)
        run = await site.run(job)
        assert (run["status"], [step["status"] for step in run["steps"]]) == ("waiting", ["waiting", "done"])


async def test_steps_that_do_not_need_one_another_run_together(opened: Opened) -> None:
    async with opened(Lists(meeting=asyncio.Barrier(2))) as site:
        job = await site.started()
        assert await site.work(job, reads("a"), reads("b"), drafts("c", "a", "b")) is None
        assert (await site.run(job))["status"] == "completed"
        assert await site.drafted() == ["Draft"]


async def test_each_item_of_a_list_has_a_call_of_its_own(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started(names=["a", "b", "c"])
        assert await site.work(job, drafts("note", for_each="input.names"), reads("look", when="note.items")) is None
        run = await site.run(job)
        assert (run["status"], run["steps"][0]["items"], run["steps"][0]["items_done"]) == ("completed", 3, 3)
        assert await site.drafted() == ["Draft a", "Draft b", "Draft c"]


async def test_a_list_that_is_empty_takes_no_call_and_what_depends_on_it_is_passed_over(opened: Opened) -> None:
    async with opened(Lists()) as site:
        job = await site.started(names=[])
        steps = drafts("note", for_each="input.names"), reads("look", "note", when="note.count")
        assert await site.work(job, *steps) is None
        run = await site.run(job)
        assert [step["status"] for step in run["steps"]] == ["done", "skipped"]
        assert (run["status"], run["progress"], await site.recorded(job)) == ("completed", 1.0, [])


def drafts_of_all(most: int) -> tuple[Step, Step]:
    note = Step(
        name="note",
        tool="task_create",
        arguments={"title": {"$text": "Draft {item.title}"}},
        needs=("look",),
        for_each="look.items",
    )
    return reads("look", pages=most), note


async def test_every_page_of_a_list_is_asked_for_and_each_of_its_items_has_a_call(opened: Opened) -> None:
    async with opened(Lists(listed=25)) as site:
        job = await site.started()
        assert await site.work(job, *drafts_of_all(1000)) is None
        run = await site.run(job)
        assert (run["status"], run["message"], run["steps"][1]["items"]) == ("completed", "Refresh: done.", 25)
        assert await site.drafted() == [f"Draft {number:02}" for number in range(25)]


async def test_what_a_run_leaves_of_a_list_is_told_and_done_by_the_next_run(opened: Opened) -> None:
    async with opened(Lists(listed=5)) as site:
        first = await site.started()
        assert await site.work(first, *drafts_of_all(3)) is None
        run = await site.run(first)
        assert (run["status"], run["message"]) == (
            "completed",
            "Refresh: done. look: 3 more are left for the next run.",
        )
        assert (run["steps"][0]["items_left"], run["steps"][1]["items"]) == (3, 2)
        seen = await site.gate.call("task_run_get", {"task_run_id": str(first.subject_id)}, HAND)
        assert seen.result["task_run"]["steps"][0]["items_left"] == 3

        second = await site.started_again(first)
        assert await site.work(second, *drafts_of_all(4)) is None
        assert (await site.run(second))["message"] == "Refresh: done."
        assert await site.drafted() == [f"Draft {number:02}" for number in range(5)]

        third = await site.started_again(first)
        assert await site.work(third, *drafts_of_all(4)) is None
        assert (await site.run(third))["message"] == "Refresh: done. look: 1 more are left for the next run."


async def test_a_run_that_did_not_come_to_its_items_leaves_them_all_to_the_next(opened: Opened) -> None:
    look, note = drafts_of_all(2)
    refused = replace(note, arguments={"title": {"$from": "item.kind"}})
    async with opened(Lists(listed=3)) as site:
        first = await site.started()
        assert await site.work(first, look, refused) is None
        assert (await site.run(first))["status"] == "failed"
        second = await site.started_again(first)
        assert await site.work(second, look, note) is None
        assert await site.drafted() == ["Draft 00", "Draft 01"]


async def test_a_page_that_was_asked_for_is_not_asked_for_again_by_whoever_takes_over(opened: Opened) -> None:
    async with opened(Lists(listed=6, fails=2)) as site:
        job = await site.started()
        look, note = drafts_of_all(1000)
        patient = replace(look, retries=Retries(times=2, pause=timedelta(minutes=1)))
        assert await site.work(job, patient, note) is not None
        assert await site.work(job, patient, note, ahead=timedelta(minutes=2)) is not None
        assert await site.work(job, patient, note, ahead=timedelta(minutes=9)) is None
        assert await site.drafted() == [f"Draft {number:02}" for number in range(6)]
        assert site.lists.calls == 2 + 3


@pytest.mark.parametrize("names", ["abc", [{"a": 1}] * 101])
async def test_a_list_that_is_none_or_too_long_ends_the_run_with_the_reason(opened: Opened, names: object) -> None:
    async with opened(Lists()) as site:
        job = await site.started(names=names)
        assert await site.work(job, drafts("note", for_each="input.names")) is None
        assert (await site.run(job))["status"] == "failed"
        assert await site.drafted() == []


async def test_a_run_whose_worker_stopped_among_its_items_makes_each_once(opened: Opened) -> None:
    reached, seen = asyncio.Event(), 0

    async def fault(stage: str) -> None:
        nonlocal seen
        if stage == "outcome" and not reached.is_set():
            seen += 1
            if seen == 4:  # The task itself, and three items.
                reached.set()
                await asyncio.Event().wait()

    async with opened(Lists(), fault) as site:
        job = await site.started(names=list("abcdef"))
        step = drafts("note", for_each="input.names")
        working = asyncio.create_task(site.work(job, step))
        async with asyncio.timeout(20):
            await reached.wait()
        working.cancel()
        await asyncio.wait([working])
        assert await site.work(job, step) is None
        assert await site.drafted() == [f"Draft {name}" for name in "abcdef"]
        assert (await site.run(job))["status"] == "completed"


async def test_a_run_that_works_too_long_ends_and_its_call_is_recorded_as_cancelled(opened: Opened) -> None:
    async with opened(Lists(hangs=True)) as site:
        job = await site.started()
        assert await site.work(job, reads("look"), timeout=timedelta(seconds=0.3)) is None
        run = await site.run(job)
        assert (run["status"], run["failure"]) == ("failed", "It had not come to its end after 0.3 s of work.")
        assert await site.recorded(job) == [("task_list", "cancelled", "cancelled")]


async def test_a_step_that_takes_longer_than_its_own_time_has_failed(opened: Opened) -> None:
    async with opened(Lists(hangs=True)) as site:
        job = await site.started()
        assert await site.work(job, reads("look", timeout=timedelta(seconds=0.2))) is None
        assert await site.recorded(job) == [("task_list", "failed", "timeout")]


async def test_time_that_a_run_waits_for_a_person_is_not_time_that_it_works(
    opened: Opened, owner_connection: Connection
) -> None:
    async with opened(Lists()) as site:
        await suggest_only(owner_connection)
        job, steps = await site.started(), (drafts("note"), reads("look", "note"))
        assert await site.work(job, *steps, timeout=timedelta(minutes=1)) is not None
        assert (await site.run(job))["status"] == "waiting"
        approval = await site.inspector.fetchval(
            "SELECT approval_id FROM approvals WHERE task_run_id = $1", job.subject_id
        )
        answer = {"approval_id": str(approval), "decision": "approve"}
        decided = await site.gate.call("approval_decide", answer, HAND)
        assert decided.outcome == "done"
        assert await site.work(job, *steps, timeout=timedelta(minutes=1), ahead=timedelta(hours=5)) is None
        assert (await site.run(job))["status"] == "completed"
