"""A task run that has failed takes what its steps asked with it, however it failed and whatever stopped in between."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID, uuid4

import pytest

from domain.kernel import CallId, Level, TaskRunId, utc_now
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from server.worker.again import Again
from server.worker.task_runs import TaskRunWorker
from tests.support.firms import seed_firms
from tests.support.gates import GateOnTest, failing, gate_on, principal_of
from tools.outcomes import CallOutcome, CallRequest, Json
from tools.work import Job
from tools.workflows import Retries, Step, Workflow, Workflows

HAND = principal_of(mode="person", door="rest")
SUGGEST_ONLY = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', 1, $2, clock_timestamp())
"""
ASKED = """
SELECT approval_id, call_id, state, decided_by, comment FROM approvals WHERE task_run_id = $1
ORDER BY created_at, approval_id
"""
KINDS = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY recorded_at, kind"
SOON = "UPDATE approvals SET expires_at = now() + interval '10 minutes' WHERE approval_id = $1"
FAIL = "UPDATE task_run_progress SET status = 'failed', finished_at = now(), failure = 'No.' WHERE task_run_id = $1"
STATUS = "SELECT status FROM task_run_progress WHERE task_run_id = $1"
DRAFTS = "SELECT count(*) FROM tasks WHERE title LIKE 'Draft%'"

EACH = Step(
    name="note", tool="task_create", arguments={"title": {"$text": "Draft {item}"}}, needs=(), for_each="input.names"
)
LATER = Step(
    name="look",
    tool="task_list",
    arguments={},
    needs=(),
    retries=Retries(times=1, pause=timedelta(minutes=1)),
)
"""It fails, and is to be made again after a while; so the run works on while the others wait."""


@dataclass(slots=True, kw_only=True)
class Site:
    """A gate behind which every draft waits for a person, and lists fail; and workers on it."""

    gate: GateOnTest
    identities: PostgresIdentities
    owner: Connection
    inspector: Connection

    async def waiting(self, *steps: Step) -> Job:
        """A run whose two drafts wait for a person."""
        asked = {"title": "Refresh", "kind": "refresh_analytics", "input": {"names": ["a", "b"]}}
        created = await self.gate.call("task_create", asked, HAND)
        task = cast(Json, (created.result or {})["task"])
        await self.gate.call("task_run", {"task_id": task["task_id"]}, HAND)
        job = self.gate.queue.jobs.pop()
        await self.owner.execute(SUGGEST_ONLY, HAND.organization_id, HAND.principal_id)
        assert await self.work(job, *steps) is not None
        assert await self.states(job) == ["pending", "pending"]
        return job

    async def work(self, job: Job, *steps: Step, ahead: timedelta = timedelta(0)) -> Again | None:
        """Without steps there is no workflow any more."""

        def clock() -> datetime:
            return utc_now() + ahead

        workflow = Workflow(
            name="refresh_analytics", title="Refresh", description="", minimum_autonomy=Level.L1, steps=steps
        )
        worker = TaskRunWorker(
            gate=self.gate.gate,
            transactions=self.gate.transactions,
            identities=self.identities,
            workflows=Workflows([workflow] if steps else []),
            clock=clock,
        )
        return await worker.work(job)

    async def asked(self, job: Job) -> list[UUID]:
        return [row["approval_id"] for row in await self.inspector.fetch(ASKED, job.subject_id)]

    async def states(self, job: Job) -> list[str]:
        return [row["state"] for row in await self.inspector.fetch(ASKED, job.subject_id)]

    async def approved(self, approval_id: UUID) -> CallOutcome:
        return await self.gate.call("approval_decide", {"approval_id": str(approval_id), "decision": "approve"}, HAND)


@pytest.fixture
async def site(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> AsyncIterator[Site]:
    await seed_firms(owner_connection)

    async def not_today(_arguments: object, _context: object) -> Json:
        raise RuntimeError("not today")

    async with gate_on(pools, failing("task_list", not_today)) as gate:
        yield Site(
            gate=gate,
            identities=PostgresIdentities(pools.app),
            owner=owner_connection,
            inspector=superuser_connection,
        )


async def past_its_deadline(site: Site) -> Job:
    job = await site.waiting(EACH, LATER)
    assert await site.work(job, EACH, LATER, ahead=timedelta(hours=2)) is None
    return job


async def with_an_item_that_lapsed(site: Site) -> Job:
    job = await site.waiting(EACH)
    await site.owner.execute(SOON, (await site.asked(job))[0])
    assert await site.work(job, EACH, ahead=timedelta(minutes=20)) is None
    return job


async def without_its_workflow(site: Site) -> Job:
    job = await site.waiting(EACH)
    assert await site.work(job) is None
    return job


@pytest.mark.parametrize("ended", [past_its_deadline, with_an_item_that_lapsed, without_its_workflow])
async def test_a_run_that_fails_takes_the_questions_of_its_steps_with_it(
    site: Site, ended: Callable[[Site], Awaitable[Job]]
) -> None:
    job = await ended(site)
    assert await site.inspector.fetchval(STATUS, job.subject_id) == "failed"
    *_, last = await site.inspector.fetch(ASKED, job.subject_id)
    assert (last["state"], last["decided_by"]) == ("cancelled", None)
    assert last["comment"] == "The run of this call failed before anybody answered."
    recorded = [row["kind"] for row in await site.inspector.fetch(KINDS, last["call_id"])]
    assert recorded == ["tool.waiting", "tool.cancelled"]
    late = await site.approved(last["approval_id"])
    assert (late.outcome, late.error and late.error.code) == ("invalid", "already_decided")
    assert await site.inspector.fetchval(DRAFTS) == 0


async def test_where_a_crash_came_before_the_withdrawal_nothing_is_decided_and_the_sweep_brings_it(
    site: Site, pools: DatabasePools
) -> None:
    job = await site.waiting(EACH)
    await site.owner.execute(FAIL, job.subject_id)
    for approval_id in await site.asked(job):
        late = await site.approved(approval_id)
        assert (late.outcome, late.error and late.error.code) == ("invalid", "run_ended")
    assert await site.states(job) == ["pending", "pending"]
    assert job in await PostgresJobs(pools.service).sweep(timedelta(0))
    assert await site.work(job, EACH) is None
    assert await site.states(job) == ["cancelled", "cancelled"]
    await site.owner.execute("DELETE FROM queue.pgqueuer")
    assert job not in await PostgresJobs(pools.service).sweep(timedelta(0))
    assert await site.inspector.fetchval(DRAFTS) == 0


async def test_questions_also_of_a_higher_role_are_withdrawn_and_those_of_a_run_that_goes_on_are_not(
    site: Site,
) -> None:
    job, other = await site.waiting(EACH), await site.waiting(EACH)
    await site.owner.execute("UPDATE approvals SET needs_role = 'PARTNER' WHERE task_run_id = $1", job.subject_id)
    hub = principal_of(who="service", door="worker")
    early = await site.gate.call("approval_cancel", {"run_id": str(job.subject_id)}, hub)
    assert early.result == {"run_id": str(job.subject_id), "cancelled": [], "expired": []}
    await site.owner.execute(FAIL, job.subject_id)
    assert await site.work(job, EACH) is None
    assert await site.states(job) == ["cancelled", "cancelled"]
    assert await site.states(other) == ["pending", "pending"]


async def test_a_step_of_a_run_that_has_failed_meanwhile_leaves_no_question(site: Site) -> None:
    job = await site.waiting(EACH)
    await site.owner.execute(FAIL, job.subject_id)
    late = CallRequest(
        call_id=CallId(uuid4()),
        tool="task_create",
        arguments={"title": "Draft c"},
        task_run_id=TaskRunId(job.subject_id),
    )
    refused = await site.gate.gate.call(late, principal_of(door="worker"))
    assert (refused.outcome, refused.error and refused.error.code) == ("invalid", "run_ended")
    assert len(await site.asked(job)) == 2
