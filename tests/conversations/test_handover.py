"""A conversation that one agent hands over to another: recorded, kept, and never with more autonomy."""

from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from agent.conversations.refusals import UnknownAgent
from agent.json_values import mapping
from agent.model import ModelRequest, SystemMessage
from agent.personas import Personas, load_personas
from agent.runs import RunHandle
from domain.kernel import ConversationId
from domain.resources import resource_folder
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, Process, process_on
from tests.support.firms import FIRM_B, seed_firms
from tests.support.gates import principal_of
from tests.support.scripted_model import HoldAt, ScriptedModel, Turn, asks, call, says

PERSONAS = load_personas(resource_folder("manifests"))
CREATE = call("task_create", {"title": "Call the bank"})
"""Allowed at the seeded firm's level, L2; at the librarian's ceiling, L1, a person must agree."""


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    await seed_firms(owner_connection)


def hands(agent: str) -> Turn:
    """A turn that hands over."""
    return asks(call("agent_handover", {"agent": agent}, id=f"to_{agent}"))


async def told(process: Process, run: RunHandle) -> list[dict[str, Any]]:
    return [orjson.loads(frame.data) for frame in await process.frames(run.run_id)]


async def outcomes(process: Process, run: RunHandle) -> list[str]:
    """How the run's calls ended."""
    return [event["outcome"] for event in await told(process, run) if event["type"] == "tool.completed"]


async def verdicts(process: Process, run: RunHandle) -> list[str]:
    """What policy said of the run's calls."""
    return [event["decision"] for event in await told(process, run) if event["type"] == "tool.decided"]


async def agent_of(process: Process, conversation_id: ConversationId) -> str:
    conversation = await process.conversations.get(principal_of(), conversation_id)
    return conversation.agent


def system_of(request: ModelRequest) -> str:
    assert isinstance(request.messages[0], SystemMessage)
    return request.messages[0].text


async def test_the_other_one_goes_on_in_the_same_run_with_its_own_words_and_tools(pools: DatabasePools) -> None:
    model = ScriptedModel(hands("librarian"), says("Here I am."))
    async with process_on(pools, model) as process:
        run = await process.say("Let me talk to the librarian.")
        events = await told(process, run)
        assert [event["type"] for event in events] == [
            "run.started",
            "tool.called",
            "tool.decided",
            "tool.completed",
            "message.started",
            "message.delta",
            "message.completed",
            "run.usage",
            "run.completed",
        ]
        assert (events[0]["agent"], events[3]["result"]["agent"]) == ("assistant", "librarian")
        assert await agent_of(process, run.conversation_id) == "librarian"
    first, second = model.requests
    assert PERSONAS.get("librarian").words.strip() not in system_of(first)
    assert system_of(second).startswith(PERSONAS.get("librarian").words.strip())
    assert {tool.name for tool in second.tools} == set(PERSONAS.get("librarian").tools)
    choice = mapping(mapping(second.tools[-1].parameters["properties"])["agent"])["enum"]
    assert "librarian" not in cast("list[str]", choice)


async def test_the_handover_is_an_activity_like_any_other(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(hands("tax"), says("Yes?"))) as process:
        run = await process.say("To the tax agent.")
        await process.frames(run.run_id)
    rows = await superuser_connection.fetch(
        "SELECT kind, outcome, decision FROM activity_events WHERE tool = 'agent_handover' AND run_id = $1", run.run_id
    )
    assert [tuple(row) for row in rows] == [("tool.completed", "done", "allow")]


async def test_a_captured_librarian_gains_nothing_by_handing_over(pools: DatabasePools) -> None:
    model = ScriptedModel(hands("operations"), asks(CREATE), asks(CREATE))
    async with process_on(pools, model) as process:
        run = await process.say("Find the letter.", agent="librarian")
        assert await verdicts(process, run) == ["allow", "needs_approval"]
        await process.runs.cancel(EVA, run.run_id)
        # The next message comes to the other one, and to no more.
        again = await process.say("And now?", conversation_id=run.conversation_id)
        assert (await told(process, again))[0]["agent"] == "operations"
        assert await verdicts(process, again) == ["needs_approval"]


async def test_the_ceiling_holds_for_the_calls_of_the_very_turn_that_hands_over(pools: DatabasePools) -> None:
    turn = asks(call("agent_handover", {"agent": "librarian"}), CREATE)
    async with process_on(pools, ScriptedModel(turn, says("So be it."))) as process:
        run = await process.say("Quick.", agent="operations")
        assert await verdicts(process, run) == ["allow", "needs_approval"]


async def test_a_person_who_chooses_an_agent_sets_aside_what_agents_handed_to_one_another(
    pools: DatabasePools,
) -> None:
    model = ScriptedModel(hands("operations"), says("Yes?"), asks(CREATE), says("Done."))
    async with process_on(pools, model) as process:
        run = await process.say("Find the letter.", agent="librarian")
        await process.frames(run.run_id)
        chosen = await process.say("Create it.", conversation_id=run.conversation_id, agent="operations")
        assert await outcomes(process, chosen) == ["done"]
        assert await agent_of(process, run.conversation_id) == "operations"


@pytest.mark.parametrize(("agent", "code"), [("assistant", "same_agent"), ("ghost", "unknown_agent")])
async def test_a_handover_to_itself_or_to_nobody_is_invalid_and_the_talk_stays(
    pools: DatabasePools, agent: str, code: str
) -> None:
    async with process_on(pools, ScriptedModel(hands(agent), says("I am here."))) as process:
        run = await process.say("Go.")
        (completed,) = (event for event in await told(process, run) if event["type"] == "tool.completed")
        assert (completed["outcome"], completed["error"]["code"]) == ("invalid", code)
        assert await agent_of(process, run.conversation_id) == "assistant"


async def test_agents_that_hand_over_to_and_fro_end_with_the_first_ones_budget(pools: DatabasePools) -> None:
    def restless(request: ModelRequest) -> Turn:
        if not request.tools:
            return says("We could not agree.")
        words = system_of(request)
        return hands("audit" if words.startswith(PERSONAS.get("tax").words.strip()) else "tax")

    async with process_on(pools, ScriptedModel(brain=restless)) as process:
        run = await process.say("Decide.")
        events = await told(process, run)
    assert events[-1]["type"] == "run.completed"
    usage = next(event for event in events if event["type"] == "run.usage")
    assert usage["model_calls"] == PERSONAS.get(None).budget.turns


async def test_a_persona_speaks_by_its_own_model_and_by_the_default_where_there_is_no_such(
    pools: DatabasePools,
) -> None:
    careful = ScriptedModel(says("I looked twice."), name="careful")
    usual = ScriptedModel(hands("audit"), hands("tax"), says("Hm."), name="usual")
    named = {
        "audit": replace(PERSONAS.get("audit"), model="careful"),
        "tax": replace(PERSONAS.get("tax"), model="gone"),
    }
    personas = Personas({each.name: named.get(each.name, each) for each in PERSONAS.all()})
    async with process_on(pools, usual, personas=personas, models={"careful": careful}) as process:
        run = await process.say("Audit this.")
        assert (await told(process, run))[0]["model"] == "usual"
        assert (len(usual.requests), len(careful.requests)) == (1, 1)
        further = await process.say("Audit that.", agent="tax")
        assert (await told(process, further))[0]["model"] == "usual"


async def test_an_unknown_agent_begins_nothing(pools: DatabasePools, superuser_connection: Connection) -> None:
    async with process_on(pools, ScriptedModel()) as process:
        with pytest.raises(UnknownAgent):
            await process.say("Hello.", agent="ghost")
    assert await superuser_connection.fetchval("SELECT count(*) FROM conversations WHERE title = 'Hello.'") == 0


async def test_nobody_of_another_firm_can_choose_the_agent_of_a_conversation(pools: DatabasePools) -> None:
    async with process_on(pools, ScriptedModel(says("Yes?"))) as process:
        run = await process.say("Hello.")
        await process.frames(run.run_id)
        stranger = principal_of(FIRM_B)
        async with process.sessions.session(stranger, read_only=False) as store:
            await store.assign(run.conversation_id, "tax", PERSONAS.get("tax").autonomy_ceiling)
        assert await agent_of(process, run.conversation_id) == "assistant"


async def test_a_handover_survives_the_cancelling_of_its_run(pools: DatabasePools) -> None:
    hold = HoldAt(3)
    async with process_on(pools, ScriptedModel(hands("tax"), says("Here."), pace=hold)) as process:
        run = await process.say("To the tax agent.")
        await hold.reached.wait()
        await process.runs.cancel(principal_of(), run.run_id)
        assert (await told(process, run))[-1]["type"] == "run.cancelled"
        assert await agent_of(process, run.conversation_id) == "tax"
