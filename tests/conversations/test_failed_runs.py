"""A run that has failed takes what it asked with it: nobody decides, and nothing is done, for a run that is no more."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import orjson
import pytest

from agent.calling import Caller
from agent.conversations.ports import ConversationStore, Sessions
from domain.kernel import Principal, RunId
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from server.worker.runs import RunWorker
from tests.support.conversing import EVA, ONE_BEAT, Process, orphan, process_on
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import principal_of
from tests.support.scripted_model import ScriptedModel, asks, call, says
from tools.outcomes import CallOutcome, CallRequest
from tools.work import Job

PARTNER = principal_of(who="partner", mode="person", door="rest")
BOTH = asks(
    call("task_create", {"title": "Ask for the bank letter"}, id="one"),
    call("task_create", {"title": "Count the stock"}, id="two"),
)
LEVEL = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', 1, $2, clock_timestamp())
"""
ASKED = """
SELECT approval_id, call_id, state, decided_by, comment FROM approvals WHERE run_id = $1
ORDER BY created_at, approval_id
"""
KINDS = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY recorded_at, kind"
FAIL = "UPDATE runs SET status = 'failed', error = NULL, finished_at = now() WHERE run_id = $1"
STATUS = "SELECT status FROM runs WHERE run_id = $1"
MADE = "SELECT count(*) FROM tasks WHERE title = ANY (ARRAY['Ask for the bank letter', 'Count the stock'])"


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms, with no run going, and an agent that asks before every change."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")
    await owner_connection.execute(LEVEL, FIRM_A.organization_id, FIRM_A.id("partner"))


async def waiting(process: Process) -> RunId:
    """A run that waits for the answers to two questions."""
    begun = await process.say("Have it done.")
    async with asyncio.timeout(60):
        frames = await process.frames(begun.run_id)
    assert frames[-1].type == "run.waiting", [frame.type for frame in frames]
    return begun.run_id


async def decide(process: Process, approval_id: UUID, decision: str = "approve") -> CallOutcome:
    arguments = {"approval_id": str(approval_id), "decision": decision}
    return await process.stands_on.call("approval_decide", arguments, PARTNER)


async def asked(inspector: Connection, run_id: RunId) -> list[UUID]:
    return [row["approval_id"] for row in await inspector.fetch(ASKED, run_id)]


async def states(inspector: Connection, run_id: RunId) -> list[str]:
    return [row["state"] for row in await inspector.fetch(ASKED, run_id)]


async def over(inspector: Connection, run_id: RunId) -> None:
    """Returns when the run has failed and none of its questions is open any more."""
    async with asyncio.timeout(60):
        while await inspector.fetchval(STATUS, run_id) != "failed" or "pending" in await states(inspector, run_id):
            pass


class FailsAtTheSecond:
    """A gate that breaks down at its second call."""

    def __init__(self, gate: Caller) -> None:
        self._gate = gate
        self._made = 0

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        self._made += 1
        if self._made == 2:
            raise RuntimeError("broken")
        return await self._gate.call(request, principal)


class Unreadable:
    """Sessions of a process that can read nothing of what another has left."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @asynccontextmanager
    async def session(self, principal: Principal, *, read_only: bool) -> AsyncGenerator[ConversationStore]:
        if read_only:
            raise RuntimeError("broken")
        async with self._sessions.session(principal, read_only=read_only) as store:
            yield store


class StandsStill:
    """Sessions of a process that is lost while it reads what another has left."""

    def __init__(self, sessions: Sessions, reached: asyncio.Event) -> None:
        self._sessions = sessions
        self._reached = reached

    @asynccontextmanager
    async def session(self, principal: Principal, *, read_only: bool) -> AsyncGenerator[ConversationStore]:
        if read_only:
            self._reached.set()
            await asyncio.Event().wait()
        async with self._sessions.session(principal, read_only=read_only) as store:
            yield store


async def assert_withdrawn(inspector: Connection, process: Process, run_id: RunId, ended: Sequence[str]) -> None:
    *_, last = await inspector.fetch(ASKED, run_id)
    assert await states(inspector, run_id) == ended
    assert [row["kind"] for row in await inspector.fetch(KINDS, last["call_id"])] == ["tool.waiting", "tool.cancelled"]
    late = await decide(process, last["approval_id"])
    assert (late.outcome, late.error and late.error.code) == ("invalid", "already_decided")
    assert await inspector.fetchval(MADE) == list(ended).count("executed")


async def test_a_fault_in_the_midst_of_a_turn_withdraws_what_it_had_asked(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(BOTH), gate=FailsAtTheSecond) as process:
        begun = await process.say("Have it done.")
        async with asyncio.timeout(60):
            assert (await process.frames(begun.run_id))[-1].type == "run.failed"
        await over(superuser_connection, begun.run_id)
        await assert_withdrawn(superuser_connection, process, begun.run_id, ["cancelled"])
        (row,) = await superuser_connection.fetch(ASKED, begun.run_id)
        assert (row["decided_by"], row["comment"]) == (None, "The run of this call failed before anybody answered.")


async def test_a_run_that_nobody_can_go_on_with_takes_its_open_questions_with_it(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(BOTH)) as process:
        run_id = await waiting(process)
        await decide(process, (await asked(superuser_connection, run_id))[0])
    async with process_on(pools, ScriptedModel(), around=Unreadable) as process:
        assert not await process.go_on(run_id)
        await over(superuser_connection, run_id)
        await assert_withdrawn(superuser_connection, process, run_id, ["executed", "cancelled"])


async def test_a_run_that_is_given_up_takes_its_open_questions_with_it(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(BOTH)) as process:
        run_id = await waiting(process)
        await decide(process, (await asked(superuser_connection, run_id))[0])
    await owner_connection.execute("UPDATE runs SET lost_carriers = 9 WHERE run_id = $1", run_id)
    async with process_on(pools, ScriptedModel(), options=replace(ONE_BEAT, most_lost=3)) as process:
        await process.go_on(run_id)
        await over(superuser_connection, run_id)
        await assert_withdrawn(superuser_connection, process, run_id, ["executed", "cancelled"])


async def test_a_run_whose_closing_takes_a_process_down_is_ended_by_the_next_without_being_read(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(BOTH)) as process:
        run_id = await waiting(process)
        await decide(process, (await asked(superuser_connection, run_id))[0])
    closing, last = asyncio.Event(), asyncio.Event()
    lost = ONE_BEAT.most_lost + 1
    await owner_connection.execute("UPDATE runs SET lost_carriers = $2 WHERE run_id = $1", run_id, lost)
    async with (
        process_on(pools, ScriptedModel(), around=lambda sessions: StandsStill(sessions, closing)) as first,
        process_on(pools, ScriptedModel(), around=lambda sessions: StandsStill(sessions, last)) as second,
        process_on(pools, ScriptedModel()) as follower,
    ):
        taking = asyncio.create_task(first.go_on(run_id))
        async with asyncio.timeout(60):
            await closing.wait()
            await orphan(superuser_connection, run_id)
            assert not await second.go_on(run_id)
            frames = await follower.frames(run_id)
        taking.cancel()
        await asyncio.wait([taking])
        assert not last.is_set()
        assert frames[-1].type == "run.failed"
        assert orjson.loads(frames[-1].data)["code"] == "gave_up"
        await assert_withdrawn(superuser_connection, follower, run_id, ["executed", "cancelled"])


async def test_where_a_crash_came_before_the_withdrawal_nothing_is_decided_and_the_sweep_brings_it(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(BOTH)) as process:
        run_id = await waiting(process)
    await owner_connection.execute(FAIL, run_id)
    async with process_on(pools, ScriptedModel(says("Never said."))) as process:
        for decision in ("approve", "reject"):
            for approval_id in await asked(superuser_connection, run_id):
                late = await decide(process, approval_id, decision)
                assert (late.outcome, late.error and late.error.code) == ("invalid", "run_ended")
        assert await states(superuser_connection, run_id) == ["pending", "pending"]
        job = Job(kind="run", organization_id=EVA.organization_id, subject_id=run_id)
        assert job in await PostgresJobs(pools.service).sweep(timedelta(0))
        assert await RunWorker(process.runs).work(job) is None
        await assert_withdrawn(superuser_connection, process, run_id, ["cancelled", "cancelled"])
        await owner_connection.execute("DELETE FROM queue.pgqueuer")
        assert job not in await PostgresJobs(pools.service).sweep(timedelta(0))
