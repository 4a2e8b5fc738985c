"""A call that acts outside whose run is over: not made any more, unless it was; the record ends with what is true."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from domain.kernel import CallId, RunId, TaskRunId, utc_now
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.ledger import PostgresLedger
from tests.support.firms import seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.outside import TOOL, PostOffice, letter_tool, serving
from tools.outcomes import CallOutcome, CallRequest, Json

EVA = principal_of()
KINDS = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY occurred_at, kind"
AGE = "UPDATE call_intents SET begun_at = begun_at - interval '5 minutes'"
LOWER = "UPDATE memberships SET role = 'READONLY' WHERE user_id = $1"
CONVERSATION = """
INSERT INTO conversations (organization_id, conversation_id, owner_id, title, agent, created_at, updated_at)
VALUES ($1, $2, $3, '', 'assistant', now(), now())
"""
RUN = """
INSERT INTO runs (organization_id, run_id, conversation_id, owner_id, agent, model, door, status, heartbeat_at,
    created_at)
VALUES ($1, $2, $2, $3, 'assistant', 'offline', 'chat', 'running', now(), now())
"""
END_RUN = "UPDATE runs SET status = $2, finished_at = now() WHERE run_id = $1"
STOP_RUN = "UPDATE runs SET cancel_requested = true WHERE run_id = $1"
OF_TASK = """
INSERT INTO task_run_progress (organization_id, task_run_id, status, started_at, updated_at, finished_at)
VALUES ($1, $2, $3, now(), now(), now())
"""


@dataclass(slots=True, kw_only=True)
class Site:
    """A gate with a tool that sends letters, and a run that goes, which has it send them."""

    gate: GateOnTest
    office: PostOffice
    owner: Connection
    inspector: Connection
    run_id: RunId

    async def send(self, call_id: CallId | None = None, task_run_id: TaskRunId | None = None) -> CallOutcome:
        """A call of the run's; or of a task run's."""
        asked = CallRequest(
            call_id=call_id or CallId(uuid4()),
            tool=TOOL,
            arguments={"to": "Lena"},
            run_id=None if task_run_id else self.run_id,
            task_run_id=task_run_id,
        )
        return await self.gate.gate.call(asked, EVA)

    async def task_run(self) -> TaskRunId:
        created = await self.gate.call("task_create", {"title": "Refresh", "kind": "refresh_analytics"}, EVA)
        task = cast(Json, (created.result or {})["task"])
        await self.gate.call("task_run", {"task_id": task["task_id"]}, EVA)
        return TaskRunId(self.gate.queue.jobs.pop().subject_id)

    async def left_open(self, task_run_id: TaskRunId | None = None) -> CallId:
        """A call that never reached the outside, which nobody knows."""
        self.office.closed = True
        unknown = await self.send(task_run_id=task_run_id)
        self.office.closed = False
        return unknown.call_id

    async def settled(self, call_id: CallId, *, ending: bool = False) -> tuple[str, str | None]:
        ended = await self.gate.gate.settle(EVA, call_id, ending=ending)
        assert ended is not None
        return ended.outcome, ended.error and ended.error.code

    async def recorded(self, call_id: CallId) -> tuple[str, str | None]:
        ended = await PostgresLedger(self.gate.transactions, self.gate.gate.settle, utc_now).made(call_id, EVA)
        assert ended is not None
        return ended.outcome, ended.error and ended.error.code

    async def kinds(self, call_id: CallId) -> list[str]:
        return [row["kind"] for row in await self.inspector.fetch(KINDS, call_id)]

    async def age(self) -> None:
        await self.owner.execute(AGE)


@pytest.fixture
async def site(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> AsyncIterator[Site]:
    await seed_firms(owner_connection)
    run_id, office = RunId(uuid4()), PostOffice()
    await owner_connection.execute(CONVERSATION, EVA.organization_id, run_id, EVA.principal_id)
    await owner_connection.execute(RUN, EVA.organization_id, run_id, EVA.principal_id)
    async with serving(office) as url:
        manifest, handler = letter_tool(url, timeout=timedelta(minutes=1))
        async with gate_on(pools, {TOOL: handler}, more=[manifest]) as gate:
            yield Site(gate=gate, office=office, owner=owner_connection, inspector=superuser_connection, run_id=run_id)


async def cancelled(site: Site) -> None:
    await site.owner.execute(END_RUN, site.run_id, "cancelled")


async def failed(site: Site) -> None:
    """As one has that gave up, or whose carriers were lost too often."""
    await site.owner.execute(END_RUN, site.run_id, "failed")


async def told_to_stop(site: Site) -> None:
    await site.owner.execute(STOP_RUN, site.run_id)


Ends = Callable[[Site], Awaitable[None]]
ENDS: list[Ends] = [cancelled, failed, told_to_stop]


@pytest.mark.parametrize("ends", ENDS)
async def test_what_never_came_to_be_made_is_not_made_once_its_run_is_over(site: Site, ends: Ends) -> None:
    call_id = await site.left_open()
    await ends(site)
    # Whoever made it may be at it still.
    assert await site.settled(call_id) == ("failed", "outcome_unknown")
    assert await site.kinds(call_id) == ["tool.allowed"]
    await site.age()
    assert await site.settled(call_id) == ("failed", "run_ended")
    assert await site.recorded(call_id) == ("failed", "run_ended")
    assert await site.kinds(call_id) == ["tool.allowed", "tool.failed"]
    assert site.office.sent == {}


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_what_never_came_to_be_made_is_not_made_once_its_task_run_is_over(site: Site, status: str) -> None:
    task_run_id = await site.task_run()
    call_id = await site.left_open(task_run_id)
    await site.owner.execute(OF_TASK, EVA.organization_id, task_run_id, status)
    assert await site.settled(call_id) == ("failed", "outcome_unknown")
    await site.age()
    assert await site.settled(call_id) == ("failed", "run_ended")
    assert site.office.sent == {}


async def test_what_never_came_to_be_made_is_not_made_by_a_run_that_is_ending(site: Site) -> None:
    call_id = await site.left_open()
    assert await site.settled(call_id, ending=True) == ("failed", "outcome_unknown")
    await site.age()
    assert await site.settled(call_id, ending=True) == ("failed", "run_ended")
    assert site.office.sent == {}


@pytest.mark.parametrize("ends", ENDS)
async def test_what_was_made_before_its_run_was_over_is_recorded_as_made(site: Site, ends: Ends) -> None:
    async def lose(stage: str) -> None:
        if stage == "sent":
            site.office.closed = True
            raise ConnectionResetError

    site.office.turn = lose
    unknown = await site.send()
    assert (unknown.error and unknown.error.code) == "outcome_unknown"
    site.office.closed = False
    await ends(site)
    assert await site.settled(unknown.call_id) == ("done", None)
    assert site.office.brought == 1


async def test_what_never_came_to_be_made_is_made_while_its_run_goes_on(site: Site) -> None:
    call_id = await site.left_open()
    await site.age()
    assert await site.settled(call_id) == ("done", None)
    assert list(site.office.sent) == [str(call_id)]


@dataclass(slots=True)
class Held:
    """A turn at which the office stands still with a letter in its hands."""

    reached: asyncio.Event
    goes_on: asyncio.Event

    async def __call__(self, stage: str) -> None:
        if stage == "received":
            self.reached.set()
            await self.goes_on.wait()


async def lowered(site: Site) -> None:
    await site.owner.execute(LOWER, EVA.principal_id)


BARRED: list[tuple[Ends, str]] = [(lowered, "no_longer_allowed"), (cancelled, "run_ended")]


async def under_way(site: Site) -> tuple[asyncio.Task[CallOutcome], CallId, Held]:
    """A call that is being made."""
    held = Held(asyncio.Event(), asyncio.Event())
    site.office.turn, call_id = held, CallId(uuid4())
    sending = asyncio.create_task(site.send(call_id))
    async with asyncio.timeout(30):
        await held.reached.wait()
    return sending, call_id, held


@pytest.mark.parametrize("ends", [ends for ends, _ in BARRED])
async def test_of_a_call_that_is_being_made_nobody_says_that_it_never_was(site: Site, ends: Ends) -> None:
    sending, call_id, held = await under_way(site)
    await ends(site)
    assert await site.settled(call_id) == ("failed", "outcome_unknown")
    held.goes_on.set()
    assert (await sending).outcome == "done"
    assert await site.kinds(call_id) == ["tool.allowed", "tool.completed"]


@pytest.mark.parametrize(("ends", "code"), BARRED)
async def test_a_call_that_was_made_after_all_ends_in_the_record_as_made_and_the_log_says_so(
    site: Site, ends: Ends, code: str
) -> None:
    sending, call_id, held = await under_way(site)
    await ends(site)
    await site.age()
    assert await site.settled(call_id) == ("failed", code)
    held.goes_on.set()
    with capture_logs() as logs:
        assert (await sending).outcome == "done"
    assert [(each["log_level"], each["recorded"]) for each in logs if each["event"] == "outside.made_after_all"] == [
        ("error", code)
    ]
    assert await site.recorded(call_id) == ("done", None)
    assert await site.kinds(call_id) == ["tool.allowed", "tool.failed", "tool.completed"]
