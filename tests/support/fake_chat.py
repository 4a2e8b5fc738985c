"""A fake model's turn in the words of the Chat Completions API."""

from collections.abc import Iterator

import orjson

from tests.support.fake_turns import Call, Json, Turn, call_id, pieces, tokens


def frames(turn: Turn) -> Iterator[bytes]:
    """The turn's server-sent events as bytes, as far as they are sent at all."""
    if turn.body is not None:
        yield turn.body
        return
    events = list(_events(turn))
    for event in events[: turn.stop_after]:
        yield b"data: %b\n\n" % event
    if turn.stop_after is not None and turn.then == "error":
        yield b"data: %b\n\n" % orjson.dumps({"error": turn.error})


def _events(turn: Turn) -> Iterator[bytes]:
    yield _delta(turn, {"role": "assistant", "content": ""})
    for token in tokens(turn):
        yield _delta(turn, {"content": token})
    for token in turn.refusal.split(" ") if turn.refusal else ():
        yield _delta(turn, {"refusal": token})
    for index, call in enumerate(turn.calls):
        yield from _call_events(turn, index, call)
    if (reason := _finish_reason(turn)) is not None:
        yield _delta(turn, {}, finish_reason=reason)
    if turn.usage is not None:
        yield orjson.dumps(_chunk(turn) | {"choices": [], "usage": _usage(turn, turn.usage)})
    if turn.done_line:
        yield b"[DONE]"


def _call_events(turn: Turn, index: int, call: Call) -> Iterator[bytes]:
    function: Json = {"name": call.name, "arguments": ""}
    begin: Json = {"index": index, "id": call_id(index, call), "type": "function", "function": function}
    yield _delta(turn, {"tool_calls": [begin]})
    for piece in pieces(call):
        yield _delta(turn, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


def _finish_reason(turn: Turn) -> str | None:
    if turn.finish_reason is not None:
        return turn.finish_reason or None
    return "tool_calls" if turn.calls else "stop"


def _chunk(turn: Turn) -> Json:
    head: Json = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "usage": None}
    return head | turn.extra


def _delta(turn: Turn, delta: Json, *, finish_reason: str | None = None) -> bytes:
    choice: Json = {"index": 0, "delta": delta | turn.extra, "finish_reason": finish_reason, "logprobs": None}
    return orjson.dumps(_chunk(turn) | {"choices": [choice]})


def _usage(turn: Turn, usage: tuple[int, int]) -> Json:
    sent, received = usage
    told: Json = {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received}
    return told if turn.cached is None else told | {"prompt_tokens_details": {"cached_tokens": turn.cached}}
