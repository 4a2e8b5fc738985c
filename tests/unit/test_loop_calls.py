"""A turn's calls where another process was there before: what that had made is told as it ended."""

import asyncio
from dataclasses import replace

from agent.budget import Spent
from agent.calling import Calls
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
