"""Runs that wait for people: put down, holding nothing, and taken up by any process, once, when they are answered."""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Literal, assert_never, cast
from uuid import UUID, uuid4

import orjson
import pytest

from agent.calling import Caller
from agent.conversations.leases import RunKey
from agent.conversations.model import GOING
from agent.conversations.refusals import ConversationBusy
from agent.events import RunFrame
from agent.model import AssistantMessage, Message, ModelEvent, ModelRequest, ToolResultMessage
from agent.runs import RunHandle
from domain.kernel import CallId, DomainError, Principal, RunId
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, ONE_BEAT, Process, process_on
from tests.support.cut_off import CutKeeper, CutLog, CutSessions, Line
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Call, Turn
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import principal_of
from tests.support.model_stages import Api, model_on
from tests.support.scripted_model import HoldAt, ScriptedModel, asks, call, says
from tools.outcomes import CallOutcome, CallRequest, Json
from tools.ports import Unavailable
from tools.work import Job

EVERY = os.environ.get("GLOW_TEST_EVERY") == "1"
"""Whether every cut and many races are tried (`make waiting`), or a sample of them."""
PARTNER = principal_of(who="partner", mode="person", door="rest")
CREATE = call("task_create", {"title": "Ask for the bank letter"})
BOTH = asks(replace(CREATE, provider_id="one"), call("task_create", {"title": "Count the stock"}, id="two"))
LEVEL = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', 1, $2, clock_timestamp())
"""
LAPSE = "UPDATE approvals SET expires_at = now() - interval '1 second' WHERE approval_id = $1"
NEWEST = "SELECT run_id FROM runs ORDER BY created_at DESC LIMIT 1"
MADE = "SELECT count(*) FROM tasks WHERE title = ANY (ARRAY['Ask for the bank letter', 'Count the stock'])"
STATES = "SELECT state FROM approvals WHERE run_id = $1 ORDER BY created_at, approval_id"
OPEN = "SELECT approval_id FROM approvals WHERE run_id = $1 AND state = 'pending' ORDER BY created_at, approval_id"
ENDINGS = """
SELECT count(*) FROM activity_events
WHERE call_id IN (SELECT call_id FROM approvals WHERE run_id = $1) AND outcome IS NOT NULL AND kind <> 'tool.waiting'
"""
TERMINAL = frozenset({"run.completed", "run.cancelled", "run.failed"})
NO_LEASE = replace(ONE_BEAT, stale_after=timedelta(0))
"""For a process that takes up what another was cut off from, as if that had been silent for long enough."""
Settle = Literal["approve", "reject", "expire", "cancel"]
Tried = tuple[tuple[int, bool], Settle]
"""After how many writes the line breaks, whether that write is still heard, and how the second question ends."""
HOWS: tuple[Settle, ...] = ("approve", "reject", "expire", "cancel")


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms, with no run going, and an agent that asks before every change."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")
    await owner_connection.execute(LEVEL, FIRM_A.organization_id, FIRM_A.id("partner"))


async def told(process: Process, run_id: RunId, after: int = 0) -> list[RunFrame]:
    """What a reader is told, to the run's end or to where it waits."""
    async with asyncio.timeout(30):
        return await process.frames(run_id, after=after)


def types(frames: Sequence[RunFrame]) -> list[str]:
    return [frame.type for frame in frames]


def data(frame: RunFrame) -> Json:
    return orjson.loads(frame.data)


async def waiting(process: Process, message: str = "Have it done.") -> tuple[RunHandle, list[RunFrame]]:
    """A run that has come to where it waits, and that nobody carries any more."""
    begun = await process.say(message)
    frames = await told(process, begun.run_id)
    assert frames[-1].type == "run.waiting", types(frames)
    await put_down(begun.run_id)
    return begun, frames


async def put_down(run_id: RunId) -> None:
    """Returns when the run's task is over: it looks once more for answers after it has told that the run waits."""
    carrying = [task for task in asyncio.all_tasks() if task.get_name() == f"run {run_id}"]
    if carrying:
        await asyncio.wait(carrying)


def questions(frames: Sequence[RunFrame]) -> list[UUID]:
    return [UUID(each) for each in cast("list[str]", data(frames[-1])["approvals"])]


async def decide(process: Process, approval_id: UUID, decision: str) -> CallOutcome:
    arguments = {"approval_id": str(approval_id), "decision": decision, "comment": "because"}
    return await process.stands_on.call("approval_decide", arguments, PARTNER)


async def expire(process: Process, approval_id: UUID) -> None:
    await process.expiry.work(Job(kind="approval_expire", organization_id=EVA.organization_id, subject_id=approval_id))


async def settle(how: Settle, process: Process, begun: RunHandle, approval_id: UUID, owner: Connection) -> None:
    """One of the four ways in which a question ends."""
    match how:
        case "approve" | "reject":
            await decide(process, approval_id, how)
        case "expire":
            await owner.execute(LAPSE, approval_id)
            await expire(process, approval_id)
        case "cancel":
            await process.runs.cancel(EVA, begun.run_id)
        case _:
            assert_never(how)


async def worked_off(*processes: Process) -> None:
    """What was enqueued, done by whoever it was enqueued by."""
    for process in processes:
        jobs, process.stands_on.queue.jobs[:] = list(process.stands_on.queue.jobs), []
        for job in jobs:
            if job.kind == "run":
                await process.runs.go_on(RunKey(organization_id=job.organization_id, run_id=RunId(job.subject_id)))


def assert_valid(messages: Sequence[Message]) -> None:
    """Each call has exactly one result, behind the words that it was asked with: what both model APIs insist on."""
    left = list(messages)
    while left:
        message = left.pop(0)
        assert not isinstance(message, ToolResultMessage)
        if isinstance(message, AssistantMessage):
            results, left = left[: len(message.calls)], left[len(message.calls) :]
            assert all(isinstance(each, ToolResultMessage) for each in results)
            answered = [each.provider_id for each in results if isinstance(each, ToolResultMessage)]
            assert answered == [each.provider_id for each in message.calls]


def assert_whole(frames: Sequence[RunFrame]) -> None:
    """Numbered without a gap, one end of each call and of the run, each question decided at most once."""
    assert [frame.sequence for frame in frames] == list(range(1, len(frames) + 1))
    assert [kind for kind in types(frames) if kind in TERMINAL] == [frames[-1].type], types(frames)
    for kind, name in (("tool.called", "call_id"), ("tool.completed", "call_id"), ("approval.decided", "approval_id")):
        named = [data(frame)[name] for frame in frames if frame.type == kind]
        assert len(named) == len(set(map(str, named))), (kind, types(frames))
    assert types(frames).count("tool.called") == types(frames).count("tool.completed")


# The way through --------------------------------------------------------------------------------------------------


async def test_a_run_that_waits_holds_nothing_but_its_conversation(pools: DatabasePools) -> None:
    options = replace(ONE_BEAT, most_of_a_principal=1)
    async with process_on(pools, ScriptedModel(asks(CREATE), says("Hello.")), options=options) as process:
        begun, frames = await waiting(process)
        assert types(frames) == [
            "run.started",
            "tool.called",
            "tool.decided",
            "approval.requested",
            "run.usage",
            "run.waiting",
        ]
        assert (await process.runs.find(EVA, begun.run_id)).status == "waiting"
        assert (await process.runs.summary(EVA, begun.run_id)).status == "waiting"
        with pytest.raises(ConversationBusy):
            await process.say("And?", conversation_id=begun.conversation_id)
        with pytest.raises(ConversationBusy):
            await process.conversations.delete(EVA, begun.conversation_id)
        # Its place is free: the only one there is.
        other = await process.say("Something else.")
        assert (await process.runs.answer(EVA, other.run_id)).text == "Hello."


@pytest.mark.parametrize(
    ("how", "decided", "outcome", "end"),
    [
        ("approve", "approve", "done", "run.completed"),
        ("reject", "reject", "rejected", "run.completed"),
        ("expire", None, "expired", "run.completed"),
        ("cancel", None, "cancelled", "run.cancelled"),
    ],
)
async def test_it_goes_on_in_another_process_with_what_became_of_its_call(
    pools: DatabasePools,
    owner_connection: Connection,
    superuser_connection: Connection,
    how: Settle,
    decided: str | None,
    outcome: str,
    end: str,
) -> None:
    async with process_on(pools, ScriptedModel(asks(CREATE))) as first:
        begun, before = await waiting(first)
    model = ScriptedModel(says("That is that."))
    async with process_on(pools, model) as second:
        reader = asyncio.create_task(told(second, begun.run_id, after=before[-1].sequence))
        await settle(how, second, begun, questions(before)[0], owner_connection)
        await worked_off(second)
        follows = await reader
        frames = await told(second, begun.run_id)
        summary = await second.runs.summary(EVA, begun.run_id)
        assert (await decide(second, questions(before)[0], "approve")).outcome == "invalid"
    assert [frame.data for frame in frames] == [frame.data for frame in [*before, *follows]]
    assert_whole(frames)
    answered = [] if decided is None else ["approval.decided"]
    assert types(follows)[: len(answered) + 1] == [*answered, "tool.completed"]
    assert frames[-1].type == end
    if decided is not None:
        assert (data(follows[0])["decision"], data(follows[0])["by"]) == (decided, "partner@firm-1.example")
    assert data(follows[len(answered)])["outcome"] == outcome
    assert summary.approvals == ()
    assert await superuser_connection.fetchval(MADE) == (1 if how == "approve" else 0)
    if how == "cancel":
        assert model.requests == []
    else:
        assert_valid(model.requests[0].messages)
        (result,) = (each for each in model.requests[0].messages if isinstance(each, ToolResultMessage))
        assert orjson.loads(result.text)["outcome"] == outcome
        assert ("because" in result.text) == (decided is not None)


async def test_several_questions_of_one_turn_are_answered_one_by_one_and_the_model_hears_of_all_at_once(
    pools: DatabasePools,
) -> None:
    model = ScriptedModel(BOTH, says("Both are settled."))
    async with process_on(pools, model) as process:
        begun, frames = await waiting(process)
        one, two = questions(frames)
        await decide(process, one, "approve")
        await worked_off(process)
        more = await told(process, begun.run_id, after=frames[-1].sequence)
        assert types(more) == ["approval.decided", "tool.completed", "run.usage", "run.waiting"]
        assert questions(more) == [two]
        assert len(model.requests) == 1
        await decide(process, two, "reject")
        await worked_off(process)
        last = await told(process, begun.run_id, after=more[-1].sequence)
        assert types(last)[:2] == ["approval.decided", "tool.completed"]
        assert_whole(whole := await told(process, begun.run_id))
        assert [frame.data for frame in whole] == [frame.data for frame in [*frames, *more, *last]]
    assert len(model.requests) == 2
    assert_valid(model.requests[1].messages)


async def test_several_questions_are_answered_together(pools: DatabasePools) -> None:
    model = ScriptedModel(BOTH, says("Both are settled."))
    async with process_on(pools, model) as process:
        begun, frames = await waiting(process)
        await asyncio.gather(*(decide(process, each, "approve") for each in questions(frames)))
        await worked_off(process)
        last = await told(process, begun.run_id, after=frames[-1].sequence)
    assert types(last)[:4] == ["approval.decided", "tool.completed", "approval.decided", "tool.completed"]
    assert "run.waiting" not in types(last)
    assert len(model.requests) == 2


@pytest.mark.parametrize("api", ["chat_completions", "responses"])
async def test_what_went_on_is_valid_for_both_model_apis(pools: DatabasePools, api: Api) -> None:
    create = Call(name="task_create", arguments='{"title": "Ask for the bank letter"}', id="call_create")
    turns = (Turn(reasoning="sealed", calls=(create,)), Turn(text="It is done."), Turn(text="You are welcome."))
    async with FakeOpenAI(turns) as fake:
        async with model_on(fake, api) as model, process_on(pools, model) as first:
            begun, frames = await waiting(first)
        async with model_on(fake, api) as model, process_on(pools, model) as second:
            await decide(second, questions(frames)[0], "approve")
            await worked_off(second)
            assert (await told(second, begun.run_id))[-1].type == "run.completed"
            thanked = await second.say("Thank you.", conversation_id=begun.conversation_id)
            assert (await second.runs.answer(EVA, thanked.run_id)).text == "You are welcome."


# Cut off, and raced -----------------------------------------------------------------------------------------------


class AnsweredAtOnce:
    """A gate behind which a person is quicker than the run."""

    def __init__(self, gate: Caller) -> None:
        self._gate = gate

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        outcome = await self._gate.call(request, principal)
        if outcome.approval is not None:
            arguments = {"approval_id": str(outcome.approval.approval_id), "decision": "approve"}
            decision = CallRequest(call_id=CallId(uuid4()), tool="approval_decide", arguments=arguments)
            assert (await self._gate.call(decision, PARTNER)).outcome == "done"
        return outcome


async def test_an_answer_that_comes_before_the_run_is_put_down_is_not_lost(pools: DatabasePools) -> None:
    model = ScriptedModel(asks(CREATE), says("Done."))
    async with process_on(pools, model, gate=AnsweredAtOnce) as process:
        begun = await process.say("Have it done.")
        # Nobody enqueues anything any more.
        frames = await told(process, begun.run_id)
        if types(frames)[-1] == "run.waiting":
            frames += await told(process, begun.run_id, after=frames[-1].sequence)
    assert_whole(frames)
    assert types(frames)[-1] == "run.completed"


def answering(request: ModelRequest) -> Sequence[ModelEvent]:
    """A model that answers alike: it asks for two calls, and tells what became of them."""
    results = [each for each in request.messages if isinstance(each, ToolResultMessage)]
    return (
        says("Settled: ", ", ".join(str(orjson.loads(each.text)["outcome"]) for each in results)) if results else BOTH
    )


@asynccontextmanager
async def cut_process(pools: DatabasePools, line: Line) -> AsyncGenerator[Process]:
    """A process that writes no more from that write on, nor says that it goes."""
    async with process_on(
        pools,
        ScriptedModel(brain=answering),
        around=lambda sessions: CutSessions(sessions, line),
        log_around=lambda run_log: CutLog(run_log, line),
        keeper_around=lambda keeper: CutKeeper(keeper, line),
    ) as process:
        yield process


async def brought_through(pools: DatabasePools, line: Line, how: Settle, owner: Connection) -> tuple[RunId, int]:
    """A run of two questions, which are settled in two ways, begun and gone on with over that line; how far it came."""
    async with cut_process(pools, line) as process:
        with suppress(Unavailable, DomainError):
            begun = await process.say("Have it done.")
            await _settled(process, begun, how, owner)
    run_id: RunId = await owner.fetchval(
        "SELECT run_id FROM runs WHERE created_at = (SELECT max(created_at) FROM runs)"
    )
    return run_id, line.written


async def _settled(process: Process, begun: RunHandle, how: Settle, owner: Connection) -> None:
    """Both questions: the first one is approved, the second one ends as it is said."""
    async with asyncio.timeout(30):
        while (run := await process.runs.find(EVA, begun.run_id)).status in GOING:
            key = RunKey(organization_id=EVA.organization_id, run_id=begun.run_id)
            await process.runs.go_on(key)
            if run.status == "waiting":
                asked = await owner.fetch(OPEN, begun.run_id)
                for number, row in enumerate(asked):
                    first = number == 0 and len(asked) == 2
                    await settle("approve" if first else how, process, begun, row["approval_id"], owner)
                    await expire(process, row["approval_id"])  # one that has lapsed takes no answer
                    await process.runs.go_on(key)
            await asyncio.sleep(0)


async def test_cancelled_while_it_is_being_taken_up_again_a_run_takes_its_open_questions_with_it(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(says("One."), says("Two."), BOTH)) as process:
        begun = await process.say("First.")
        for words in ("Second.", "Have it done."):
            await told(process, begun.run_id)
            begun = await process.say(words, conversation_id=begun.conversation_id)
        frames = await told(process, begun.run_id)
        await decide(process, questions(frames)[0], "approve")
    # The model is asked for a summary of what came before; nothing of the run was told again by then.
    hold = HoldAt(0)
    options = replace(ONE_BEAT, history_limit=4)
    async with process_on(pools, ScriptedModel(says("A summary."), pace=hold), options=options) as process:
        assert await process.go_on(begun.run_id)
        await hold.reached.wait()
        await process.runs.cancel(EVA, begun.run_id)
        assert types(await told(process, begun.run_id))[-1] == "run.cancelled"
    states = [row["state"] for row in await superuser_connection.fetch(STATES, begun.run_id)]
    assert states == ["executed", "cancelled"]


class NeverWakes(CutKeeper):
    """A keeper whose database takes too long over one statement."""

    async def wake(self, run: RunKey) -> bool:
        raise TimeoutError


async def test_a_fault_while_a_run_is_put_down_leaves_the_other_runs_of_its_process_alone(pools: DatabasePools) -> None:
    model = ScriptedModel(BOTH, says("Still here."))
    async with process_on(pools, model, keeper_around=lambda keeper: NeverWakes(keeper, Line())) as process:
        await waiting(process)
        other = await process.say("And now?")
        assert (await process.runs.answer(EVA, other.run_id)).text == "Still here."


async def test_wherever_its_process_is_cut_off_a_run_that_waits_is_told_and_done_once(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    whole = Line()
    await brought_through(pools, whole, "reject", owner_connection)
    cuts = [(left, heard) for left in range(1, whole.written) for heard in (False, True)]
    sample: list[Tried] = [(cut, HOWS[number % len(HOWS)]) for number, cut in enumerate(cuts[::4])]
    every: list[Tried] = [(cut, how) for cut in cuts for how in HOWS]
    for (left, heard), how in every if EVERY else sample:
        before = await superuser_connection.fetchval(MADE)
        run_id, _ = await brought_through(pools, Line(left=left, heard=heard), how, owner_connection)
        async with process_on(pools, ScriptedModel(brain=answering), options=NO_LEASE) as process:
            begun = RunHandle(run_id=run_id, conversation_id=(await process.runs.find(EVA, run_id)).conversation_id)
            await _settled(process, begun, how, owner_connection)
            frames = await told(process, run_id)
        case = (left, heard, how, types(frames))
        assert_whole(frames)
        states = [row["state"] for row in await superuser_connection.fetch(STATES, run_id)]
        made = await superuser_connection.fetchval(MADE) - before
        assert made == states.count("executed"), case
        assert await superuser_connection.fetchval(ENDINGS, run_id) == len(states), case
        assert "pending" not in states, case


@pytest.mark.parametrize("seed", range(60 if EVERY else 3))
async def test_of_all_who_settle_a_question_on_two_replicas_one_does_and_the_run_goes_on_once(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection, seed: int
) -> None:
    chance = random.Random(seed)
    models = [ScriptedModel(brain=answering) for _ in range(2)]
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(process_on(pools, model)) for model in models]
        begun, frames = await waiting(one)
        approvals = questions(frames)
        if chance.random() < 0.3:
            await owner_connection.execute(LAPSE, chance.choice(approvals))

        async def settled_by(process: Process, how: Settle, approval_id: UUID) -> None:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            match how:
                case "approve" | "reject":
                    await decide(process, approval_id, how)
                case "expire":
                    await expire(process, approval_id)
                case "cancel":
                    await process.runs.cancel(EVA, begun.run_id)
            await worked_off(one, two)

        racing = [
            settled_by(process, how, approval_id)
            for process in (one, two)
            for how in (("approve", "reject", "expire", "cancel") if chance.random() < 0.5 else ("approve", "reject"))
            for approval_id in approvals
        ]
        chance.shuffle(racing)
        await asyncio.gather(*racing)
        await _settled(two, begun, "reject", owner_connection)
        whole = await told(one, begun.run_id)
        assert [frame.data for frame in whole] == [frame.data for frame in await told(two, begun.run_id)]
    assert_whole(whole)
    states = [row["state"] for row in await superuser_connection.fetch(STATES, begun.run_id)]
    assert await superuser_connection.fetchval(MADE) == states.count("executed")
    assert await superuser_connection.fetchval(ENDINGS, begun.run_id) == len(states) == 2
    asked = [request for model in models for request in model.requests]
    for request in asked:
        assert_valid(request.messages)
    assert len(asked) <= 2
