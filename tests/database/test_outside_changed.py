"""A call that acts outside whose tool has changed since, or is gone: never made under another manifest, and it ends."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import pytest
from aiohttp import web

from domain.kernel import CallId, Effect, Level, new_id, utc_now
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.worker.again import Again
from server.worker.settling import SettleWorker
from server.worker.task_runs import TaskRunWorker
from tests.support.firms import seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.outside import TOOL, PostOffice, letter_tool, serving
from tools.manifest import Manifest
from tools.outcomes import CallOutcome, Json
from tools.work import Handler, Job
from tools.workflows import Retries, Step, Workflow, Workflows

HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
KINDS = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY occurred_at, kind"
AGE = "UPDATE call_intents SET begun_at = begun_at - $1::interval"
WORKFLOW = Workflow(
    name="refresh_analytics",
    title="Refresh",
    description="",
    minimum_autonomy=Level.L1,
    steps=(Step(name="send", tool=TOOL, arguments={"to": "Lena"}, needs=(), retries=Retries(times=2)),),
)


@dataclass(slots=True, kw_only=True)
class Site:
    """An office, and gates of servers that know its tool by one manifest or another, or not at all."""

    pools: DatabasePools
    office: PostOffice
    manifest: Manifest
    handler: Handler[Any]
    owner: Connection
    inspector: Connection

    @asynccontextmanager
    async def server(self, manifest: Manifest | None) -> AsyncGenerator[GateOnTest]:
        """None: it has no such tool."""
        known = {} if manifest is None else {TOOL: self.handler}
        async with gate_on(self.pools, known, more=[] if manifest is None else [manifest]) as gate:
            yield gate

    @property
    def changed(self) -> Manifest:
        """The tool as it is from now on."""
        return replace(self.manifest, doors=frozenset({"rest"}))

    async def settled(self, gate: GateOnTest, job: Job) -> Again | None:
        worker = SettleWorker(gate=gate.gate, identities=PostgresIdentities(self.pools.app), new_id=new_id)
        return await worker.work(job)

    async def age(self, age: timedelta) -> None:
        await self.owner.execute(AGE, age)

    async def kinds(self, call_id: CallId) -> list[str]:
        return [row["kind"] for row in await self.inspector.fetch(KINDS, call_id)]

    async def shown(self, gate: GateOnTest, call_id: CallId) -> tuple[object, object]:
        """How the record says that a call ended, and by which code."""
        shown = await gate.call("call_get", {"call_id": str(call_id)}, HAND)
        assert shown.result is not None
        return shown.result["outcome"], shown.result.get("error_code")


async def opened(
    pools: DatabasePools, owner: Connection, inspector: Connection, effect: Effect
) -> AsyncGenerator[Site]:
    await seed_firms(owner)
    office = PostOffice()
    async with serving(office) as url:
        manifest, handler = letter_tool(url, effect)
        yield Site(pools=pools, office=office, manifest=manifest, handler=handler, owner=owner, inspector=inspector)


@pytest.fixture
async def site(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> AsyncIterator[Site]:
    async for site in opened(pools, owner_connection, superuser_connection, "prepare"):
        yield site


async def left_open(site: Site, gate: GateOnTest) -> tuple[CallOutcome, Job]:
    """A call of which nobody knows how it ended."""
    unknown = await gate.call(TOOL, {"to": "Lena"}, HAND)
    assert (unknown.error and unknown.error.code) == "outcome_unknown"
    return unknown, gate.queue.jobs.pop()


async def test_what_never_came_to_be_done_is_not_done_under_another_manifest(site: Site) -> None:
    async with site.server(site.manifest) as gate:
        site.office.closed = True
        unknown, job = await left_open(site, gate)
        site.office.closed = False
    async with site.server(site.changed) as gate:
        # Whoever made it may be at it still.
        assert await site.settled(gate, job) == Again()
        await site.age(timedelta(minutes=2))
        assert await site.settled(gate, job) is None
        assert await site.shown(gate, unknown.call_id) == ("failed", "manifest_changed")
    assert site.office.sent == {}
    assert await site.kinds(unknown.call_id) == ["tool.allowed", "tool.failed"]


async def test_what_was_done_is_recorded_as_done_also_where_its_tool_has_changed(site: Site) -> None:
    async def sent_and_lost(stage: str) -> None:
        if stage == "sent":
            raise web.HTTPServiceUnavailable

    async with site.server(site.manifest) as gate:
        site.office.turn = sent_and_lost
        unknown, job = await left_open(site, gate)
    await site.age(timedelta(minutes=2))
    async with site.server(site.changed) as gate:
        assert await site.settled(gate, job) is None
        assert await site.shown(gate, unknown.call_id) == ("done", None)
    assert (site.office.brought, len(site.office.sent)) == (1, 1)


async def test_a_call_whose_tool_is_gone_ends_as_never_known(site: Site) -> None:
    async with site.server(site.manifest) as gate:
        site.office.closed = True
        unknown, job = await left_open(site, gate)
        site.office.closed = False
    async with site.server(None) as gate:
        # A server of another version may know the tool still.
        await site.age(timedelta(minutes=30))
        assert await site.settled(gate, job) == Again()
        await site.age(timedelta(minutes=31))
        assert await site.settled(gate, job) is None
        assert await site.shown(gate, unknown.call_id) == ("failed", "outcome_never_known")
    async with site.server(site.manifest) as gate:
        assert await gate.gate.settle(HAND, unknown.call_id) is None
    assert (site.office.brought, site.office.sent) == (1, {})
    assert await site.kinds(unknown.call_id) == ["tool.allowed", "tool.failed"]


async def test_what_a_person_approved_is_not_done_by_another_tool_and_the_approval_says_so(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    async for site in opened(pools, owner_connection, superuser_connection, "irreversible"):
        async with site.server(site.manifest) as gate:
            waiting = await gate.call(TOOL, {"to": "Lena"}, HAND)
            assert waiting.approval is not None
            answer = {"approval_id": str(waiting.approval.approval_id), "decision": "approve"}
            assert (await gate.call("approval_decide", answer, PARTNER)).outcome == "done"
            (job,) = gate.queue.jobs
        await site.age(timedelta(hours=2))
        async with site.server(None) as gate:
            assert await site.settled(gate, job) is None
            shown = await gate.call("call_get", {"call_id": str(waiting.call_id)}, HAND)
            assert shown.result is not None
            assert cast(Json, shown.result["approval"])["state"] == "failed"
        assert site.office.brought == 0


async def test_a_step_whose_call_ends_as_never_known_is_not_made_again(site: Site) -> None:
    site.office.closed = True
    async with site.server(site.manifest) as gate:
        created = await gate.call("task_create", {"title": "Refresh", "kind": "refresh_analytics"}, HAND)
        task = cast(Json, (created.result or {})["task"])
        await gate.call("task_run", {"task_id": task["task_id"]}, HAND)
        job = gate.queue.jobs.pop()
        worker = TaskRunWorker(
            gate=gate.gate,
            transactions=gate.transactions,
            identities=PostgresIdentities(site.pools.app),
            workflows=Workflows([WORKFLOW]),
            clock=utc_now,
        )
        assert await worker.work(job) == Again()
        settling = gate.queue.jobs.pop()
        await site.age(timedelta(hours=2))
        async with site.server(None) as elsewhere:
            assert await site.settled(elsewhere, settling) is None
            assert elsewhere.queue.jobs == [job]
        site.office.closed = False
        assert await worker.work(job) is None
    run = await site.inspector.fetchrow(
        "SELECT status, failure FROM task_run_progress WHERE task_run_id = $1", job.subject_id
    )
    assert run is not None
    assert tuple(run) == ("failed", "send did not succeed: outcome_never_known.")
    assert site.office.sent == {}
