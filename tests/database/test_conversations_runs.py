"""Runs on the real database: a run is not a connection, and survives its readers, its process and its database."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import orjson
import pytest

from agent.calling import Caller
from agent.conversations.ports import ConversationStore, Sessions
from agent.conversations.refusals import (
    ClientMessageReused,
    ConversationBusy,
    ConversationNotFound,
    EngagementNotFound,
    InvalidMessage,
    NotAMember,
    RunNotFound,
    UnknownAgent,
)
from agent.conversations.service import InvalidTitle
from agent.events import RunFrame
from agent.json_values import mapping, parsed
from agent.model import ModelFailed, ModelRequest, ToolResultMessage
from agent.run_opening import NewMessage
from agent.runs import RunHandle
from domain.kernel import ConversationId, EngagementId, Principal, PrincipalId, RunId
from domain.paging import PageRequest, page_request
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.worker.runs import RunWorker
from tests.support.conversing import EVA, ONE_BEAT, HeldAfter, orphan, process_on, until
from tests.support.cut_off import CutSessions, Line
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import principal_of
from tests.support.held import Held
from tests.support.scripted_gate import ScriptedGate, done
from tests.support.scripted_model import HoldAt, ScriptedModel, Turn, asks, call, says
from tools.outcomes import CallOutcome, CallRequest
from tools.ports import Unavailable
from tools.work import Job

SEARCH = asks(call("knowledge_search", {"query": "text"}))
LIST = asks(call("task_list"))
DOCUMENT = str(FIRM_A.id("thing"))
PASSAGE: dict[str, object] = {
    "chunk_id": "c",
    "document_id": DOCUMENT,
    "title": "T",
    "uri": "glow:d",
    "text": "text",
    "start": 0,
    "end": 4,
}


def searching(_: object) -> ScriptedGate:
    """A gate with nothing behind it but one passage."""
    return ScriptedGate(knowledge_search=done({"mode": "lexical", "items": [PASSAGE]}))


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms are there; their seeded runs and preferences are out of the way."""
    await seed_firms(owner_connection)
    await owner_connection.execute("DELETE FROM preferences")
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


def types(frames: list[RunFrame]) -> list[str]:
    return [frame.type for frame in frames]


async def status_of(inspector: Connection, run_id: RunId) -> tuple[str, str | None]:
    row = await inspector.fetchrow("SELECT status, error FROM runs WHERE run_id = $1", run_id)
    assert row is not None
    return row["status"], row["error"]


async def test_a_run_is_told_kept_and_answered(pools: DatabasePools, superuser_connection: Connection) -> None:
    model = ScriptedModel(LIST, says("There are ", "two."))
    async with process_on(pools, model) as process:
        begun = await process.say("How many tasks are there?")
        frames = await process.frames(begun.run_id)
        answer = await process.runs.answer(EVA, begun.run_id)
    assert types(frames) == [
        "run.started",
        "tool.called",
        "tool.decided",
        "tool.completed",
        "message.started",
        *["message.delta"] * (len(frames) - 8),
        "message.completed",
        "run.usage",
        "run.completed",
    ]
    assert [frame.sequence for frame in frames] == list(range(1, len(frames) + 1))
    assert (answer.status, answer.text) == ("completed", "There are two.")
    assert await status_of(superuser_connection, begun.run_id) == ("completed", None)
    kept = await superuser_connection.fetch(
        "SELECT role, ordinal FROM messages WHERE run_id = $1 ORDER BY ordinal", begun.run_id
    )
    assert [tuple(row) for row in kept] == [("user", 1), ("assistant", 2), ("assistant", 3)]
    recorded = await superuser_connection.fetch(
        "SELECT tool, outcome, mode FROM activity_events WHERE run_id = $1", begun.run_id
    )
    assert [tuple(row) for row in recorded] == [("task_list", "done", "agent")]


async def test_what_was_told_once_is_told_the_same_again(pools: DatabasePools) -> None:
    async with process_on(pools, ScriptedModel(says(*"abcdef"))) as process:
        begun = await process.say("Spell it.")
        live = await process.frames(begun.run_id)
        stored = await process.frames(begun.run_id)
        assert stored == live
        assert await process.frames(begun.run_id, after=3) == live[3:]
        assert await process.frames(begun.run_id, after=len(live)) == []
        assert await process.frames(begun.run_id, after=10_000) == []
        assert await process.runs.exhausted(EVA, begun.run_id, len(live))
        assert not await process.runs.exhausted(EVA, begun.run_id, len(live) - 1)


async def test_the_model_is_an_agent_whatever_credential_began_it(pools: DatabasePools) -> None:
    gate = ScriptedGate(knowledge_search=done({"items": []}))
    async with process_on(pools, ScriptedModel(SEARCH, says("None.")), gate=lambda _: gate) as process:
        begun = await process.say("Search.", principal_of(mode="person"))
        await process.frames(begun.run_id)
    assert [principal.mode for principal in gate.principals] == ["agent"]
    assert gate.requests[0].run_id == begun.run_id
    assert gate.requests[0].conversation_id == begun.conversation_id


async def test_a_second_message_while_a_run_is_going_is_refused(pools: DatabasePools) -> None:
    hold = HoldAt(0)
    async with process_on(pools, ScriptedModel(says("a"), pace=hold)) as process:
        begun = await process.say("First.")
        await hold.reached.wait()
        with pytest.raises(ConversationBusy):
            await process.say("Second.", conversation_id=begun.conversation_id)
        with pytest.raises(ConversationBusy):
            await process.conversations.delete(EVA, begun.conversation_id)


@pytest.mark.parametrize("step", [0, 1])
async def test_a_run_that_is_going_is_told_as_running_and_owes_no_end(pools: DatabasePools, step: int) -> None:
    hold = HoldAt(step)
    async with process_on(pools, ScriptedModel(says("half ", "whole"), pace=hold)) as process:
        begun = await process.say("Go on.")
        await hold.reached.wait()
        assert (await process.runs.summary(EVA, begun.run_id)).status == "running"
        assert not await process.runs.exhausted(EVA, begun.run_id, 1)


async def test_of_two_messages_at_once_one_gets_in(pools: DatabasePools) -> None:
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Yes."))) as process:
        begun = await process.say("First.")
        await process.frames(begun.run_id)
        both = await asyncio.gather(
            *(process.say(words, conversation_id=begun.conversation_id) for words in ("a", "b")), return_exceptions=True
        )
        entered = [each for each in both if isinstance(each, RunHandle)]
        refused = [each for each in both if isinstance(each, ConversationBusy)]
        for handle in entered:
            await process.frames(handle.run_id)
    assert len(entered) + len(refused) == 2
    assert entered


async def test_the_next_turn_knows_what_came_before(pools: DatabasePools) -> None:
    model = ScriptedModel(SEARCH, says("The policy says text [1]."), says("As I said [1]."))
    async with process_on(pools, model, gate=searching) as process:
        begun = await process.say("What does the policy say?")
        await process.frames(begun.run_id)
        again = await process.say("Again?", conversation_id=begun.conversation_id)
        answer = await process.runs.answer(EVA, again.run_id)
    assert [message.role for message in model.requests[2].messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert len(answer.citations) == 1


async def test_a_message_that_comes_twice_begins_one_run(pools: DatabasePools) -> None:
    async with process_on(pools, ScriptedModel(says("Yes."), says("Yes."))) as process:
        first = NewMessage(message="Begin.", client_message_id="m1")
        begun = await process.runs.start(EVA, first)
        while_running = await process.runs.start(EVA, first)
        await process.frames(begun.run_id)
        afterwards = await process.runs.start(EVA, first)
        again = RunHandle(run_id=begun.run_id, conversation_id=begun.conversation_id, replayed=True)
        assert while_running == afterwards == again
        second = NewMessage(message="Go on.", conversation_id=begun.conversation_id, client_message_id="m2")
        went_on = await process.runs.start(EVA, second)
        await process.frames(went_on.run_id)
        assert (await process.runs.start(EVA, second)).run_id == went_on.run_id
        with pytest.raises(ClientMessageReused):
            await process.runs.start(
                EVA, NewMessage(message="Other.", conversation_id=begun.conversation_id, client_message_id="m2")
            )


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        (NewMessage(message="  "), InvalidMessage),
        (NewMessage(message="x" * 100_001), InvalidMessage),
        (NewMessage(message="half \ud800"), InvalidMessage),
        (NewMessage(message="x", client_message_id="\x00"), InvalidMessage),
        (NewMessage(message="x", agent="ghost"), UnknownAgent),
        (NewMessage(message="x", conversation_id=ConversationId(uuid4())), ConversationNotFound),
        (NewMessage(message="x", engagement_id=EngagementId(uuid4())), EngagementNotFound),
        (NewMessage(message="x", engagement_id=EngagementId(FIRM_B.id("engagement"))), EngagementNotFound),
        (NewMessage(message="x", conversation_id=ConversationId(FIRM_B.id("thing"))), ConversationNotFound),
    ],
)
async def test_a_message_that_cannot_be_taken_stores_nothing(
    pools: DatabasePools, superuser_connection: Connection, asked: NewMessage, refusal: type[Exception]
) -> None:
    counted = "SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM conversations)"
    before = await superuser_connection.fetchval(counted)
    async with process_on(pools, ScriptedModel()) as process:
        with pytest.raises(refusal):
            await process.runs.start(EVA, asked)
    assert await superuser_connection.fetchval(counted) == before


async def test_a_stranger_to_the_organization_begins_nothing(pools: DatabasePools) -> None:
    stranger = replace(EVA, principal_id=PrincipalId(FIRM_B.id("employee")))
    async with process_on(pools, ScriptedModel()) as process:
        with pytest.raises(NotAMember):
            await process.say("Hello.", stranger)


@pytest.mark.parametrize("who", [principal_of(FIRM_A, "partner"), principal_of(FIRM_B, "employee")])
async def test_nobody_else_sees_follows_or_cancels_a_run(pools: DatabasePools, who: Principal) -> None:
    hold = HoldAt(0)
    async with process_on(pools, ScriptedModel(says("a"), pace=hold)) as process:
        begun = await process.say("Secret.")
        await hold.reached.wait()
        with pytest.raises(RunNotFound):
            await process.runs.find(who, begun.run_id)
        with pytest.raises(RunNotFound):
            await process.frames(begun.run_id, who)
        with pytest.raises(RunNotFound):
            await process.runs.cancel(who, begun.run_id)
        assert (await process.runs.find(EVA, begun.run_id)).status == "running"
        with pytest.raises(ConversationNotFound):
            await process.conversations.messages(who, begun.conversation_id, PageRequest())
        with pytest.raises(ConversationNotFound):
            await process.say("Mine now?", who, begun.conversation_id)


SCRIPT = (LIST, asks(call("task_create", {"title": "Ask the bank"}), words="Then a task."), says("Both ", "done."))


@pytest.mark.parametrize("step", range(sum(map(len, SCRIPT))))
async def test_cancelled_anywhere_a_run_ends_cancelled_and_its_conversation_goes_on(
    pools: DatabasePools, superuser_connection: Connection, step: int
) -> None:
    hold = HoldAt(step)
    model = ScriptedModel(*SCRIPT, pace=hold)
    async with process_on(pools, model) as process:
        begun = await process.say("Do both.")
        await hold.reached.wait()
        assert (await process.runs.cancel(EVA, begun.run_id)).status == "cancelled"
        frames = await process.frames(begun.run_id)
        assert types(frames)[-2:] == ["run.usage", "run.cancelled"]
        assert types(frames).count("tool.called") == types(frames).count("tool.completed")
        assert types(frames).count("message.started") == types(frames).count("message.completed")
        # Cancelling what has ended changes nothing.
        assert (await process.runs.cancel(EVA, begun.run_id)).status == "cancelled"
    after = ScriptedModel(says("Yes."))
    async with process_on(pools, after) as process:
        more = await process.say("Still there?", conversation_id=begun.conversation_id)
        assert (await process.runs.answer(EVA, more.run_id)).text == "Yes."
    assert await status_of(superuser_connection, begun.run_id) == ("cancelled", None)


async def test_a_run_goes_on_when_its_reader_leaves(pools: DatabasePools) -> None:
    hold = HoldAt(1)
    model = ScriptedModel(says("half ", "whole"), pace=hold)
    async with process_on(pools, model) as process:
        begun = await process.say("Go on.")
        reading = process.runs.follow(EVA, begun.run_id)
        await anext(reading)
        await hold.reached.wait()
        await reading.aclose()
        assert (await process.runs.find(EVA, begun.run_id)).status == "running"
        await process.runs.cancel(EVA, begun.run_id)
        frames = await process.frames(begun.run_id)
        assert orjson.loads(frames[-3].data)["text"] == "half "


async def test_a_run_is_followed_and_cancelled_from_another_process(pools: DatabasePools) -> None:
    hold = HoldAt(1)
    async with (
        process_on(pools, ScriptedModel(says("half ", "whole"), pace=hold)) as carrier,
        process_on(pools, ScriptedModel()) as other,
    ):
        begun = await carrier.say("Go on.")
        following = asyncio.create_task(other.frames(begun.run_id))
        await hold.reached.wait()
        assert (await other.runs.cancel(EVA, begun.run_id)).status == "running"
        await carrier.runs.beat()
        frames = await following
        assert types(frames)[-1] == "run.cancelled"
        assert await carrier.frames(begun.run_id) == frames


async def test_a_run_whose_process_is_gone_is_gone_on_with_and_its_call_is_not_made_again(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    # Held behind the gate: the call is done and recorded, its step is not kept yet.
    hold = HoldAt(0)
    after = ScriptedModel(says("It was created."))
    async with (
        process_on(pools, ScriptedModel(*SCRIPT[1:]), gate=lambda gate: HeldAfter(gate, hold)) as stalled,
        process_on(pools, after) as process,
    ):
        begun = await stalled.say("Create it.")
        await hold.reached.wait()
        seen = await until("tool.called", stalled.runs.follow(EVA, begun.run_id))
        await orphan(superuser_connection, begun.run_id)
        with pytest.raises(ConversationBusy):
            await process.say("Did it work?", conversation_id=begun.conversation_id)
        assert [(job.kind, job.subject_id) for job in process.stands_on.queue.jobs] == [("run", begun.run_id)]
        assert await process.go_on(begun.run_id)
        frames = await process.frames(begun.run_id)
        # The old process comes to itself, and finds that the run is no longer its own: its followers see the same end.
        following = asyncio.create_task(stalled.frames(begun.run_id))
        await stalled.runs.beat()
        assert await following == frames
    assert frames[: len(seen)] == seen
    assert [frame.sequence for frame in frames] == list(range(1, len(frames) + 1))
    assert (
        types(frames)[-6:]
        == [
            "tool.decided",
            "tool.completed",
            "message.started",
            "message.delta",
            "message.completed",
            "run.usage",
            "run.completed",
        ][-6:]
    )
    assert types(frames).count("run.started") == types(frames).count("tool.called") == 1
    assert await superuser_connection.fetchval("SELECT count(*) FROM tasks WHERE title = 'Ask the bank'") == 1
    # What the first process had spent counts on.
    assert orjson.loads(frames[-2].data)["model_calls"] == 2
    assert mapping(parsed(after.requests[0].messages[-1].text))["outcome"] == "done"


async def test_words_that_a_lost_process_had_half_said_are_withdrawn_and_said_anew(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    hold = HoldAt(1)
    async with (
        process_on(pools, ScriptedModel(says("half ", "whole"), pace=hold)) as stalled,
        process_on(pools, ScriptedModel(says("Something else."))) as process,
    ):
        begun = await stalled.say("Go on.")
        await until("message.delta", stalled.runs.follow(EVA, begun.run_id))
        await orphan(superuser_connection, begun.run_id)
        assert await process.go_on(begun.run_id)
        frames = await process.frames(begun.run_id)
        assert (await process.runs.answer(EVA, begun.run_id)).text == "Something else."
        run = await process.runs.find(EVA, begun.run_id)
        assert run.usage is not None
        assert run.usage.untold_calls == 1, "nobody told what was used for the words that are withdrawn"
    assert types(frames)[1:5] == ["message.started", "message.delta", "message.reset", "message.started"]
    assert orjson.loads(frames[3].data)["reason"] == "taken_over"
    said = await superuser_connection.fetch("SELECT content FROM messages WHERE run_id = $1", begun.run_id)
    assert [mapping(parsed(row["content"]))["text"] for row in said] == ["Go on.", "Something else."]


async def test_a_run_that_takes_down_whoever_carries_it_is_given_up(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(says("half ", "whole"), pace=HoldAt(1))) as stalled:
        begun = await stalled.say("Go on.")
        await until("message.delta", stalled.runs.follow(EVA, begun.run_id))
        for _ in range(ONE_BEAT.most_lost):
            await orphan(superuser_connection, begun.run_id)
            async with process_on(pools, ScriptedModel(says("again ", "whole"), pace=HoldAt(1))) as another:
                assert await another.go_on(begun.run_id)
        await orphan(superuser_connection, begun.run_id)
        async with process_on(pools, ScriptedModel()) as last:
            assert await last.go_on(begun.run_id)
            frames = await last.frames(begun.run_id)
            answer = await last.runs.answer(EVA, begun.run_id)
            more = await last.runs.find(EVA, begun.run_id)
    assert (answer.status, more.status) == ("failed", "failed")
    assert answer.error is not None
    assert (answer.error["code"], answer.error["retryable"]) == ("gave_up", False)
    assert types(frames).count("message.started") == types(frames).count("message.reset")


async def test_a_run_that_gets_on_outlives_any_number_of_its_carriers(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    kept = "SELECT count(*) FROM messages WHERE run_id = $1 AND role = 'assistant'"
    async with AsyncExitStack() as stack:
        # Each process keeps one step, and is lost in the midst of the next turn.
        lost = [
            await stack.enter_async_context(process_on(pools, ScriptedModel(LIST, says("x"), pace=HoldAt(len(LIST)))))
            for _ in range(ONE_BEAT.most_lost + 2)
        ]
        begun = await lost[0].say("How many tasks are there?")
        for number, process in enumerate(lost):
            if number:
                assert await process.go_on(begun.run_id)
            async with asyncio.timeout(60):
                while True:
                    if await superuser_connection.fetchval(kept, begun.run_id) > number:
                        break
                    await asyncio.sleep(0.01)
            await orphan(superuser_connection, begun.run_id)
        async with process_on(pools, ScriptedModel(says("None."))) as last:
            assert await last.go_on(begun.run_id)
            answer = await last.runs.answer(EVA, begun.run_id)
    assert (answer.status, answer.text) == ("completed", "None.")


async def test_a_run_that_was_to_be_cancelled_when_its_process_went_is_cancelled_by_the_next(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    hold = HoldAt(0)
    async with (
        process_on(pools, ScriptedModel(*SCRIPT[1:]), gate=lambda gate: HeldAfter(gate, hold)) as stalled,
        process_on(pools, ScriptedModel()) as process,
    ):
        begun = await stalled.say("Create it.")
        await hold.reached.wait()
        await process.runs.cancel(EVA, begun.run_id)
        await orphan(superuser_connection, begun.run_id)
        assert await process.go_on(begun.run_id)
        frames = await process.frames(begun.run_id)
    assert types(frames)[-4:] == ["tool.decided", "tool.completed", "run.usage", "run.cancelled"]
    # What was done is told as done, whatever is cancelled.
    assert orjson.loads(frames[-3].data)["outcome"] == "done"


async def test_a_run_whose_takeover_failed_waits_for_no_lease_and_is_tried_again_soon(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    line = Line(broken=True)
    async with (
        process_on(pools, ScriptedModel(says("half ", "whole"), pace=HoldAt(1))) as stalled,
        process_on(pools, ScriptedModel(), around=lambda sessions: CutSessions(sessions, line)) as cut_off,
        process_on(pools, ScriptedModel(says("whole"))) as process,
    ):
        begun = await stalled.say("Go on.")
        await orphan(superuser_connection, begun.run_id)
        job = Job(kind="run", organization_id=EVA.organization_id, subject_id=begun.run_id)
        again = await RunWorker(cut_off.runs).work(job)
        assert again is not None
        assert again.pause(attempts=9) <= timedelta(seconds=5)
        assert await process.go_on(begun.run_id)
        assert (await process.runs.answer(EVA, begun.run_id)).text == "whole"
    # Lost was the one that stood still.
    lost = await superuser_connection.fetchval("SELECT lost_carriers FROM runs WHERE run_id = $1", begun.run_id)
    assert lost == 1


async def test_the_terminal_frame_that_a_crash_swallowed_is_told_from_the_row(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(says("Yes."))) as process:
        begun = await process.say("Well?")
        whole = await process.frames(begun.run_id)
    # Leaving the process waits until the frame, shown before, is stored.
    swallowed = "DELETE FROM run_events WHERE run_id = $1 AND type = 'run.completed'"
    assert await superuser_connection.execute(swallowed, begun.run_id) == "DELETE 1"
    async with process_on(pools, ScriptedModel()) as process:
        assert (await process.runs.summary(EVA, begun.run_id)).status == "completed"
        assert await process.frames(begun.run_id) == whole
        assert await process.frames(begun.run_id, after=len(whole) - 1) == whole[-1:]
        assert await process.frames(begun.run_id, after=len(whole)) == []
        assert await process.runs.exhausted(EVA, begun.run_id, len(whole))


async def test_a_process_that_shuts_down_hands_its_runs_over(pools: DatabasePools) -> None:
    model = ScriptedModel(says("half ", "whole"), pace=HoldAt(1))
    async with process_on(pools, model) as process:
        begun = await process.say("Go on.")
        seen = await until("message.delta", process.runs.follow(EVA, begun.run_id))
        queue = process.stands_on.queue
    assert model.closed == 1
    assert [(job.kind, job.subject_id) for job in queue.jobs] == [("run", begun.run_id)]
    async with process_on(pools, ScriptedModel(says("whole"))) as process:
        # At once: nobody waits for the lease of a process that said that it goes.
        assert await process.go_on(begun.run_id)
        frames = await process.frames(begun.run_id)
        assert frames[: len(seen)] == seen
        assert (await process.runs.answer(EVA, begun.run_id)).text == "whole"


class HeldBehindWrites:
    """Sessions that stand still once something is committed."""

    def __init__(self, sessions: Sessions, held: Held) -> None:
        self._sessions = sessions
        self._held = held

    @asynccontextmanager
    async def session(self, principal: Principal, *, read_only: bool) -> AsyncGenerator[ConversationStore]:
        async with self._sessions.session(principal, read_only=read_only) as store:
            yield store
        if not read_only:
            await self._held()


async def test_a_run_that_is_begun_while_its_process_shuts_down_is_handed_over_too(pools: DatabasePools) -> None:
    held = Held()
    async with process_on(pools, ScriptedModel(), around=lambda sessions: HeldBehindWrites(sessions, held)) as going:
        beginning = asyncio.create_task(going.say("Go on."))
        await held.reached.wait()
    held.released.set()
    begun = await beginning
    assert [(job.kind, job.subject_id) for job in going.stands_on.queue.jobs] == [("run", begun.run_id)]
    async with process_on(pools, ScriptedModel(says("whole"))) as process:
        assert await process.go_on(begun.run_id)
        assert (await process.runs.answer(EVA, begun.run_id)).text == "whole"


async def test_at_shutdown_a_run_may_finish_within_the_grace(pools: DatabasePools) -> None:
    go_on = asyncio.Event()
    reached = asyncio.Event()

    async def pace() -> None:
        reached.set()
        await go_on.wait()

    options = replace(ONE_BEAT, grace=timedelta(seconds=30))
    async with process_on(pools, ScriptedModel(says("whole"), pace=pace), options=options) as process:
        begun = await process.say("Go on.")
        await reached.wait()
        asyncio.get_running_loop().call_soon(go_on.set)
    async with process_on(pools, ScriptedModel()) as process:
        assert (await process.runs.answer(EVA, begun.run_id)).text == "whole"


@pytest.mark.parametrize(
    ("fault", "code", "retryable"),
    [
        (ModelFailed("model_unavailable", "The model is away.", retryable=True), "model_unavailable", True),
        (ModelFailed("model_rejected", "The model refused.", retryable=False), "model_rejected", False),
    ],
)
async def test_a_known_fault_is_told_by_its_code(
    pools: DatabasePools, fault: Exception, code: str, *, retryable: bool
) -> None:
    async def pace() -> None:
        raise fault

    async with process_on(pools, ScriptedModel(says("never"), pace=pace)) as process:
        begun = await process.say("Well?")
        answer = await process.runs.answer(EVA, begun.run_id)
    assert answer.status == "failed"
    assert answer.error is not None
    assert (answer.error["code"], answer.error["retryable"]) == (code, retryable)


async def test_an_unknown_fault_is_told_by_a_reference_alone(pools: DatabasePools) -> None:
    async def pace() -> None:
        raise ValueError("postgres://secret")

    async with process_on(pools, ScriptedModel(says("never"), pace=pace)) as process:
        begun = await process.say("Well?")
        answer = await process.runs.answer(EVA, begun.run_id)
    assert answer.error is not None
    assert answer.error["code"] == "internal"
    assert "secret" not in str(answer.json())


async def test_a_run_whose_process_lost_the_database_is_put_down_and_gone_on_with(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    asked = asyncio.Event()

    async def pace() -> None:
        asked.set()
        raise Unavailable("away")

    async with (
        process_on(pools, ScriptedModel(says("never"), pace=pace)) as process,
        process_on(pools, ScriptedModel(says("Yes."))) as other,
    ):
        begun = await process.say("Well?")
        following = asyncio.create_task(process.frames(begun.run_id))
        await asked.wait()
        await orphan(superuser_connection, begun.run_id)
        assert await other.go_on(begun.run_id)
        assert (await other.runs.answer(EVA, begun.run_id)).text == "Yes."
        assert types(await following)[-1] == "run.completed"


async def test_a_call_that_waited_is_told_as_it_stands_in_the_next_turn(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    await owner_connection.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at) "
        "VALUES ($1, gen_random_uuid(), 'organization', 1, $2, now() + interval '1 minute')",
        FIRM_A.organization_id,
        FIRM_A.id("partner"),
    )
    model = ScriptedModel(asks(call("task_create", {"title": "Ask the bank"})), says("A pity."), says("Rejected."))
    async with process_on(pools, model) as process:
        begun = await process.say("Create it.")
        answer = await process.runs.answer(EVA, begun.run_id)
        assert answer.status == "waiting"
        decision = {"approval_id": answer.approvals[0]["approval_id"], "decision": "reject", "comment": "Not now."}
        decided = await process.stands_on.call("approval_decide", decision, principal_of(mode="person", door="rest"))
        assert decided.outcome == "done"
        await process.go_on(begun.run_id)
        assert (await process.frames(begun.run_id, after=6))[-1].type == "run.completed"
        more = await process.say("And?", conversation_id=begun.conversation_id)
        await process.frames(more.run_id)
    (result,) = (each for each in model.requests[-1].messages if isinstance(each, ToolResultMessage))
    now = orjson.loads(result.text)
    assert (now["outcome"], now["approval"]["state"], now["approval"]["comment"]) == (
        "rejected",
        "rejected",
        "Not now.",
    )


async def test_a_slow_follower_misses_nothing_and_holds_up_nobody(pools: DatabasePools) -> None:
    calls = [call("knowledge_search", {"query": "x"}, id=str(n)) for n in range(30)]

    def brain(request: ModelRequest) -> Turn:
        return says("Done.") if len(model.requests) > 4 else asks(*calls, words="More.")

    gate = ScriptedGate(knowledge_search=done({"items": []}))
    model = ScriptedModel(brain=brain)
    async with process_on(pools, model, gate=lambda _: gate) as process:
        begun = await process.say("A lot.")
        slow = process.runs.follow(EVA, begun.run_id)
        first = await anext(slow)
        quick = await process.frames(begun.run_id)
        assert [first, *[frame async for frame in slow]] == quick


async def test_conversations_are_listed_read_renamed_and_deleted(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    model = ScriptedModel(SEARCH, LIST, says("See [1]."))
    async with process_on(pools, model, gate=SearchingAside) as process:
        begun = await process.say("What does the policy say?\nIn detail, please.")
        await process.frames(begun.run_id)
        conversations = process.conversations
        listed = await conversations.list(EVA, PageRequest(limit=1))
        assert [each.title for each in listed.items] == ["What does the policy say?"]
        assert listed.next_cursor is not None
        said = await conversations.messages(EVA, begun.conversation_id, PageRequest(limit=2))
        assert [(each.role, each.text) for each in said.items] == [
            ("user", "What does the policy say?\nIn detail, please."),
            ("assistant", ""),
        ]
        assert [made.tool for made in said.items[1].tool_calls] == ["knowledge_search"]
        rest = await conversations.messages(EVA, begun.conversation_id, page_request(said.next_cursor))
        assert [(each.text, len(each.citations)) for each in rest.items] == [("", 0), ("See [1].", 1)]
        assert rest.next_cursor is None
        assert (
            await conversations.rename(EVA, begun.conversation_id, " The policy ")
        ).conversation.title == "The policy"
        with pytest.raises(InvalidTitle):
            await conversations.rename(EVA, begun.conversation_id, "two\nlines")
        await conversations.delete(EVA, begun.conversation_id)
        with pytest.raises(ConversationNotFound):
            await conversations.get(EVA, begun.conversation_id)
    recorded = "SELECT count(*) FROM activity_events WHERE conversation_id = $1"
    assert await superuser_connection.fetchval(recorded, begun.conversation_id) == 1


class SearchingAside:
    """The real gate, but for searches."""

    def __init__(self, gate: Caller) -> None:
        self._gate = gate

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        gate = searching(None) if request.tool == "knowledge_search" else self._gate
        return await gate.call(request, principal)
