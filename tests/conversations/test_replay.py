"""A run is told again from what was recorded of it, byte for byte; a change of the code is named by its first event."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import orjson
import pytest

import agent.citations
from agent.conversations.model import GOING
from agent.conversations.refusals import RunNotFound, UnknownAgent
from agent.events import RunFrame
from agent.model import ModelFailed, TextDelta
from agent.personas import Personas, load_personas
from agent.replay.model import Replayed
from agent.replay.reading import NotReplayable
from agent.replay.service import Replays
from domain.kernel import Principal, RunId
from domain.resources import resource_folder
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, Process, orphan, process_on, until
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import principal_of
from tests.support.scripted_gate import ScriptedGate, done
from tests.support.scripted_model import HoldAt, ScriptedModel, Turn, asks, call, says

PARTNER = principal_of(who="partner", mode="person", door="rest")
PERSONAS = load_personas(resource_folder("manifests"))
LEVEL = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', 1, $2, clock_timestamp())
"""
CREATE = call("task_create", {"title": "Ask for the bank letter"}, id="one")
COUNT = call("task_create", {"title": "Count the stock"}, id="two")
LIST = call("task_list", {})
AWAY = ModelFailed("model_unavailable", "The model provider cannot be reached.", retryable=True)
BROKE = ModelFailed("model_interrupted", "The model broke off.", retryable=True, begun=True)
ASKED = "SELECT approval_id FROM approvals WHERE run_id = $1 ORDER BY created_at, approval_id"
UNLIMITED = """
UPDATE run_events SET checkpoint = (checkpoint::jsonb - 'limits')::text WHERE run_id = $1 AND checkpoint IS NOT NULL
"""
UNTOLD = "UPDATE run_events SET checkpoint = NULL WHERE run_id = $1"
TOLD_BESIDES = """
INSERT INTO run_events (organization_id, run_id, sequence, type, data)
SELECT $1, $2, max(sequence) + 1, 'message.started', $3 FROM run_events WHERE run_id = $2
"""
PASSAGE = {
    "document_id": str(uuid4()),
    "chunk_id": str(uuid4()),
    "title": "Letters",
    "text": "The letter is renewed each year by the partner.",
    "score": 1.0,
    "start": 0,
    "end": 47,
    "uri": "letters.md",
}


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms, with no run going."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


async def replayed(
    process: Process, run_id: RunId, principal: Principal = EVA, personas: Personas = PERSONAS
) -> Replayed:
    return await Replays(process.sessions, personas, lambda budget: budget, 200).replay(principal, run_id)


def personas_with(**limits: int) -> Personas:
    """The personas with other budgets."""
    return Personas({each.name: replace(each, budget=replace(each.budget, **limits)) for each in PERSONAS.all()})


async def answered(process: Process, message: str = "What is there?") -> RunId:
    """A run of that message, told as far as it comes."""
    begun = await process.say(message)
    async with asyncio.timeout(60):
        await process.frames(begun.run_id)
    return begun.run_id


async def told_to_its_end(process: Process, run_id: RunId) -> list[RunFrame]:
    """A run that waited and need not any more; where its last carrier still writes that down, it goes on by itself."""
    async with asyncio.timeout(60):
        while (await process.runs.find(EVA, run_id)).status in GOING:
            await process.go_on(run_id)
        return await process.frames(run_id)


def all_the_same(found: Replayed) -> bool:
    assert found.divergence is None, found.divergence
    return found.same > 2


ENDINGS: dict[str, Sequence[Turn]] = {
    "words": [says("Good ", "morning, ", "Eva.")],
    "calls with words before them": [asks(LIST, words="Let me look. "), says("There is one.")],
    "several calls of one turn": [asks(LIST, CREATE), says("Done.")],
    "a tool that is none": [asks(call("no_such_tool")), says("I cannot.")],
    "arguments that do not fit": [asks(call("task_list", {"limit": "many"})), says("I cannot.")],
    "silence": [says()],
    "cut off by its length": [says("It begins", reason="length")],
    "a model that fails in the midst of its words": [[TextDelta(text="Half of "), BROKE]],
    "a model that fails at once": [[AWAY]],
    "a model that fails behind a call": [asks(LIST), [AWAY]],
    "more calls than a run may make": [asks(*([LIST] * 30)), asks(LIST, words="More. ")],
}


@pytest.mark.parametrize("turns", ENDINGS.values(), ids=ENDINGS)
async def test_however_a_run_ended_it_is_told_again_the_same(pools: DatabasePools, turns: Sequence[Turn]) -> None:
    async with process_on(pools, ScriptedModel(*turns)) as process:
        assert all_the_same(await replayed(process, await answered(process)))


async def test_stopped_in_the_midst_of_its_words_it_stops_at_the_same_word(pools: DatabasePools) -> None:
    hold = HoldAt(2)
    async with process_on(pools, ScriptedModel(says("One ", "two ", "three"), pace=hold)) as process:
        begun = await process.say("Count.")
        await hold.reached.wait()
        await process.runs.cancel(EVA, begun.run_id)
        await process.frames(begun.run_id)
        found = await replayed(process, begun.run_id)
    assert all_the_same(found)
    assert found.status == "cancelled"


SPENT: dict[str, tuple[dict[str, int], Sequence[Turn]]] = {
    "turns": ({"turns": 2}, [asks(LIST), asks(LIST, words="More. "), says("Done.")]),
    "calls": ({"calls": 2}, [asks(LIST, LIST, LIST), asks(LIST, words="More. ")]),
    "repairs": ({"repairs": 0}, [asks(call("no_such_tool")), asks(LIST, words="More. ")]),
    "tokens": ({"tokens": 1}, [asks(LIST), says("Done.")]),
}


@pytest.mark.parametrize(("limits", "turns"), SPENT.values(), ids=SPENT)
async def test_what_a_run_could_spend_then_counts_whatever_its_persona_says_today(
    pools: DatabasePools, superuser_connection: Connection, limits: dict[str, int], turns: Sequence[Turn]
) -> None:
    then, today = personas_with(**limits), PERSONAS
    async with process_on(pools, ScriptedModel(*turns), personas=then) as process:
        run_id = await answered(process)
        found = await replayed(process, run_id, personas=today)
        assert all_the_same(found)
        assert not found.todays_limits
        assert all_the_same(await replayed(process, run_id, personas=Personas({}))), "its persona is gone"

        # As a version left it that did not keep it: then it is said that today's counted.
        await superuser_connection.execute(UNLIMITED, run_id)
        found = await replayed(process, run_id, personas=today)
        assert found.todays_limits
        assert found.divergence is not None
        assert all_the_same(await replayed(process, run_id, personas=then))
        with pytest.raises(UnknownAgent):
            await replayed(process, run_id, personas=Personas({}))


async def test_a_run_that_another_process_went_on_with_under_other_limits_is_told_again_under_each(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await owner_connection.execute(LEVEL, FIRM_A.organization_id, FIRM_A.id("partner"))
    async with process_on(pools, ScriptedModel(asks(CREATE))) as process:
        run_id = await answered(process)
    turns = (asks(LIST), asks(LIST, words="More. "))
    async with process_on(pools, ScriptedModel(*turns), personas=personas_with(turns=3)) as process:
        (row,) = await superuser_connection.fetch(ASKED, run_id)
        arguments = {"approval_id": str(row["approval_id"]), "decision": "approve"}
        assert (await process.stands_on.call("approval_decide", arguments, PARTNER)).outcome == "done"
        frames = await told_to_its_end(process, run_id)
        found = await replayed(process, run_id)
    assert "this run has used its 3 turns" in frames[-3].data
    assert all_the_same(found)
    assert found.same == len(frames)


@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_what_waited_for_people_goes_on_the_same(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection, decision: str
) -> None:
    await owner_connection.execute(LEVEL, FIRM_A.organization_id, FIRM_A.id("partner"))
    async with process_on(pools, ScriptedModel(asks(CREATE, COUNT), says("Told."))) as process:
        run_id = await answered(process)
        waiting = await replayed(process, run_id)
        for row in await superuser_connection.fetch(ASKED, run_id):
            arguments = {"approval_id": str(row["approval_id"]), "decision": decision}
            assert (await process.stands_on.call("approval_decide", arguments, PARTNER)).outcome == "done"
        frames = await told_to_its_end(process, run_id)
        found = await replayed(process, run_id)
    assert all_the_same(waiting)
    assert all_the_same(found)
    assert (waiting.status, found.status, found.same) == ("waiting", "completed", len(frames))


async def test_taken_over_in_the_midst_of_its_words_it_is_told_again_the_same(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    hold = HoldAt(4)
    turns = (asks(LIST), says("Half said", " and lost"))
    async with process_on(pools, ScriptedModel(*turns, pace=hold)) as lost:
        begun = await lost.say("What is there?")
        await until("message.delta", lost.runs.follow(EVA, begun.run_id, 0))
        await orphan(superuser_connection, begun.run_id)
        async with process_on(pools, ScriptedModel(says("Said anew."))) as process:
            assert await process.go_on(begun.run_id)
            frames = await process.frames(begun.run_id)
            found = await replayed(process, begun.run_id)
    assert "message.reset" in [frame.type for frame in frames]
    assert all_the_same(found)


async def test_a_change_of_the_code_is_named_by_the_first_event_that_it_changes(
    pools: DatabasePools, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = ScriptedGate(knowledge_search=done({"mode": "lexical", "items": [PASSAGE]}))
    model = ScriptedModel(asks(call("knowledge_search", {"query": "letter"})), says("Each year [1]."))
    async with process_on(pools, model, gate=lambda _: gate) as process:
        run_id = await answered(process)
        frames = await process.frames(run_id)
        assert all_the_same(await replayed(process, run_id))
        monkeypatch.setattr(agent.citations, "QUOTE_LENGTH", 10)
        found = (await replayed(process, run_id)).divergence
    (completed,) = [frame for frame in frames if frame.type == "message.completed"]
    assert found is not None
    assert (found.sequence, found.recorded) == (completed.sequence, completed)
    assert found.replayed is not None
    assert orjson.loads(found.replayed.data)["citations"][0]["quote"] == "The lette…"


async def test_an_event_that_the_code_tells_no_more_is_named_too(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    more = orjson.dumps({"type": "message.started", "message_id": str(UUID(int=9))}).decode()
    async with process_on(pools, ScriptedModel(asks(LIST), says("One."))) as process:
        run_id = await answered(process)
        await superuser_connection.execute(TOLD_BESIDES, FIRM_A.organization_id, run_id, more)
        found = (await replayed(process, run_id)).divergence
    assert found is not None
    assert found.recorded is not None
    assert (found.recorded.data, found.replayed) == (more, None)


async def test_nobody_elses_run_is_told_again_nor_one_that_is_going_nor_one_of_before(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    hold = HoldAt(1)
    async with process_on(
        pools,
        ScriptedModel(says("One.")),
    ) as process:
        run_id = await answered(process)
        for stranger in (PARTNER, principal_of(FIRM_B)):
            with pytest.raises(RunNotFound):
                await replayed(process, run_id, stranger)
        with pytest.raises(RunNotFound):
            await replayed(process, RunId(UUID(int=7)))
        await superuser_connection.execute(UNTOLD, run_id)
        with pytest.raises(NotReplayable, match="did not keep"):
            await replayed(process, run_id)
    async with process_on(pools, ScriptedModel(says("One ", "two"), pace=hold)) as process:
        begun = await process.say("Count.")
        await hold.reached.wait()
        with pytest.raises(NotReplayable, match="still going"):
            await replayed(process, begun.run_id)
