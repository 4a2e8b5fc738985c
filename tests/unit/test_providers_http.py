"""Both providers against a real HTTP server that answers, dawdles, breaks and hangs up on demand."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from subprocess import run
from typing import cast

import pytest

from agent.model import Finished, TextDelta, ToolCall, Usage, UserMessage
from agent.providers.patience import Patience
from tests.support.fake_openai import FakeOpenAI, words_of
from tests.support.fake_turns import HTTP_ERRORS, LEAKED_KEY, Call, HangUp, Json, Turn
from tests.support.model_stages import KEY, Api, Stages, ask, calls_of, on, play, text_of


@pytest.fixture(params=["chat_completions", "responses"])
async def stages(request: pytest.FixtureRequest) -> AsyncIterator[Stages]:
    async with Stages(cast("Api", request.param)) as stack:
        yield stack


async def test_text_streams_and_ends_with_usage(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Grüße aus 東京 👋", usage=(12, 5), cached=8)])
    events = await stage.events()
    assert text_of(events) == "Grüße aus 東京 👋"
    assert events[-2:] == [Usage(input_tokens=12, output_tokens=5, cached_tokens=8), Finished(reason="stop")]


async def test_what_one_read_brought_is_one_event(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="word " * 50)])
    events = await stage.events()
    assert [type(event) for event in events] == [TextDelta, Usage, Finished]


@pytest.mark.parametrize("write_bytes", [1, 7, 64])
async def test_bytes_cut_anywhere_give_the_same_turn(stages: Stages, write_bytes: int) -> None:
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


async def test_refusal_filter_and_length_are_told_apart_from_an_answer(stages: Stages) -> None:
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
        Finished(reason="filtered"),
        Finished(reason="length"),
    ]


async def test_a_connection_is_used_again_for_the_next_turn(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Hi")] * 3)
    for _ in range(3):
        await stage.events()
    assert stage.fake.connections == 1


@pytest.mark.parametrize("error", ["rate_limited", "internal", "bad_gateway", "overloaded", "gateway_timeout"])
async def test_a_passing_error_before_the_first_token_is_tried_again(stages: Stages, error: str) -> None:
    stage = await play(stages, [HTTP_ERRORS[error], HTTP_ERRORS[error], Turn(text="Hi")])
    assert text_of(await stage.events()) == "Hi"
    assert stage.pauses == [0.5, 1.0]


async def test_a_hang_up_before_the_answer_is_tried_again(stages: Stages) -> None:
    stage = await play(stages, [HangUp(), Turn(text="Hi", stop_after=1), Turn(text="Hi")])
    assert text_of(await stage.events()) == "Hi"
    assert len(stage.fake.requests) == 3


async def test_the_pause_is_at_least_what_the_server_asks_for(stages: Stages) -> None:
    stage = await play(stages, [HTTP_ERRORS["rate_limited_for_2_s"], Turn(text="Hi")])
    await stage.events()
    assert stage.pauses == [2.125]


async def test_no_pause_goes_past_the_readers_patience(stages: Stages) -> None:
    stage = await play(stages, [HTTP_ERRORS["rate_limited_for_2_s"]], Patience(first_token_s=1.9))
    assert (await stage.failure()).code == "model_unavailable"
    assert stage.pauses == []


async def test_the_tries_are_bounded(stages: Stages) -> None:
    stage = await play(stages, [HTTP_ERRORS["overloaded"]] * 9)
    failed = await stage.failure()
    assert (failed.code, failed.retryable) == ("model_unavailable", True)
    assert len(stage.fake.requests) == 4
    assert stage.pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
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
async def test_a_lasting_error_is_not_tried_again(stages: Stages, error: str, code: str, retryable: bool) -> None:
    stage = await play(stages, [HTTP_ERRORS[error]])
    failed = await stage.failure()
    assert (failed.code, failed.retryable) == (code, retryable)
    assert len(stage.fake.requests) == 1


async def test_a_key_in_an_error_reaches_neither_words_nor_cause(stages: Stages) -> None:
    failed = await (await play(stages, [HTTP_ERRORS["bad_key"]])).failure()
    told = f"{failed} {failed.message} {failed!r} {failed.__cause__!r} {failed.__cause__} {vars(failed.__cause__)}"
    assert LEAKED_KEY not in told
    assert KEY not in told
    assert failed.__cause__ is not None
    assert failed.__cause__.__cause__ is None
    assert failed.__cause__.__suppress_context__


@pytest.mark.parametrize("then", ["cut", "error"])
async def test_a_break_after_the_first_token_is_an_interruption_and_not_tried_again(stages: Stages, then: str) -> None:
    broken = Turn(text="Hello to all", stop_after=2, then="cut" if then == "cut" else "error")
    stage = await play(stages, [broken, Turn(text="never")])
    said, failed = await stage.broken_turn()
    assert (failed.code, failed.retryable) == ("model_interrupted", True)
    assert said == [TextDelta(text="Hello ")]
    assert len(stage.fake.requests) == 1


async def test_a_break_amid_a_call_is_not_tried_again(stages: Stages) -> None:
    stage = await play(stages, [Turn(calls=(Call(name="task_list", id="a"),), stop_after=2), Turn(text="never")])
    assert (await stage.failure()).code == "model_interrupted"
    assert len(stage.fake.requests) == 1


async def test_an_error_as_data_before_the_first_token_is_tried_again(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="x", stop_after=0, then="error"), Turn(text="Hi")])
    assert text_of(await stage.events()) == "Hi"


async def test_a_break_after_the_answer_does_no_harm(stages: Stages) -> None:
    for then in ("cut", "error"):
        turn = Turn(text="Hi", stop_after=3, then="cut" if then == "cut" else "error")
        events = await (await play(stages, [turn])).events()
        # The Responses API says the usage with the end, Chat Completions after it.
        told = [event for event in events if not isinstance(event, Usage)]
        assert told == [TextDelta(text="Hi"), Finished(reason="stop")]


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(Turn(body=b"<html>Sign in</html>", media_type="text/html"), id="a page"),
        pytest.param(Turn(body=b"data: {\n\n"), id="half a chunk"),
        pytest.param(Turn(body=b"sign in", media_type="application/json"), id="a plain body"),
    ],
)
async def test_an_unreadable_answer_is_named_so(stages: Stages, turn: Turn) -> None:
    failed = await (await play(stages, [turn] * 4)).failure()
    assert (failed.code, failed.retryable) == ("model_protocol", True)


SHORT = Patience(connect_s=1.0, first_token_s=0.08, stall_s=0.08, farewell_s=0.03)


@pytest.mark.parametrize("late_headers", [True, False])
async def test_a_late_first_token_is_a_timeout_and_hangs_up(stages: Stages, late_headers: bool) -> None:
    stage = await play(stages, [Turn(text="Hi", first_token_s=60, late_headers=late_headers)], SHORT)
    failed = await stage.failure()
    assert (failed.code, failed.retryable) == ("model_timeout", True)
    await asyncio.wait_for(stage.fake.requests[0].gone.wait(), 5)


async def test_a_stall_between_chunks_is_a_timeout_after_what_was_said(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Hello to all", stop_after=2, then="stall")], SHORT)
    said, failed = await stage.broken_turn()
    assert (failed.code, said) == ("model_timeout", [TextDelta(text="Hello ")])


async def test_comments_do_not_keep_a_dead_stream_alive(stages: Stages) -> None:
    pings = Turn(body=b": ping\n\n" * 100_000, write_bytes=9, per_token_s=0.01)
    assert (await (await play(stages, [pings], SHORT)).failure()).code == "model_timeout"


async def test_a_server_that_forgets_to_end_the_body_delays_the_turn_but_a_moment(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Hi", stop_after=5, then="stall")], SHORT)
    assert (await stage.events())[-1] == Finished(reason="stop")


async def test_closing_the_iterator_hangs_up_on_the_provider(stages: Stages) -> None:
    stage = await play(stages, [Turn(text="Hello to all", stop_after=2, then="stall"), Turn(text="Hi")])
    events = stage.model.stream(ask())
    assert await anext(events) == TextDelta(text="Hello ")
    await events.aclose()
    await asyncio.wait_for(stage.fake.requests[0].gone.wait(), 5)
    assert text_of(await stage.events()) == "Hi"


@pytest.mark.parametrize(
    "turn", [Turn(text="a b", stop_after=2, then="stall"), Turn(first_token_s=60, late_headers=True)]
)
async def test_cancelling_the_reader_hangs_up_on_the_provider(stages: Stages, turn: Turn) -> None:
    stage = await play(stages, [turn])
    reading = asyncio.create_task(stage.events())
    await asyncio.wait_for(stage.fake.asked.wait(), 5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(stage.fake.requests[0].gone.wait(), 5)


async def test_a_server_that_is_not_there_is_unavailable(stages: Stages) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = cast("int", bound.getsockname()[1])
    stage = await on(stages, FakeOpenAI(), f"http://127.0.0.1:{port}/v1")
    failed = await stage.failure()
    assert (failed.code, failed.retryable, len(stage.pauses)) == ("model_unavailable", True, 3)


async def test_a_server_that_speaks_no_http_is_unavailable(stages: Stages) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    stages.callback(server.close)
    stage = await on(stages, FakeOpenAI(), f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    assert (await stage.failure()).code == "model_unavailable"


async def test_a_base_url_that_is_none_fails_as_a_model_and_not_as_a_crash(stages: Stages) -> None:
    for base_url in ("not a url", "ftp://127.0.0.1/v1"):
        failed = await (await on(stages, FakeOpenAI(), base_url)).failure()
        assert failed.code == "model_unavailable"


async def test_of_a_refusal_without_an_end_the_beginning_is_read_and_its_connection_closed(stages: Stages) -> None:
    hung_up = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"400\r\n" + b"no " * 341 + b"!\r\n")
                await writer.drain()
        hung_up.set()

    async with await asyncio.start_server(endless, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stage = await on(stages, FakeOpenAI(), f"http://127.0.0.1:{port}/v1")
        assert (await stage.failure()).code == "model_rejected"
        await hung_up.wait()


async def test_parallel_turns_load_the_sdk_once_and_do_not_mix(stages: Stages) -> None:
    def think(body: Json) -> Turn:
        return Turn(text=f"You said {words_of(body)}", write_bytes=11)

    fake = await stages.enter_async_context(FakeOpenAI(brain=think))
    stage = await on(stages, fake, fake.base_url)
    answers = await asyncio.gather(*(stage.events(ask(UserMessage(text=f"n{at}"))) for at in range(8)))
    assert [text_of(events) for events in answers] == [f"You said n{at}" for at in range(8)]


def test_importing_the_providers_does_not_load_the_sdk() -> None:
    imported = "import sys, agent.providers.chat_completions, agent.providers.responses"
    code = f"{imported}; assert not {{'openai', 'aiohttp', 'httpx2'}} & set(sys.modules)"
    run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(("timeout_s", "connect_s", "stall_s"), [(120.0, 5.0, 30.0), (2.0, 2.0, 2.0)])
def test_operators_timeout_bounds_every_wait(timeout_s: float, connect_s: float, stall_s: float) -> None:
    patience = Patience.of(timeout_s, 30.0)
    assert (patience.connect_s, patience.first_token_s, patience.stall_s) == (connect_s, timeout_s, stall_s)
