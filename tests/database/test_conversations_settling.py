"""Calls that were under way when a run changed hands: done once, told as they ended, whoever makes them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from agent.calling import Caller
from agent.events import RunFrame
from agent.model import ToolCall, ToolResultMessage
from agent.settling import Ledger
from domain.kernel import CallId, Principal
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, ONE_BEAT, orphan, process_on
from tests.support.firms import FIRM_A, seed_firms
from tests.support.held import Held
from tests.support.scripted_model import HoldAt, ScriptedModel, asks, call, says
from tools.outcomes import CallOutcome, CallRequest, Json

CREATE = call("task_create", {"title": "Ask the bank"})
ASKS_FIRST = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', 1, $2, clock_timestamp())
"""
PENDING = "SELECT count(*) FROM approvals WHERE run_id = $1 AND state = 'pending'"
KEPT = "SELECT content FROM messages WHERE run_id = $1 AND role = 'assistant'"
PATIENT = replace(ONE_BEAT, cancel_wait=timedelta(minutes=2))
"""Whoever cancels waits to see the run ended."""
MADE = "SELECT count(*) FROM tasks WHERE title = 'Ask the bank'"
RECORDED = """
SELECT call_id::text, outcome FROM activity_events WHERE run_id = $1 AND outcome IS NOT NULL ORDER BY outcome
"""


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms are there, and no run is going."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


def data_of(frames: Sequence[RunFrame], kind: str) -> list[Json]:
    return [orjson.loads(frame.data) for frame in frames if frame.type == kind]


@pytest.mark.parametrize(
    ("step", "tool"),
    [
        ("facts", "task_create"),
        ("ticket", "task_create"),
        ("work", "task_create"),
        ("outcome", "task_create"),
        ("facts", "task_list"),
        ("work", "task_list"),
    ],
)
async def test_a_call_that_a_process_cuts_off_as_it_hands_its_run_over_is_made_by_whoever_goes_on(
    pools: DatabasePools, superuser_connection: Connection, step: str, tool: str
) -> None:
    asked = CREATE if tool == "task_create" else call("task_list")
    held = Held(step)
    async with process_on(pools, ScriptedModel(asks(asked)), fault=held) as process:
        begun = await process.say("Do it.")
        await held.reached.wait()
    after = ScriptedModel(says("Done."))
    async with process_on(pools, after) as process:
        assert await process.go_on(begun.run_id)
        frames = await process.frames(begun.run_id)
    (called,), (completed,) = data_of(frames, "tool.called"), data_of(frames, "tool.completed")
    assert (completed["call_id"], completed["outcome"]) == (called["call_id"], "done")
    (result,) = (each for each in after.requests[0].messages if isinstance(each, ToolResultMessage))
    assert orjson.loads(result.text)["outcome"] == "done"
    assert await superuser_connection.fetchval(MADE) == (1 if tool == "task_create" else 0)
    # What was cut off stands in the record beside the call itself.
    cut_off, done = await superuser_connection.fetch(RECORDED, begun.run_id)
    assert (cut_off["outcome"], done["outcome"]) == ("cancelled", "done")
    assert done["call_id"] == called["call_id"] != cut_off["call_id"]


async def test_a_call_that_was_done_as_its_run_was_handed_over_is_told_as_done_and_not_made_again(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    held = Held("committed")
    async with process_on(pools, ScriptedModel(asks(CREATE)), fault=held) as process:
        begun = await process.say("Do it.")
        await held.reached.wait()
    async with process_on(pools, ScriptedModel(says("Done."))) as process:
        assert await process.go_on(begun.run_id)
        (completed,) = data_of(await process.frames(begun.run_id), "tool.completed")
    assert completed["outcome"] == "done"
    assert await superuser_connection.fetchval(MADE) == 1
    assert [row["outcome"] for row in await superuser_connection.fetch(RECORDED, begun.run_id)] == ["done"]


class StoppedAt:
    """A gate at which the nth call stands still for ever, before it is made or behind it."""

    def __init__(self, gate: Caller, number: int, *, before: bool, reached: asyncio.Event) -> None:
        self._gate = gate
        self._left = number
        self._before = before
        self._reached = reached

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        self._left -= 1
        if self._left or not self._before:
            outcome = await self._gate.call(request, principal)
            if self._left:
                return outcome
        self._reached.set()
        return await asyncio.Future()


class SlowOnce:
    """A record that gives its first answer to nobody."""

    def __init__(self, ledger: Ledger, asked: asyncio.Event) -> None:
        self._ledger = ledger
        self._asked = asked

    async def made(self, call_id: CallId, principal: Principal, *, ending: bool = False) -> CallOutcome | None:
        if not self._asked.is_set():
            self._asked.set()
            await asyncio.Future()
        return await self._ledger.made(call_id, principal, ending=ending)


LIST = call("task_list", id="list")


@pytest.mark.parametrize(
    ("asked", "before", "outcomes"),
    [
        ((LIST,), False, ["done"]),
        ((LIST,), True, ["cancelled"]),
        ((CREATE,), False, ["cancelled"]),
        ((CREATE, LIST), False, ["cancelled", "done"]),
        ((CREATE, LIST), True, ["cancelled", "cancelled"]),
        ((LIST, CREATE), False, ["done", "cancelled"]),
    ],
)
async def test_cancelled_while_it_settles_what_another_process_had_begun_a_run_tells_what_the_record_has(
    pools: DatabasePools,
    owner_connection: Connection,
    superuser_connection: Connection,
    asked: tuple[ToolCall, ...],
    before: bool,
    outcomes: list[str],
) -> None:
    """The first process stops at the last of the calls; what is created waits for a person, who is asked no more."""
    await owner_connection.execute(ASKS_FIRST, FIRM_A.organization_id, FIRM_A.id("partner"))
    stopped, settling = asyncio.Event(), asyncio.Event()
    async with (
        process_on(
            pools,
            ScriptedModel(asks(*asked)),
            gate=lambda gate: StoppedAt(gate, len(asked), before=before, reached=stopped),
        ) as lost,
        process_on(
            pools, ScriptedModel(), options=PATIENT, ledger_around=lambda ledger: SlowOnce(ledger, settling)
        ) as process,
    ):
        begun = await lost.say("Do both.")
        await stopped.wait()
        await orphan(superuser_connection, begun.run_id)
        assert await process.go_on(begun.run_id)
        await settling.wait()
        assert (await process.runs.cancel(EVA, begun.run_id)).status == "cancelled"
        frames = await process.frames(begun.run_id)
    called = [each["call_id"] for each in data_of(frames, "tool.called")]
    completed = {each["call_id"]: each["outcome"] for each in data_of(frames, "tool.completed")}
    assert [completed.pop(each) for each in called] == outcomes
    assert not completed
    assert frames[-1].type == "run.cancelled"
    assert await superuser_connection.fetchval(PENDING, begun.run_id) == 0
    kept = await superuser_connection.fetchval(KEPT, begun.run_id)
    assert [each["call_id"] for each in orjson.loads(kept)["calls"]] == called


async def test_cancelled_before_it_settles_anything_a_run_that_was_taken_over_tells_what_was_done(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    stopped, hold = asyncio.Event(), HoldAt(0)
    turns = (says("One."), says("Two."), asks(CREATE))
    async with process_on(
        pools,
        ScriptedModel(*turns),
        gate=lambda gate: StoppedAt(gate, 1, before=False, reached=stopped),
    ) as lost:
        begun = await lost.say("First.")
        for words in ("Second.", "Create it."):
            await lost.frames(begun.run_id)
            begun = await lost.say(words, conversation_id=begun.conversation_id)
        await stopped.wait()
        await orphan(superuser_connection, begun.run_id)
        # The model is asked for a summary of what came before.
        options = replace(PATIENT, history_limit=4)
        async with process_on(pools, ScriptedModel(says("A summary."), pace=hold), options=options) as process:
            assert await process.go_on(begun.run_id)
            await hold.reached.wait()
            assert (await process.runs.cancel(EVA, begun.run_id)).status == "cancelled"
            frames = await process.frames(begun.run_id)
    (completed,) = data_of(frames, "tool.completed")
    assert completed["outcome"] == "done"
    assert frames[-1].type == "run.cancelled"


async def test_how_a_call_ended_is_told_though_its_process_was_lost_before_it_could_tell(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    kept = "SELECT count(*) FROM messages WHERE run_id = $1 AND role = 'assistant'"
    hold = HoldAt(3)
    async with process_on(pools, ScriptedModel(asks(call("task_list")), says("x"), pace=hold)) as lost:
        begun = await lost.say("What is there?")
        async with asyncio.timeout(60):
            while not await superuser_connection.fetchval(kept, begun.run_id):
                pass
        await superuser_connection.execute(
            "DELETE FROM run_events WHERE run_id = $1 AND type IN ('tool.decided', 'tool.completed')", begun.run_id
        )
        await orphan(superuser_connection, begun.run_id)
        async with process_on(pools, ScriptedModel(says("One."))) as process:
            assert await process.go_on(begun.run_id)
            frames = await process.frames(begun.run_id)
    kinds = [frame.type for frame in frames]
    assert kinds[:4] == ["run.started", "tool.called", "tool.decided", "tool.completed"]
    assert [kinds.count(kind) for kind in ("tool.completed", "run.completed")] == [1, 1]


class NeverSays:
    """A record that gives nobody an answer, and counts who asks."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.times = 0

    async def made(self, call_id: CallId, principal: Principal, *, ending: bool = False) -> CallOutcome | None:
        self.times += 1
        self.asked.set()
        return await asyncio.Future()


async def test_a_run_that_is_handed_over_while_it_settles_asks_no_more_what_became_of_its_calls(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    stopped, record = asyncio.Event(), NeverSays()
    async with process_on(
        pools, ScriptedModel(asks(CREATE)), gate=lambda gate: StoppedAt(gate, 1, before=False, reached=stopped)
    ) as lost:
        begun = await lost.say("Create it.")
        await stopped.wait()
        await orphan(superuser_connection, begun.run_id)
        async with process_on(pools, ScriptedModel(), ledger_around=lambda _: record) as process:
            assert await process.go_on(begun.run_id)
            await record.asked.wait()
    assert record.times == 1
