"""What only Chat Completions has: its words, and the servers that nearly follow it."""

from collections.abc import AsyncIterator

import pytest

from agent.model import (
    Finished,
)
from tests.support.fake_turns import Json, Turn
from tests.support.model_stages import CONVERSATION, KEY, SCHEMA, Stages, play, text_of


@pytest.fixture
async def stages() -> AsyncIterator[Stages]:
    async with Stages("chat_completions") as stack:
        yield stack


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(Turn(text="Hi there", done_line=False), id="no [DONE]"),
        pytest.param(Turn(text="Hi there", finish_reason=""), id="no finish_reason"),
        pytest.param(Turn(text="Hi there", usage=None), id="no usage"),
        pytest.param(
            Turn(
                body=b': hello\r\n\r\ndata: {"choices":[{"delta":{"content":\r\ndata: "Hi there"}}]}\r\n\r\n'
                b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}'
            ),
            id="comments, CRLF, data on two lines, no last blank line",
        ),
        pytest.param(
            Turn(
                body=b'{"choices": [{"message": {"content": "Hi there"},\n "finish_reason": "stop"}]}',
                media_type="application/json",
            ),
            id="a plain JSON answer",
        ),
    ],
)
async def test_servers_that_nearly_follow_the_api_are_understood(stages: Stages, turn: Turn) -> None:
    events = await (await play(stages, [turn])).events()
    assert (text_of(events), events[-1]) == ("Hi there", Finished(reason="stop"))


async def test_the_request_carries_messages_tools_key_and_nothing_empty(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Hi"), Turn(text="Hi")])
    await stage.events(CONVERSATION)
    await stage.events()
    first, second = stage.fake.requests

    def called(call_id: str, name: str, arguments: str) -> Json:
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    assert first.body == {
        "model": "fake-1",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 50,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello ??"},
            {"role": "assistant", "content": None, "tool_calls": [called("a", "task_list", '{"limit": 5}')]},
            {"role": "tool", "tool_call_id": "a", "content": '{"outcome": "done"}'},
            {"role": "assistant", "content": "Nothing.", "tool_calls": [called("b", "x", "{}")]},
            {"role": "tool", "tool_call_id": "b", "content": "{}"},
            {"role": "assistant", "content": "Done."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "task_list", "description": "Lists tasks.", "parameters": SCHEMA},
            }
        ],
    }
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert second.body.keys() == {"model", "stream", "stream_options", "messages"}
