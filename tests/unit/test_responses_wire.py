"""What only the Responses API has: its words, reasoning that goes back to who made it, and its own kinds of failing."""

from collections.abc import AsyncIterator
from typing import cast

import pytest

from agent.model import (
    AssistantMessage,
    Finished,
    ItemMade,
    Message,
    ProviderItem,
    TextDelta,
    ToolCall,
    ToolResultMessage,
    UserMessage,
)
from tests.support.fake_turns import Call, Json, Turn, http_error
from tests.support.model_stages import CONVERSATION, KEY, SCHEMA, Stage, Stages, ask, play, text_of

SEARCH = Call(name="knowledge_search", arguments='{"query": "x"}', id="call_a")


@pytest.fixture
async def stages() -> AsyncIterator[Stages]:
    async with Stages("responses") as stack:
        yield stack


async def asked_and_called(stage: Stage) -> list[Message]:
    """A conversation as far as the first call's result: the model reasoned, and asked for one search."""
    events = await stage.events(ask(UserMessage(text="Who signs?")))
    made = tuple(event.item for event in events if isinstance(event, ItemMade))
    call = ToolCall(provider_id=SEARCH.id, name=SEARCH.name, arguments=SEARCH.arguments)
    return [
        UserMessage(text="Who signs?"),
        AssistantMessage(text="", calls=(call,), provider_items=made),
        ToolResultMessage(provider_id=SEARCH.id, name=SEARCH.name, text="{}"),
    ]


def input_of(stage: Stage) -> list[Json]:
    """What the last request passed back."""
    return cast("list[Json]", stage.fake.requests[-1].body["input"])


async def test_the_request_carries_the_whole_conversation_and_leaves_nothing_there(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Hi"), Turn(text="Hi")])
    await stage.events(CONVERSATION)
    await stage.events()
    first, second = stage.fake.requests
    assert first.body == {
        "model": "fake-1",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "instructions": "Be brief.",
        "max_output_tokens": 50,
        "input": [
            {"role": "user", "content": "Hello ??"},
            {"type": "function_call", "call_id": "a", "name": "task_list", "arguments": '{"limit": 5}'},
            {"type": "function_call_output", "call_id": "a", "output": '{"outcome": "done"}'},
            {"role": "assistant", "content": "Nothing."},
            {"type": "function_call", "call_id": "b", "name": "x", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "b", "output": "{}"},
            {"role": "assistant", "content": "Done."},
        ],
        "tools": [
            {
                "type": "function",
                "name": "task_list",
                "description": "Lists tasks.",
                "parameters": SCHEMA,
                "strict": False,
            }
        ],
    }
    assert first.path == "/v1/responses"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert second.body.keys() == {"model", "stream", "store", "include", "input"}


async def test_reasoning_goes_back_before_its_call(stages: Stages) -> None:
    stage = await play(stages, [Turn(reasoning="sealed-1", calls=(SEARCH,)), Turn(text="The partner.")])
    messages = await asked_and_called(stage)
    assert text_of(await stage.events(ask(*messages))) == "The partner."
    assert [item.get("type") or item["role"] for item in input_of(stage)] == [
        "user",
        "reasoning",
        "function_call",
        "function_call_output",
    ]
    assert input_of(stage)[1]["encrypted_content"] == "sealed-1"


async def test_reasoning_of_another_model_or_api_is_not_sent(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Hi")])
    others = tuple(
        ProviderItem(maker=maker, content='{"type": "reasoning", "encrypted_content": "theirs"}', before=None)
        for maker in ("responses fake-2", "chat_completions fake-1")
    )
    await stage.events(
        ask(UserMessage(text="a"), AssistantMessage(text="b", provider_items=others), UserMessage(text="c"))
    )
    assert [item.get("role") for item in input_of(stage)] == ["user", "assistant", "user"]


async def test_reasoning_whose_call_was_not_kept_is_not_sent(stages: Stages) -> None:
    stage = await play(stages, [Turn(reasoning="sealed-1", calls=(SEARCH,)), Turn(text="Hi")])
    made = cast(AssistantMessage, (await asked_and_called(stage))[1]).provider_items
    assert [item.before for item in made] == [SEARCH.id]
    kept = AssistantMessage(text="Stopped.", provider_items=made)
    assert text_of(await stage.events(ask(UserMessage(text="a"), kept, UserMessage(text="b")))) == "Hi"


async def test_a_conversation_goes_on_without_reasoning_that_its_provider_can_no_longer_read(stages: Stages) -> None:
    stage = await play(stages, [Turn(reasoning="sealed-1", calls=(SEARCH,)), Turn(text="The partner.")])
    messages = await asked_and_called(stage)
    stage.fake.forget_seals()
    assert text_of(await stage.events(ask(*messages))) == "The partner."
    assert len(stage.fake.requests) == 3
    assert [item.get("type") or item["role"] for item in input_of(stage)] == [
        "user",
        "function_call",
        "function_call_output",
    ]
    assert stage.pauses == []


async def test_a_model_without_reasoning_is_asked_for_it_only_once(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Hi"), Turn(text="Hi")])
    stage.fake.no_reasoning = True
    assert [text_of(await stage.events()) for _ in range(2)] == ["Hi", "Hi"]
    assert ["include" in request.body for request in stage.fake.requests] == [True, False, False]
    assert all(request.body["store"] is False for request in stage.fake.requests)


@pytest.mark.parametrize(
    "message", ["Unknown parameter: 'include'.", "Unrecognized request argument supplied: include"]
)
async def test_a_server_that_does_not_know_the_parameter_is_asked_without_it(stages: Stages, message: str) -> None:
    stage = await play(stages, [http_error(400, message, code=None), Turn(text="Hi"), Turn(text="Hi")])
    assert [text_of(await stage.events()) for _ in range(2)] == ["Hi", "Hi"]
    assert ["include" in request.body for request in stage.fake.requests] == [True, False, False]


@pytest.mark.parametrize(
    ("message", "tries"), [("Your input must include a user message.", 1), ("Encrypted content is not supported.", 2)]
)
async def test_one_refused_request_does_not_end_reasoning_for_all_others(
    stages: Stages, message: str, tries: int
) -> None:
    stage = await play(stages, [http_error(400, message, code=None)] * tries + [Turn(text="Hi")])
    assert (await stage.failure()).code == "model_rejected"
    assert text_of(await stage.events()) == "Hi"
    assert ["include" in request.body for request in stage.fake.requests][tries:] == [True]


async def test_another_refusal_is_not_reworded(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="never")])
    orphan = ToolResultMessage(provider_id="nobody", name="x", text="{}")
    failed = await stage.failure(ask(UserMessage(text="a"), orphan))
    assert (failed.code, failed.retryable, len(stage.fake.requests)) == ("model_rejected", False, 1)


async def test_a_response_that_failed_before_the_first_token_is_tried_again(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="x", stop_after=1, then="failed"), Turn(text="Hi")])
    assert text_of(await stage.events()) == "Hi"
    assert stage.pauses == [0.5]


async def test_reasoning_that_came_before_an_error_shows_nothing_and_is_tried_again(stages: Stages) -> None:
    stage = await play(
        stages, [Turn(reasoning="s", text="x", stop_after=2, then="error"), Turn(reasoning="t", text="Hi")]
    )
    events = await stage.events()
    (made,) = [event.item.content for event in events if isinstance(event, ItemMade)]
    assert '"encrypted_content":"t"' in made, "that of the try that was told, not of the one before"
    assert text_of(events) == "Hi"


async def test_a_response_that_failed_after_the_first_token_is_an_interruption(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Hello to all", stop_after=2, then="failed"), Turn(text="never")])
    said, failed = await stage.broken_turn()
    assert (failed.code, failed.retryable, said) == ("model_interrupted", True, [TextDelta(text="Hello ")])


async def test_an_error_that_lasts_is_not_tried_again_though_it_came_as_data(stages: Stages) -> None:
    error: Json = {"type": "insufficient_quota", "message": "You exceeded your current quota."}
    stage = await play(stages, [Turn(text="x", stop_after=1, then="failed", error=error)])
    failed = await stage.failure()
    assert (failed.code, failed.retryable, len(stage.fake.requests)) == ("model_rejected", False, 1)


async def test_a_plain_json_answer_is_understood(stages: Stages) -> None:
    body = (
        b'{"object": "response", "status": "completed", "output": [{"type": "message", "content": '
        b'[{"type": "output_text", "text": "Hi"}]}]}'
    )
    events = await (await play(stages, [Turn(body=body, media_type="application/json")])).events()
    assert events == [TextDelta(text="Hi"), Finished(reason="stop")]
