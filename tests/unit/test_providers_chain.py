"""A chain of models on real HTTP servers that stall, break and refuse: who answers, and what is shown."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from agent.model import (
    Answering,
    BrokenOff,
    Finished,
    Model,
    ModelEvent,
    ModelFailed,
    TextDelta,
    ToolCall,
    ToolResultMessage,
    UserMessage,
    Withdrawn,
    streamed,
)
from agent.offline import OfflineModel
from agent.providers.breaker import Breaker, BreakerRules
from agent.providers.chain import Link, ModelChain
from agent.providers.patience import Patience
from domain.backoff import Backoff
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import HTTP_ERRORS, Answer, Call, HangUp, Json, Turn
from tests.support.model_stages import Api, Stages, ask, calls_of, on, play
from tests.support.scripted_model import ScriptedModel

QUICK = Patience(
    connect_s=1.0, first_token_s=0.3, stall_s=0.08, farewell_s=0.03, backoff=Backoff(first_s=0.001, longest_s=0.01)
)
WHOLE = "The policy asks for two signatures, the manager's and the partner's, and for a date."
BEFORE_WORDS = 1
"""Frames that come before the first token, with either API: a silence there is the model's, which may reason."""
CALL = Call(name="task_list", arguments='{"limit": 5}', id="a")


@pytest.fixture(params=["chat_completions", "responses"])
async def stages(request: pytest.FixtureRequest) -> AsyncIterator[Stages]:
    async with Stages(cast("Api", request.param)) as stack:
        yield stack


class Chain:
    """A chain on fake servers, one a link, its last one maybe the offline model."""

    def __init__(self, fakes: Sequence[FakeOpenAI], models: Sequence[Model]) -> None:
        self.fakes = fakes
        self.links = [Link(model=model, breaker=Breaker(lambda: 0.0)) for model in models]
        self.model = ModelChain(self.links)

    async def events(self) -> list[ModelEvent]:
        return [event async for event in self.model.stream(ask())]

    async def failure(self) -> ModelFailed:
        with pytest.raises(ModelFailed) as raised:
            await self.events()
        return raised.value


async def chained(stages: Stages, *scripts: Sequence[Answer], offline: bool = False) -> Chain:
    staged = [await play(stages, script, QUICK) for script in scripts]
    models: list[Model] = [stage.model for stage in staged]
    return Chain([stage.fake for stage in staged], [*models, OfflineModel()] if offline else models)


def shown(events: Sequence[ModelEvent]) -> str:
    """What stands before the reader in the end."""
    text = ""
    for event in events:
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, Withdrawn):
            text = ""
    return text


def broken(at: int, then: str) -> Turn:
    match then:
        case "stall":
            return Turn(text=WHOLE, calls=(CALL,), stop_after=at, then="stall")
        case "error":
            return Turn(text=WHOLE, calls=(CALL,), stop_after=at, then="error")
        case _:
            return Turn(text=WHOLE, calls=(CALL,), stop_after=at, then="cut")


@pytest.mark.parametrize("then", ["stall", "cut", "error"])
@pytest.mark.parametrize("at", [0, 1, 2, 15, 17])
async def test_an_answer_that_breaks_off_anywhere_is_shown_once_and_whole(stages: Stages, at: int, then: str) -> None:
    chain = await chained(stages, [broken(at, then), Turn(text=WHOLE, calls=(CALL,)), Turn(text=WHOLE, calls=(CALL,))])
    if then == "stall" and at <= BEFORE_WORDS:
        assert (await chain.failure()).code == "model_timeout"
    else:
        events = await chain.events()
        assert (shown(events), Withdrawn(reason="model_interrupted") in events) == (WHOLE, False)
        assert calls_of(events) == [ToolCall(provider_id="a", name="task_list", arguments=CALL.arguments)]
        assert events[-1] == Finished(reason="calls")
    if then == "stall":
        await asyncio.wait_for(chain.fakes[0].requests[0].gone.wait(), 5)


async def test_the_rest_of_a_stalled_answer_is_asked_for_behind_what_was_shown(stages: Stages) -> None:
    first = Turn(text=WHOLE, stop_after=8, then="stall")
    chain = await chained(stages, [first, Turn(text="signatures, the manager's and no other.")])
    events = await chain.events()
    assert events.count(BrokenOff()) == 1
    again = chain.fakes[0].requests[1].body
    said = cast("list[Json]", again.get("messages") or again["input"])
    assert [message["role"] for message in said] == ["user", "assistant", "user"]
    assert shown(events).startswith(str(said[1]["content"]))
    assert shown(events).count("signatures") == 1


async def test_another_answer_of_the_same_model_takes_the_place_of_what_was_shown(stages: Stages) -> None:
    other = "The policy asks for two signatures, of which one is electronic."
    chain = await chained(stages, [Turn(text=WHOLE, stop_after=10, then="stall"), Turn(text=other)])
    events = await chain.events()
    assert Withdrawn(reason="model_interrupted") in events
    assert shown(events) == other


async def test_a_stall_amid_reasoning_is_waited_out_longer_than_one_amid_words(stages: Stages) -> None:
    if stages.api == "chat_completions":
        pytest.skip("reasoning is told of by the Responses API alone")
    silent = Turn(text="Hi.", reasoning="sealed", stop_after=0, then="stall")
    chain = await chained(stages, [silent], [Turn(text="Hello.")])
    begun = asyncio.get_running_loop().time()
    assert shown(await chain.events()) == "Hello."
    assert asyncio.get_running_loop().time() - begun >= QUICK.first_token_s


async def test_a_model_that_breaks_off_over_and_over_is_left_to_the_next_one(stages: Stages) -> None:
    first = Turn(text=WHOLE, stop_after=8, then="stall")
    chain = await chained(stages, [first] * 3, [Turn(text="Two sign.")])
    events = await chain.events()
    assert len(chain.fakes[0].requests) == 3
    assert Withdrawn(reason="model_timeout") in events
    assert shown(events) == "Two sign."
    asked = chain.fakes[1].requests[0].body
    assert len(cast("list[Json]", asked.get("messages") or asked["input"])) == 1, "another's words are not gone on with"


@pytest.mark.parametrize(
    "error", ["overloaded", "quota_used_up", "bad_key", "forbidden", "unknown_model", "moved", "rate_limited_for_2_s"]
)
async def test_what_is_no_fault_of_the_request_goes_to_the_next_model(stages: Stages, error: str) -> None:
    chain = await chained(stages, [HTTP_ERRORS[error]] * 4, [Turn(text="Here.")])
    events = await chain.events()
    assert shown(events) == "Here."
    assert isinstance(events[0], Answering)
    assert (events[0].model, events[0].instead_of) == ("fake-1", "fake-1")


@pytest.mark.parametrize("error", ["bad_request", "context_too_long", "body_too_large"])
async def test_what_is_the_requests_own_fault_is_asked_of_no_other(stages: Stages, error: str) -> None:
    chain = await chained(stages, [HTTP_ERRORS[error]], [Turn(text="Here.")], offline=True)
    assert not (await chain.failure()).retryable
    assert chain.fakes[1].requests == []
    assert chain.links[0].breaker.state == "closed"


async def test_a_fallback_that_cannot_read_so_much_is_passed_over(stages: Stages) -> None:
    chain = await chained(
        stages, [HTTP_ERRORS["bad_key"]], [HTTP_ERRORS["context_too_long"]], [Turn(text="I can read it.")]
    )
    assert shown(await chain.events()) == "I can read it."


async def test_last_of_all_the_offline_model_answers_and_says_so(stages: Stages) -> None:
    chain = await chained(stages, [HangUp()] * 4, [HTTP_ERRORS["bad_key"]], offline=True)
    events = await chain.events()
    assert [event.model for event in events if isinstance(event, Answering)] == ["fake-1", "offline"]
    assert "offline" in shown(events)


async def test_a_chain_that_is_used_up_fails_as_its_first_model_did(stages: Stages) -> None:
    chain = await chained(stages, [HangUp()] * 4, [HTTP_ERRORS["bad_key"]])
    assert (await chain.failure()).code == "model_unavailable"


async def test_a_model_that_stays_away_is_not_asked_until_its_breaker_admits_it(stages: Stages) -> None:
    chain = await chained(stages, [HTTP_ERRORS["overloaded"]] * 12, [Turn(text="Here.")] * 4)
    for _ in range(4):
        assert shown(await chain.events()) == "Here."
    assert len(chain.fakes[0].requests) == 12
    assert chain.links[0].breaker.state == "open"


async def test_a_reader_who_leaves_hangs_up_and_says_nothing_of_the_model(stages: Stages) -> None:
    chain = await chained(stages, [Turn(text=WHOLE, stop_after=2, then="stall")], [Turn(text="never")])
    events = chain.model.stream(ask())
    assert isinstance(await anext(events), TextDelta)
    await events.aclose()
    await asyncio.wait_for(chain.fakes[0].requests[0].gone.wait(), 1)
    assert (chain.links[0].breaker.state, chain.links[0].breaker.why, chain.fakes[1].requests) == ("closed", None, [])


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("leaves_at", [Answering, BrokenOff])
async def test_a_reader_who_leaves_the_one_turn_that_is_tried_lets_the_next_try(
    leaves_at: type[ModelEvent],
) -> None:
    time, away = Time(), ModelFailed("model_unavailable", "It is away.", retryable=True)
    broken = ModelFailed("model_interrupted", "It broke off.", retryable=True, begun=True)
    breaker = Breaker(time, BreakerRules(failures=1))
    breaker.failed(away)
    time.now = breaker.rest_s
    fallback = Link(model=ScriptedModel([TextDelta(text="It is"), broken]), breaker=breaker)
    model = ModelChain([Link(model=ScriptedModel([away]), breaker=Breaker(time)), fallback])

    async with streamed(model, ask()) as events:
        async for event in events:
            if isinstance(event, leaves_at):
                break

    assert breaker.state == "half_open"
    assert breaker.admits()


async def test_a_reader_who_leaves_between_two_tries_is_not_tried_for_again(stages: Stages) -> None:
    fake = await stages.enter_async_context(FakeOpenAI([HTTP_ERRORS["overloaded"]] * 9))
    waiting = asyncio.Event()

    async def pause(seconds: float) -> None:
        del seconds
        waiting.set()
        await asyncio.Event().wait()

    staged = await on(stages, fake, fake.base_url, sleep=pause)
    chain = Chain([fake], [staged.model, OfflineModel()])
    reading = asyncio.create_task(chain.events())
    await asyncio.wait_for(waiting.wait(), 5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert len(fake.requests) == 1


async def test_the_offline_model_goes_on_from_results_that_another_model_asked_for() -> None:
    request = ask(
        UserMessage(text="Which tasks are open?"),
        ToolResultMessage(provider_id="a", name="task_list", text='{"outcome": "done", "result": {"items": []}}'),
    )
    events = [event async for event in OfflineModel().stream(request)]
    assert isinstance(events[-1], Finished)
