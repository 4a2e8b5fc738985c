"""A step under way outside beside one that waits for a person: the run goes on when either is settled."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import orjson
import pytest

from domain.kernel import Level, new_id, utc_now
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.worker.again import Again
from server.worker.settling import SettleWorker
from server.worker.task_runs import TaskRunWorker
from tests.support.firms import seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.outside import TOOL, PostOffice, letter_tool, serving
from tools.outcomes import Json
from tools.work import Job
from tools.workflows import Step, Workflow, Workflows

HAND = principal_of(mode="person", door="rest")
STEPS = "SELECT steps FROM task_run_progress WHERE task_run_id = $1"
WORKFLOW = Workflow(
    name="refresh_analytics",
    title="Refresh",
    description="",
    minimum_autonomy=Level.L1,
    steps=(
        Step(
            name="remind",
            tool="task_remind",
            arguments={"task_id": {"$from": "run.task_id"}, "text": "Please."},
            needs=(),
        ),
        Step(name="send", tool=TOOL, arguments={"to": "Lena"}, needs=()),
    ),
)


@dataclass(slots=True, kw_only=True)
class Site:
    """A gate with a tool that sends letters, a worker of task runs and one that settles."""

    gate: GateOnTest
    office: PostOffice
    worker: TaskRunWorker
    settling: SettleWorker
    inspector: Connection

    async def started(self) -> Job:
        created = await self.gate.call("task_create", {"title": "Refresh", "kind": "refresh_analytics"}, HAND)
        task = cast(Json, (created.result or {})["task"])
        await self.gate.call("task_run", {"task_id": task["task_id"]}, HAND)
        return self.gate.queue.jobs.pop()

    async def steps(self, job: Job) -> dict[str, str]:
        listed = orjson.loads(await self.inspector.fetchval(STEPS, job.subject_id))
        return {step["name"]: step["status"] for step in listed}


@pytest.fixture
async def site(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> AsyncIterator[Site]:
    await seed_firms(owner_connection)
    office = PostOffice()
    async with serving(office) as url:
        manifest, handler = letter_tool(url)
        async with gate_on(pools, {TOOL: handler}, more=[manifest]) as gate:
            identities = PostgresIdentities(pools.app)
            yield Site(
                gate=gate,
                office=office,
                worker=TaskRunWorker(
                    gate=gate.gate,
                    transactions=gate.transactions,
                    identities=identities,
                    workflows=Workflows([WORKFLOW]),
                    clock=utc_now,
                ),
                settling=SettleWorker(gate=gate.gate, identities=identities, new_id=new_id),
                inspector=superuser_connection,
            )


async def test_a_call_that_is_settled_brings_the_run_that_it_is_a_step_of_further(site: Site) -> None:
    job = await site.started()
    site.office.closed = True
    # Not until the approval expires: what became of the letter is looked after in the meantime.
    assert await site.worker.work(job) == Again()
    assert await site.steps(job) == {"remind": "waiting", "send": "running"}
    (settling,) = site.gate.queue.jobs
    site.gate.queue.jobs.clear()
    assert settling.kind == "call_settle"
    assert await site.settling.work(settling) == Again()
    assert site.gate.queue.jobs == []

    site.office.closed = False
    assert await site.settling.work(settling) is None
    assert site.gate.queue.jobs == [job]
    rests = await site.worker.work(job)
    assert rests is not None
    assert rests.after is not None
    assert rests.after > timedelta(hours=1)
    assert await site.steps(job) == {"remind": "waiting", "send": "done"}
    assert len(site.office.sent) == 1
