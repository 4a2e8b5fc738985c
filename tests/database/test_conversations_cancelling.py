"""Cancelling a run: what was asked stands before it is answered, whoever carries the run then or afterwards."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from agent.calling import Caller
from agent.conversations.leases import RunKey, TakenRun
from agent.conversations.ports import ConversationStore, RunKeeper, Sessions
from agent.run_options import RunOptions
from domain.kernel import Principal, RunId
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, ONE_BEAT, Process, orphan, process_on, until
from tests.support.cut_off import CutKeeper, CutLog, CutSessions, Line
from tests.support.firms import FIRM_A, seed_firms
from tests.support.held import Held
from tests.support.scripted_model import HoldAt, ScriptedModel, asks, call, says
from tools.outcomes import CallOutcome, CallRequest

CREATE = asks(call("task_create", {"title": "Ask the bank"}))
AT_ONCE = replace(ONE_BEAT, cancel_wait=timedelta(0))
"""Whoever cancels is answered as soon as what they asked stands."""
PATIENT = replace(ONE_BEAT, cancel_wait=timedelta(minutes=2))
"""Whoever cancels waits to see the run ended."""
ASKS_FIRST = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', 1, $2, clock_timestamp())
"""
REQUESTED = "SELECT cancel_requested FROM runs WHERE run_id = $1"
WAITS = "SELECT status = 'waiting' FROM runs WHERE run_id = $1"


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms are there, and no run is going."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


async def once(inspector: Connection, question: str, run_id: RunId) -> None:
    """Returns once the row says so."""
    async with asyncio.timeout(60):
        while True:
            if await inspector.fetchval(question, run_id):
                return
            await asyncio.sleep(0.01)


async def ends_as(process: Process, run_id: RunId) -> str:
    async with asyncio.timeout(60):
        return (await process.frames(run_id))[-1].type


@dataclass(frozen=True, slots=True)
class SlowToStop:
    """A gate whose call takes a while to let go when it is cancelled."""

    under_way: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    lets_go: asyncio.Event = field(default_factory=asyncio.Event)
    times: list[None] = field(default_factory=list[None])
    """How often it was cancelled."""

    def __call__(self, _: Caller) -> Caller:
        return self

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        self.under_way.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
            await self._let_go()
        raise AssertionError("it ends by being cancelled")

    async def _let_go(self) -> None:
        self.times.append(None)
        letting_go = asyncio.ensure_future(self.lets_go.wait())
        while not letting_go.done():
            try:
                await asyncio.shield(letting_go)
            except asyncio.CancelledError:
                self.times.append(None)


@asynccontextmanager
async def cut_process(
    pools: DatabasePools, line: Line, gate: SlowToStop, options: RunOptions
) -> AsyncGenerator[Process]:
    """A process whose run makes a call behind that gate, and whose line to the database can be cut."""
    async with process_on(
        pools,
        ScriptedModel(CREATE),
        gate=gate,
        options=options,
        around=lambda sessions: CutSessions(sessions, line),
        log_around=lambda run_log: CutLog(run_log, line),
        keeper_around=lambda keeper: CutKeeper(keeper, line),
    ) as process:
        yield process


async def test_a_cancelled_run_whose_process_is_killed_before_it_stops_is_ended_by_whoever_takes_it_over(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    gate, line, never_asked = SlowToStop(), Line(), ScriptedModel()
    async with process_on(pools, never_asked) as taker, cut_process(pools, line, gate, AT_ONCE) as carrier:
        begun = await carrier.say("Create it.")
        await gate.under_way.wait()
        assert (await carrier.runs.cancel(EVA, begun.run_id)).status == "running"
        await gate.cancelled.wait()
        line.broken = True
        gate.lets_go.set()
        await orphan(superuser_connection, begun.run_id)
        assert await taker.go_on(begun.run_id)
        assert await ends_as(taker, begun.run_id) == "run.cancelled"
    assert never_asked.requests == []


async def test_cancelling_at_a_process_that_has_lost_the_run_reaches_the_one_that_carries_it(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    hold = HoldAt(1)
    async with (
        process_on(pools, ScriptedModel(says("half ", "whole"), pace=HoldAt(1)), options=AT_ONCE) as lost_it,
        process_on(pools, ScriptedModel(says("half ", "whole"), pace=hold)) as carrier,
    ):
        begun = await lost_it.say("Go on.")
        await until("message.delta", lost_it.runs.follow(EVA, begun.run_id))
        await orphan(superuser_connection, begun.run_id)
        assert await carrier.go_on(begun.run_id)
        await hold.reached.wait()
        # It has not heard yet that the run is another's.
        assert (await lost_it.runs.cancel(EVA, begun.run_id)).status == "running"
        await carrier.runs.beat()
        assert await ends_as(carrier, begun.run_id) == "run.cancelled"


async def test_whoever_cancels_at_another_process_sees_the_run_ended_once_its_carrier_has_heard(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    hold = HoldAt(1)
    async with (
        process_on(pools, ScriptedModel(says("half ", "whole"), pace=hold)) as carrier,
        process_on(pools, ScriptedModel(), options=PATIENT) as other,
    ):
        begun = await carrier.say("Go on.")
        await hold.reached.wait()
        cancelling = asyncio.create_task(other.runs.cancel(EVA, begun.run_id))
        await once(superuser_connection, REQUESTED, begun.run_id)
        await carrier.runs.beat()
        assert (await cancelling).status == "cancelled"


class HeldTaking(CutKeeper):
    """A keeper that stands still behind each takeover."""

    def __init__(self, keeper: RunKeeper, held: Held) -> None:
        super().__init__(keeper, Line())
        self._held = held

    async def take(self, run: RunKey, stale_after: timedelta) -> TakenRun | None:
        taken = await super().take(run, stale_after)
        await self._held()
        return taken


@dataclass(frozen=True, slots=True)
class Writing:
    """Sessions that say when something was written."""

    sessions: Sessions
    wrote: asyncio.Event

    @asynccontextmanager
    async def session(self, principal: Principal, *, read_only: bool) -> AsyncGenerator[ConversationStore]:
        async with self.sessions.session(principal, read_only=read_only) as store:
            yield store
        if not read_only:
            self.wrote.set()


async def test_a_run_that_waits_and_is_being_taken_up_meanwhile_is_ended_before_whoever_cancels_it_is_answered(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await owner_connection.execute(ASKS_FIRST, FIRM_A.organization_id, FIRM_A.id("partner"))
    async with process_on(pools, ScriptedModel(CREATE)) as first:
        begun = await first.say("Create it.")
        await once(superuser_connection, WAITS, begun.run_id)
    held, wrote = Held(), asyncio.Event()
    async with process_on(
        pools,
        ScriptedModel(),
        options=PATIENT,
        around=lambda sessions: Writing(sessions, wrote),
        keeper_around=lambda keeper: HeldTaking(keeper, held),
    ) as process:
        # The sweep has found it, cancelled by somebody else, and takes it up.
        await superuser_connection.execute("UPDATE runs SET cancel_requested = true WHERE run_id = $1", begun.run_id)
        taking = asyncio.create_task(process.go_on(begun.run_id))
        await held.reached.wait()
        cancelling = asyncio.create_task(process.runs.cancel(EVA, begun.run_id))
        await asyncio.wait({cancelling, asyncio.create_task(wrote.wait())}, return_when=asyncio.FIRST_COMPLETED)
        held.released.set()
        assert (await cancelling).status == "cancelled"
        assert await taking


async def test_a_run_that_was_taken_away_is_interrupted_once_however_often_its_process_hears_of_it(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    gate = SlowToStop()
    async with process_on(pools, ScriptedModel(CREATE), gate=gate) as process:
        begun = await process.say("Create it.")
        await gate.under_way.wait()
        await superuser_connection.execute("UPDATE runs SET epoch = epoch + 1 WHERE run_id = $1", begun.run_id)
        await process.runs.beat()
        await gate.cancelled.wait()
        for _ in range(3):
            await process.runs.beat()
        gate.lets_go.set()
    assert len(gate.times) == 1
