"""A turn's calls where another process was there before: what that had made is told as it ended."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from agent.budget import Spent
from agent.calling import Caller, Calls
from agent.model import ToolCall
from domain.kernel import CallId, Principal
from tests.support.scripted_gate import done
from tests.support.scripted_model import ScriptedModel, call
from tests.support.turns import ListJournal, nth, setup_of
from tools.outcomes import CallOutcome, CallRequest


class Slow:
    """A gate that takes longer than there is time."""

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        return await asyncio.Future()


async def of_two_the_first(request: CallRequest) -> CallOutcome | None:
    """The first call was made by another process."""
    return done({"items": []})(request) if request.call_id == nth(1) else None


async def test_out_of_time_a_call_that_another_process_made_is_told_as_it_ended() -> None:
    setup = setup_of(ScriptedModel(), Slow(), ListJournal()).calls
    asked: list[ToolCall] = [call("knowledge_search", id="one"), call("knowledge_search", id="two")]
    calls = Calls(
        setup=replace(setup, settled=of_two_the_first),
        asked=asked,
        deadline=asyncio.get_running_loop().time(),
        spent=Spent(),
        ids=[CallId(nth(1)), CallId(nth(2))],
    )
    events = [event async for event in calls.events()]
    assert [event.type for event in events if event.type != "tool.decided"] == ["tool.called", "tool.completed"] * 2
    assert [each.outcome for each in calls.outcomes] == ["done", "cancelled"]
    assert [each.error and each.error.code for each in calls.outcomes] == [None, "budget_exhausted"]


async def nobody_answers(request: CallRequest) -> CallOutcome | None:
    """An outside that does not say what became of anything."""
    return await asyncio.Future()


class Broken:
    """A gate that breaks down."""

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        raise RuntimeError("broken")


@pytest.mark.parametrize("gate", [Slow(), Broken()])
async def test_calls_of_which_nobody_says_in_time_how_they_ended_are_told_as_unknown(gate: Caller) -> None:
    setup = setup_of(ScriptedModel(), gate, ListJournal()).calls
    ids = [CallId(nth(1)), CallId(nth(2))]
    calls = Calls(
        setup=replace(setup, settled=nobody_answers, settled_within_s=0.01),
        asked=[call("knowledge_search", id="one"), call("knowledge_search", id="two")],
        deadline=asyncio.get_running_loop().time() + (0 if isinstance(gate, Slow) else 3600),
        spent=Spent(),
        ids=ids,
        told=frozenset((call_id, "tool.called") for call_id in ids),
    )
    with suppress(RuntimeError):
        async with asyncio.timeout(30):
            assert [event.type async for event in calls.events()] == ["tool.completed"] * 2
    assert [(each.outcome, each.error and each.error.code) for each in calls.outcomes] == [
        ("failed", "outcome_unknown")
    ] * 2
