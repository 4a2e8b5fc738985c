"""Long conversations on the real database: summarised when full, kept as they were said, and told by path."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import orjson
import pytest

from agent.compaction import INSTRUCTIONS
from agent.conversations.model import Summary
from agent.conversations.refusals import ConversationNotFound
from agent.model import BackgroundMessage, ModelFailed, ModelRequest, UserMessage
from agent.run_opening import NewMessage
from agent.runs import RunHandle
from agent.window import UNSHOWN
from domain.kernel import ConversationId
from domain.paging import PageRequest
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, ONE_BEAT, Process, process_on
from tests.support.firms import seed_firms
from tests.support.gates import principal_of
from tests.support.scripted_model import ScriptedModel, Turn, says

LONG = "word " * 700
"""Of a message: a few of them fill the window below."""


@dataclass
class Mind:
    """A model that answers shortly; `summarises`: what it writes when it is asked for a summary."""

    summarises: Turn = field(default_factory=lambda: says("They counted words."))
    asked: list[ModelRequest] = field(default_factory=list[ModelRequest])
    answered: list[ModelRequest] = field(default_factory=list[ModelRequest])

    def __call__(self, request: ModelRequest) -> Turn:
        if request.messages[0].text == INSTRUCTIONS:
            self.asked.append(request)
            return self.summarises
        self.answered.append(request)
        return says("Yes.")


@pytest.fixture
def mind() -> Mind:
    return Mind()


@pytest.fixture
async def process(pools: DatabasePools, owner_connection: Connection, mind: Mind) -> AsyncIterator[Process]:
    await seed_firms(owner_connection)
    async with process_on(pools, ScriptedModel(brain=mind, context_window=16_000)) as opened:
        yield opened


async def talk(process: Process, turns: int, conversation_id: ConversationId | None = None) -> list[RunHandle]:
    """So many long turns, one after the other; each has ended."""
    runs: list[RunHandle] = []
    for number in range(turns):
        runs.append(await process.say(f"{number} {LONG}", conversation_id=conversation_id))
        conversation_id = runs[-1].conversation_id
        frames = await process.frames(runs[-1].run_id)
        assert frames[-1].type == "run.completed"
    return runs


async def kept(process: Process, conversation_id: ConversationId) -> list[Summary]:
    return list(await process.conversations.summaries(EVA, conversation_id))


def told(request: ModelRequest) -> list[str]:
    """What the request says of summaries, and the first word of each message of the user's."""
    words: list[str] = []
    for message in request.messages:
        match message:
            case BackgroundMessage() if message is UNSHOWN:
                words.append("unshown")
            case BackgroundMessage():
                words += [told for name, told in orjson.loads(message.text).items() if name == "summary"]
            case UserMessage():
                words.append(message.text.split(" ", 1)[0])
            case _:
                pass
    return words


async def until_summarised(process: Process, mind: Mind) -> list[RunHandle]:
    runs = await talk(process, 1)
    while not mind.asked:
        assert len(runs) < 20
        runs += await talk(process, 1, runs[-1].conversation_id)
    return runs


async def test_a_long_conversation_is_summarised_once_kept_whole_and_paid_for(process: Process, mind: Mind) -> None:
    runs = await until_summarised(process, mind)
    conversation_id = runs[0].conversation_id

    (summary,) = await kept(process, conversation_id)

    assert (summary.text, summary.turns) == ("They counted words.", len(runs) - 2)
    assert summary.last_run_id == runs[-3].run_id
    assert told(mind.answered[-1]) == ["They counted words.", "0", "0"]
    run = await process.runs.find(EVA, runs[-1].run_id)
    assert run.usage is not None
    assert (run.usage.input_tokens, run.usage.model_calls) == (20, 1)
    page = await process.conversations.messages(EVA, conversation_id, PageRequest(limit=100))
    assert [said.text for said in page.items if said.role == "user"] == [f"0 {LONG}"] * len(runs)
    await talk(process, 1, conversation_id)
    assert len(mind.asked) == 1
    assert told(mind.answered[-1]) == ["They counted words.", "0", "0", "0"]


async def test_where_no_summary_can_be_had_the_turn_is_answered_without(process: Process, mind: Mind) -> None:
    mind.summarises = [ModelFailed("model_unavailable", "away", retryable=True)]
    runs = await until_summarised(process, mind)
    while told(mind.answered[-1])[0] != "unshown":
        assert len(runs) < 20
        runs += await talk(process, 1, runs[-1].conversation_id)
    assert await kept(process, runs[-1].conversation_id) == []


async def test_a_summary_is_told_on_the_paths_that_lead_over_what_it_stands_for_and_on_no_other(
    process: Process, mind: Mind
) -> None:
    runs = await until_summarised(process, mind)
    first, conversation_id = runs[0], runs[0].conversation_id

    elsewhere = NewMessage(message="another way", conversation_id=conversation_id, edits=runs[1].run_id)
    await process.frames((await process.runs.start(EVA, elsewhere)).run_id)

    assert told(mind.answered[-1]) == ["0", "another"]
    assert first.run_id != runs[1].run_id
    back = NewMessage(message="on with it", conversation_id=conversation_id, edits=runs[-1].run_id)
    await process.frames((await process.runs.start(EVA, back)).run_id)
    assert told(mind.answered[-1]) == ["They counted words.", "0", "on"]


async def test_many_short_turns_are_summarised_before_any_is_read_no_more(
    pools: DatabasePools, owner_connection: Connection, mind: Mind
) -> None:
    await seed_firms(owner_connection)
    options = replace(ONE_BEAT, history_limit=12)
    async with process_on(pools, ScriptedModel(brain=mind), options=options) as process:
        handle = await process.say("0 first")
        await process.frames(handle.run_id)
        for number in range(1, 30):
            said = await process.say(f"{number} more", conversation_id=handle.conversation_id)
            await process.frames(said.run_id)
            assert "unshown" not in told(mind.answered[-1])
            covered = sum(each.turns for each in (await kept(process, handle.conversation_id))[:1])
            assert covered + len([word for word in told(mind.answered[-1]) if word.isdigit()]) == number + 1


async def test_nobody_else_reads_a_summary_and_it_goes_with_its_conversation(
    process: Process, mind: Mind, superuser_connection: Connection
) -> None:
    runs = await until_summarised(process, mind)
    conversation_id = runs[0].conversation_id
    for who in ("partner", "client"):
        with pytest.raises(ConversationNotFound):
            await process.conversations.summaries(principal_of(who=who), conversation_id)
    await process.conversations.delete(EVA, conversation_id)
    count = "SELECT count(*) FROM conversation_summaries WHERE conversation_id = $1"
    assert await superuser_connection.fetchval(count, conversation_id) == 0
