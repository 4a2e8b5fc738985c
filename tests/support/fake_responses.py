"""A fake model's turn in the words of the Responses API, and what that API refuses of a conversation passed back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import orjson

from tests.support.fake_turns import Call, HttpError, Json, Turn, call_id, http_error, pieces, tokens

_ENDED = {"length": "max_output_tokens", "content_filter": "content_filter"}


def refusal(body: Json, sealed: set[str]) -> HttpError | None:
    """Why the request is refused, if it is; `sealed` are the encrypted contents that this server gave out itself."""
    if body.get("previous_response_id") is not None:
        return http_error(400, "Previous response not found.", code="previous_response_not_found")
    told = body.get("input")
    given = cast("list[Json]", told) if isinstance(told, list) else []
    for said in (
        _unsealed(given, sealed, stored=body.get("store") is not False),
        _unpaired(given),
        _leads_nowhere(given),
    ):
        if said is not None:
            return said
    strict = [tool for tool in cast("list[Json]", body.get("tools", [])) if tool.get("strict") is not False]
    return http_error(400, "Invalid schema: 'required' must name every key.", code="invalid_schema") if strict else None


def _unsealed(given: Sequence[Json], sealed: set[str], *, stored: bool) -> HttpError | None:
    for item in given:
        if item.get("type") != "reasoning":
            continue
        if "encrypted_content" not in item and not stored:
            words = f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false."
            return http_error(404, words, code=None)
        if item.get("encrypted_content") not in sealed:
            words = f"The encrypted content for item {item.get('id')} could not be verified."
            return http_error(400, words, code="invalid_encrypted_content")
        if unknown := item.keys() - {"type", "id", "summary", "content", "encrypted_content"}:
            return http_error(400, f"Unknown parameter: 'input[0].{min(unknown)}'.", code="unknown_parameter")
    return None


def _unpaired(given: Sequence[Json]) -> HttpError | None:
    asked = [item.get("call_id") for item in given if item.get("type") == "function_call"]
    told = [item.get("call_id") for item in given if item.get("type") == "function_call_output"]
    if lacking := set(asked) - set(told):
        return http_error(400, f"No tool output found for function call {min(map(str, lacking))}.", code=None)
    if unasked := set(told) - set(asked):
        words = f"No tool call found for function call output with call_id {min(map(str, unasked))}."
        return http_error(400, words, code=None)
    return None


def _leads_nowhere(given: Sequence[Json]) -> HttpError | None:
    for item, following in zip(given, [*given[1:], {}], strict=True):
        leads = following.get("role") == "assistant" or following.get("type") in ("function_call", "reasoning")
        if item.get("type") == "reasoning" and not leads:
            words = f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
            return http_error(400, words, code=None)
    return None


def frames(turn: Turn) -> Iterator[bytes]:
    """The turn's events as bytes, those that always come together in one, as far as they are sent at all."""
    if turn.body is not None:
        yield turn.body
        return
    numbered = _Numbered(turn)
    told = [numbered.bytes_of(events) for events in _frames(turn)]
    yield from told[: turn.stop_after]
    if turn.stop_after is not None and turn.then == "error":
        yield numbered.bytes_of([{"type": "error", "param": None, "code": turn.error.get("type"), **_message(turn)}])
    if turn.stop_after is not None and turn.then == "failed":
        error = {"code": turn.error.get("type"), **_message(turn)}
        yield numbered.bytes_of([_response_event(turn, "failed", error=error)])


class _Numbered:
    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._next = 0

    def bytes_of(self, events: Sequence[Json]) -> bytes:
        return b"".join(map(self._one, events))

    def _one(self, event: Json) -> bytes:
        kind, whole_event = cast("str", event["type"]), {**event, "sequence_number": self._next, **self._turn.extra}
        self._next += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(whole_event))


def _frames(turn: Turn) -> Iterator[list[Json]]:
    output = list(_items(turn))
    yield [_response_event(turn, "created"), _response_event(turn, "in_progress")]
    held: list[Json] = []
    for index, item in enumerate(output):
        for frame in _item_frames(turn, index, item):
            yield [*held, *frame]
            held = []
        held = [{"type": "response.output_item.done", "output_index": index, "item": item}]
    ending = [] if turn.finish_reason == "" else [_end(turn, output)]
    if held or ending:
        yield [*held, *ending]


def _item_frames(turn: Turn, index: int, item: Json) -> Iterator[list[Json]]:
    begun: Json = {"type": "response.output_item.added", "output_index": index, "item": _begun(item)}
    place: Json = {"item_id": item["id"], "output_index": index}
    match item["type"]:
        case "message":
            part: Json = {"type": "response.content_part.added", "content_index": 0, "part": _part(turn, ""), **place}
            word = "response.refusal.delta" if turn.refusal else "response.output_text.delta"
            first = [begun, part]
            for token in turn.refusal.split(" ") if turn.refusal else tokens(turn):
                yield [*first, {"type": word, "content_index": 0, "delta": token, **place}]
                first = []
        case "function_call":
            yield [begun]
            for piece in pieces(turn.calls[int(cast("str", item["id"]).removeprefix("fc_"))]):
                yield [{"type": "response.function_call_arguments.delta", "delta": piece, **place}]
            arguments = item["arguments"]
            yield [{"type": "response.function_call_arguments.done", "arguments": arguments, **place}]
        case _:
            yield [begun]


def _begun(item: Json) -> Json:
    """An item as it is announced: there, but empty."""
    empty: Mapping[str, object] = {"content": [], "arguments": "", "encrypted_content": "unfinished"}
    return {key: empty.get(key, value) for key, value in item.items()} | {"status": "in_progress"}


def _items(turn: Turn) -> Iterator[Json]:
    if turn.reasoning:
        yield {"type": "reasoning", "id": "rs_0", "summary": [], "encrypted_content": turn.reasoning, "status": None}
    if turn.text or turn.refusal or turn.tokens:
        words = turn.refusal.replace(" ", "") if turn.refusal else "".join(tokens(turn))
        said: Json = {"type": "message", "id": "msg_0", "role": "assistant", "status": "completed"}
        yield said | {"content": [_part(turn, words)]}
    for index, call in enumerate(turn.calls):
        yield _call(index, call)


def _call(index: int, call: Call) -> Json:
    named: Json = {"id": f"fc_{index}", "call_id": call_id(index, call), "name": call.name, "arguments": call.arguments}
    return {"type": "function_call", "status": "completed", **named}


def _part(turn: Turn, words: str) -> Json:
    if turn.refusal:
        return {"type": "refusal", "refusal": words}
    return {"type": "output_text", "text": words, "annotations": [], "logprobs": []}


def _end(turn: Turn, output: Sequence[Json]) -> Json:
    why = _ENDED.get(turn.finish_reason or "")
    details = {"incomplete_details": {"reason": why}} if why else {}
    return _response_event(turn, "incomplete" if why else "completed", output=output, usage=_usage(turn), **details)


def _response_event(turn: Turn, status: str, **told: object) -> Json:
    shown = "in_progress" if status == "created" else status
    return {"type": f"response.{status}", "response": _response(turn, shown, **told)}


def _response(turn: Turn, status: str, **told: object) -> Json:
    empty: Json = {"output": [], "usage": None, "error": None, "incomplete_details": None}
    return {"id": "resp_1", "object": "response", "created_at": 1, "model": "fake", "status": status, **empty, **told}


def _usage(turn: Turn) -> Json | None:
    if turn.usage is None:
        return None
    sent, received = turn.usage
    told: Json = {"input_tokens": sent, "output_tokens": received, "total_tokens": sent + received}
    return told if turn.cached is None else told | {"input_tokens_details": {"cached_tokens": turn.cached}}


def _message(turn: Turn) -> Json:
    return {"message": turn.error.get("message")}
