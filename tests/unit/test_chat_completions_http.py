"""The Chat Completions provider against a real HTTP server that answers, dawdles, breaks and hangs up on demand."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from subprocess import run
from typing import cast

import orjson
import pytest

from agent.model import (
    AssistantMessage,
    CallRequested,
    Finished,
    Message,
    ModelEvent,
    ModelFailed,
    ModelRequest,
    SystemMessage,
    TextDelta,
    ToolCall,
    ToolOffer,
    ToolResultMessage,
    Usage,
    UserMessage,
)
from agent.providers.chat_completions import ChatCompletionsModel, Patience, Surroundings
from tests.support.fake_openai import HTTP_ERRORS, LEAKED_KEY, Answer, Call, FakeOpenAI, HangUp, Turn

Json = dict[str, object]
KEY = "sk-test-0123456789abcdef"


class Stage:
    """A fake server with the model under test on it, and the pauses that the model took between its tries."""

    def __init__(self, fake: FakeOpenAI, model: ChatCompletionsModel, pauses: list[float]) -> None:
        self.fake = fake
        self.model = model
        self.pauses = pauses

    async def events(self, request: ModelRequest | None = None) -> list[ModelEvent]:
        return [event async for event in self.model.stream(request or ask())]

    async def failure(self) -> ModelFailed:
        return (await self.broken_turn())[1]

    async def broken_turn(self) -> tuple[list[ModelEvent], ModelFailed]:
        """What the model said until it failed, and how it failed."""
        said: list[ModelEvent] = []
        try:
            async for event in self.model.stream(ask()):
                said.append(event)  # noqa: PERF401 - a comprehension would lose what came before the failure
        except ModelFailed as failed:
            return said, failed
        pytest.fail(f"the turn did not fail, it said {said}")


@pytest.fixture
async def stages() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def play(stack: AsyncExitStack, script: Sequence[Answer], patience: Patience | None = None) -> Stage:
    fake = await stack.enter_async_context(FakeOpenAI(script))
    return await on(stack, fake, fake.base_url, patience)


async def on(stack: AsyncExitStack, fake: FakeOpenAI, base_url: str, patience: Patience | None = None) -> Stage:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    model = ChatCompletionsModel(
        name="fake-1",
        context_window=8192,
        api_key=KEY,
        base_url=base_url,
        patience=patience,
        surroundings=Surroundings(sleep=pause, chance=lambda: 0.0),
    )
    stack.push_async_callback(model.close)
    return Stage(fake, model, pauses)


def ask(*messages: Message, tools: Sequence[ToolOffer] = ()) -> ModelRequest:
    return ModelRequest(messages=messages or (UserMessage(text="Hello?"),), tools=tools)


def text_of(events: Sequence[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls_of(events: Sequence[ModelEvent]) -> list[ToolCall]:
    return [event.call for event in events if isinstance(event, CallRequested)]


async def test_text_streams_and_ends_with_usage(stages: AsyncExitStack) -> None:
    stage = await play(stages, [Turn(text="Grüße aus 東京 👋", usage=(12, 5))])
    events = await stage.events()
    assert text_of(events) == "Grüße aus 東京 👋"
    assert events[-2:] == [Usage(input_tokens=12, output_tokens=5), Finished(reason="stop")]


async def test_what_one_read_brought_is_one_event(stages: AsyncExitStack) -> None:
    stage = await play(stages, [Turn(text="word " * 50)])
    events = await stage.events()
    assert [type(event) for event in events] == [TextDelta, Usage, Finished]


@pytest.mark.parametrize("write_bytes", [1, 7, 64])
async def test_bytes_cut_anywhere_give_the_same_turn(stages: AsyncExitStack, write_bytes: int) -> None:
    turn = Turn(
        text="Ein Grüßchen 👋 an alle.",
        calls=(
            Call(name="knowledge_search", arguments='{"query": "Prüfung 世界"}', id="a"),
            Call(name="task_list", id="b", pieces=("{", "}")),
        ),
        write_bytes=write_bytes,
        extra={"unknown": {"deep": [1, None]}},
    )
    stage = await play(stages, [turn])
    events = await stage.events()
    assert text_of(events) == "Ein Grüßchen 👋 an alle."
    assert calls_of(events) == [
        ToolCall(provider_id="a", name="knowledge_search", arguments='{"query": "Prüfung 世界"}'),
        ToolCall(provider_id="b", name="task_list", arguments="{}"),
    ]
    assert events[-1] == Finished(reason="calls")


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
async def test_servers_that_nearly_follow_the_api_are_understood(stages: AsyncExitStack, turn: Turn) -> None:
    events = await (await play(stages, [turn])).events()
    assert (text_of(events), events[-1]) == ("Hi there", Finished(reason="stop"))


async def test_refusal_and_length_are_told_apart_from_an_answer(stages: AsyncExitStack) -> None:
    stage = await play(
        stages,
        [
            Turn(refusal="I cannot."),
            Turn(text="As I was", finish_reason="content_filter"),
            Turn(text="As I was", finish_reason="length"),
        ],
    )
    assert [(await stage.events())[-1] for _ in range(3)] == [
        Finished(reason="refusal"),
        Finished(reason="refusal"),
        Finished(reason="length"),
    ]


async def test_the_request_carries_messages_tools_key_and_nothing_empty(stages: AsyncExitStack) -> None:
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


async def test_a_connection_is_used_again_for_the_next_turn(stages: AsyncExitStack) -> None:
    stage = await play(stages, [Turn(text="Hi")] * 3)
    for _ in range(3):
        await stage.events()
    assert stage.fake.connections == 1


@pytest.mark.parametrize("error", ["rate_limited", "bad_gateway", "overloaded", "gateway_timeout"])
async def test_a_passing_error_before_the_first_token_is_tried_again(stages: AsyncExitStack, error: str) -> None:
    stage = await play(stages, [HTTP_ERRORS[error], HTTP_ERRORS[error], Turn(text="Hi")])
    assert text_of(await stage.events()) == "Hi"
    assert stage.pauses == [0.5, 1.0]


async def test_a_hang_up_before_the_answer_is_tried_again(stages: AsyncExitStack) -> None:
    stage = await play(stages, [HangUp(), Turn(text="Hi", stop_after=1), Turn(text="Hi")])
    assert text_of(await stage.events()) == "Hi"
    assert len(stage.fake.requests) == 3


async def test_the_pause_is_at_least_what_the_server_asks_for(stages: AsyncExitStack) -> None:
    stage = await play(stages, [HTTP_ERRORS["rate_limited_for_2_s"], Turn(text="Hi")])
    await stage.events()
    assert stage.pauses == [2.125]


async def test_no_pause_goes_past_the_readers_patience(stages: AsyncExitStack) -> None:
    stage = await play(stages, [HTTP_ERRORS["rate_limited_for_2_s"]], Patience(first_token_s=1.9))
    assert (await stage.failure()).code == "model_unavailable"
    assert stage.pauses == []


async def test_the_tries_are_bounded(stages: AsyncExitStack) -> None:
    stage = await play(stages, [HTTP_ERRORS["overloaded"]] * 9)
    failed = await stage.failure()
    assert (failed.code, failed.retryable) == ("model_unavailable", True)
    assert len(stage.fake.requests) == 4
    assert stage.pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        ("internal", "model_unavailable", True),
        ("quota_used_up", "model_rejected", False),
        ("bad_key", "model_rejected", False),
        ("forbidden", "model_rejected", False),
        ("unknown_model", "model_rejected", False),
        ("bad_request", "model_rejected", False),
        ("moved", "model_rejected", False),
        ("context_too_long", "context_too_long", False),
        ("context_too_long_without_code", "context_too_long", False),
        ("body_too_large", "context_too_long", False),
    ],
)
async def test_a_lasting_error_is_not_tried_again(
    stages: AsyncExitStack, error: str, code: str, retryable: bool
) -> None:
    stage = await play(stages, [HTTP_ERRORS[error]])
    failed = await stage.failure()
    assert (failed.code, failed.retryable) == (code, retryable)
    assert len(stage.fake.requests) == 1


async def test_a_key_in_an_error_reaches_neither_words_nor_cause(stages: AsyncExitStack) -> None:
    failed = await (await play(stages, [HTTP_ERRORS["bad_key"]])).failure()
    told = f"{failed} {failed.message} {failed!r} {failed.__cause__!r} {failed.__cause__} {vars(failed.__cause__)}"
    assert LEAKED_KEY not in told
    assert KEY not in told
    assert failed.__cause__ is not None
    assert failed.__cause__.__cause__ is None
    assert failed.__cause__.__suppress_context__


@pytest.mark.parametrize("then", ["cut", "error"])
async def test_a_break_after_the_first_token_is_an_interruption_and_not_tried_again(
    stages: AsyncExitStack, then: str
) -> None:
    broken = Turn(text="Hello to all", stop_after=2, then="cut" if then == "cut" else "error")
    stage = await play(stages, [broken, Turn(text="never")])
    said, failed = await stage.broken_turn()
    assert (failed.code, failed.retryable) == ("model_interrupted", True)
    assert said == [TextDelta(text="Hello ")]
    assert len(stage.fake.requests) == 1


async def test_a_break_amid_a_call_is_not_tried_again(stages: AsyncExitStack) -> None:
    stage = await play(stages, [Turn(calls=(Call(name="task_list", id="a"),), stop_after=2), Turn(text="never")])
    assert (await stage.failure()).code == "model_interrupted"
    assert len(stage.fake.requests) == 1


async def test_an_error_as_data_before_the_first_token_is_tried_again(stages: AsyncExitStack) -> None:
    stage = await play(stages, [Turn(text="x", stop_after=0, then="error"), Turn(text="Hi")])
    assert text_of(await stage.events()) == "Hi"


async def test_a_break_after_the_answer_does_no_harm(stages: AsyncExitStack) -> None:
    for then in ("cut", "error"):
        turn = Turn(text="Hi", stop_after=3, then="cut" if then == "cut" else "error")
        events = await (await play(stages, [turn])).events()
        assert events == [TextDelta(text="Hi"), Finished(reason="stop")]


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(Turn(body=b"<html>Sign in</html>", media_type="text/html"), id="a page"),
        pytest.param(Turn(body=b"data: {\n\n"), id="half a chunk"),
        pytest.param(Turn(body=b"sign in", media_type="application/json"), id="a plain body"),
    ],
)
async def test_an_unreadable_answer_is_named_so(stages: AsyncExitStack, turn: Turn) -> None:
    failed = await (await play(stages, [turn] * 4)).failure()
    assert (failed.code, failed.retryable) == ("model_protocol", True)


SHORT = Patience(connect_s=1.0, first_token_s=0.08, stall_s=0.08, farewell_s=0.03)


@pytest.mark.parametrize("late_headers", [True, False])
async def test_a_late_first_token_is_a_timeout_and_hangs_up(stages: AsyncExitStack, late_headers: bool) -> None:
    stage = await play(stages, [Turn(text="Hi", first_token_s=60, late_headers=late_headers)], SHORT)
    failed = await stage.failure()
    assert (failed.code, failed.retryable) == ("model_timeout", True)
    await asyncio.wait_for(stage.fake.requests[0].gone.wait(), 5)


async def test_a_stall_between_chunks_is_a_timeout_after_what_was_said(stages: AsyncExitStack) -> None:
    stage = await play(stages, [Turn(text="Hello to all", stop_after=2, then="stall")], SHORT)
    said, failed = await stage.broken_turn()
    assert (failed.code, said) == ("model_timeout", [TextDelta(text="Hello ")])


async def test_comments_do_not_keep_a_dead_stream_alive(stages: AsyncExitStack) -> None:
    pings = Turn(body=b": ping\n\n" * 100_000, write_bytes=9, per_token_s=0.01)
    assert (await (await play(stages, [pings], SHORT)).failure()).code == "model_timeout"


async def test_a_server_that_forgets_to_end_the_body_delays_the_turn_but_a_moment(stages: AsyncExitStack) -> None:
    stage = await play(stages, [Turn(text="Hi", stop_after=5, then="stall")], SHORT)
    assert (await stage.events())[-1] == Finished(reason="stop")


async def test_closing_the_iterator_hangs_up_on_the_provider(stages: AsyncExitStack) -> None:
    stage = await play(stages, [Turn(text="Hello to all", stop_after=2, then="stall"), Turn(text="Hi")])
    events = stage.model.stream(ask())
    assert await anext(events) == TextDelta(text="Hello ")
    await events.aclose()
    await asyncio.wait_for(stage.fake.requests[0].gone.wait(), 5)
    assert text_of(await stage.events()) == "Hi"


@pytest.mark.parametrize(
    "turn", [Turn(text="a b", stop_after=2, then="stall"), Turn(first_token_s=60, late_headers=True)]
)
async def test_cancelling_the_reader_hangs_up_on_the_provider(stages: AsyncExitStack, turn: Turn) -> None:
    stage = await play(stages, [turn])
    reading = asyncio.create_task(stage.events())
    await asyncio.wait_for(stage.fake.asked.wait(), 5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(stage.fake.requests[0].gone.wait(), 5)


async def test_a_server_that_is_not_there_is_unavailable(stages: AsyncExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = cast("int", bound.getsockname()[1])
    stage = await on(stages, FakeOpenAI(), f"http://127.0.0.1:{port}/v1")
    failed = await stage.failure()
    assert (failed.code, failed.retryable, len(stage.pauses)) == ("model_unavailable", True, 3)


async def test_a_server_that_speaks_no_http_is_unavailable(stages: AsyncExitStack) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    stages.callback(server.close)
    stage = await on(stages, FakeOpenAI(), f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    assert (await stage.failure()).code == "model_unavailable"


async def test_a_base_url_that_is_none_fails_as_a_model_and_not_as_a_crash(stages: AsyncExitStack) -> None:
    for base_url in ("not a url", "ftp://127.0.0.1/v1"):
        failed = await (await on(stages, FakeOpenAI(), base_url)).failure()
        assert failed.code == "model_unavailable"


async def test_parallel_turns_load_the_sdk_once_and_do_not_mix(stages: AsyncExitStack) -> None:
    def think(body: Json) -> Turn:
        messages = cast("list[dict[str, str]]", body["messages"])
        return Turn(text=f"You said {messages[-1]['content']}", write_bytes=11)

    fake = await stages.enter_async_context(FakeOpenAI(brain=think))
    stage = await on(stages, fake, fake.base_url)
    await stage.model.warm_up()
    answers = await asyncio.gather(*(stage.events(ask(UserMessage(text=f"n{at}"))) for at in range(8)))
    assert [text_of(events) for events in answers] == [f"You said n{at}" for at in range(8)]


def test_importing_the_provider_does_not_load_the_sdk() -> None:
    code = "import sys, agent.providers.chat_completions; assert not {'openai', 'aiohttp', 'httpx2'} & set(sys.modules)"
    run([sys.executable, "-c", code], check=True, timeout=60)


async def test_the_fake_answers_without_streaming_too(stages: AsyncExitStack) -> None:
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


@pytest.mark.parametrize(("timeout_s", "connect_s"), [(120.0, 5.0), (2.0, 2.0)])
def test_operators_timeout_bounds_every_wait_that_comes_before_words(timeout_s: float, connect_s: float) -> None:
    patience = Patience.of(timeout_s)
    assert (patience.connect_s, patience.first_token_s, patience.stall_s) == (connect_s, timeout_s, timeout_s)
