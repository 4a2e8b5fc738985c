"""What only Chat Completions has: its words, and the servers that nearly follow it."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from agent.model import (
    AssistantMessage,
    Finished,
    ModelRequest,
    SystemMessage,
    ToolCall,
    ToolOffer,
    ToolResultMessage,
    UserMessage,
)
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Call, Json, Turn
from tests.support.model_stages import KEY, Stages, ask, play, text_of


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
    schema: Json = {"type": "object", "properties": {}}
    asked = ask(
        SystemMessage(text="Be brief."),
        UserMessage(text="Hello \ud83d?"),
        AssistantMessage(text="", calls=(ToolCall(provider_id="a", name="task_list", arguments='{"limit": 5}'),)),
        ToolResultMessage(provider_id="a", name="task_list", text='{"outcome": "done"}'),
        AssistantMessage(text="Nothing.", calls=(ToolCall(provider_id="b", name="x", arguments='{"limit": '),)),
        ToolResultMessage(provider_id="b", name="x", text="{}"),
        AssistantMessage(text="Done."),
        tools=[ToolOffer(name="task_list", description="Lists tasks.", parameters=schema)],
    )
    await stage.events(ModelRequest(messages=asked.messages, tools=asked.tools, max_output_tokens=50))
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
                "function": {"name": "task_list", "description": "Lists tasks.", "parameters": schema},
            }
        ],
    }
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert second.body.keys() == {"model", "stream", "stream_options", "messages"}


async def test_the_fake_answers_without_streaming_too(stages: Stages) -> None:
    fake = await stages.enter_async_context(FakeOpenAI([Turn(text="Hi", calls=(Call(name="task_list"),))]))
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    body = orjson.dumps({"model": "m", "messages": []})
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    message = orjson.loads(await reader.readexactly(size))["choices"][0]["message"]
    assert (message["content"], message["tool_calls"][0]["function"]["name"]) == ("Hi", "task_list")
    writer.close()
    await writer.wait_closed()
