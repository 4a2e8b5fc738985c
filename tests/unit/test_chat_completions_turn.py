"""A turn folded from the chunks of servers that follow the API, and of those that nearly do."""

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import CallRequested, Finished, ModelEvent, ToolCall, Usage
from agent.providers.chat_turn import ChatTurn
from agent.providers.faults import ProviderFault

Json = dict[str, object]


def chunk(delta: Json, *, finish_reason: str | None = None, **more: object) -> bytes:
    return orjson.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **more})


def fragment(*, arguments: object = None, name: str | None = None, **more: object) -> bytes:
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not None}
    return chunk({"tool_calls": [{"function": function, **more}]})


def folded(*payloads: bytes) -> tuple[str, list[ModelEvent]]:
    ids = (f"made_{number}" for number in itertools.count())
    turn = ChatTurn(lambda: next(ids))
    said = "".join(turn.read([payload]) for payload in payloads)
    return said, turn.end()


def calls_of(*fragments: bytes) -> list[ToolCall]:
    _, events = folded(*fragments, chunk({}, finish_reason="tool_calls"), b"[DONE]")
    assert events[-1] == Finished(reason="calls")
    return [event.call for event in events if isinstance(event, CallRequested)]


def call(provider_id: str, name: str, arguments: str) -> ToolCall:
    return ToolCall(provider_id=provider_id, name=name, arguments=arguments)


A, B = call("a", "task_list", '{"limit": 5}'), call("b", "task_get", '{"task_id": "7"}')


def test_text_of_one_read_is_joined_and_usage_comes_before_the_end() -> None:
    turn = ChatTurn(str)
    assert turn.read([chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({"content": None})]) == "Hello"
    assert turn.read([chunk({}, finish_reason="stop")]) == ""
    assert turn.read([orjson.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})]) == ""
    assert turn.read([b"[DONE]", chunk({"content": "after the end"})]) == ""
    assert turn.end() == [Usage(input_tokens=3, output_tokens=2), Finished(reason="stop")]


@given(st.data())
def test_arguments_and_name_cut_anywhere_are_put_together(data: st.DataObject) -> None:
    arguments = orjson.dumps(
        data.draw(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.booleans()))
    )
    text = arguments.decode()
    at = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pieces = [text[begin:end] for begin, end in zip([0, *at], [*at, len(text)], strict=True)]
    assert calls_of(
        fragment(index=0, id="a", name="knowledge_"),
        fragment(index=0, name="search", arguments=""),
        *(fragment(index=0, arguments=piece) for piece in pieces),
    ) == [call("a", "knowledge_search", text)]


@pytest.mark.parametrize(
    "fragments",
    [
        pytest.param(
            [
                fragment(index=0, id="a", name="task_list", arguments=""),
                fragment(index=1, id="b", name="task_get", arguments='{"task_id"'),
                fragment(index=0, arguments='{"limit": 5}'),
                fragment(index=1, arguments=': "7"}'),
            ],
            id="interleaved by index",
        ),
        pytest.param(
            [
                fragment(id="a", name="task_list", arguments='{"limit": 5}'),
                fragment(id="b", name="task_get", arguments='{"task_id": "7"}'),
            ],
            id="whole in one chunk each, no index",
        ),
        pytest.param(
            [
                fragment(index=0, id="a", name="task_list", arguments='{"limit": 5}'),
                fragment(index=0, id="b", name="task_get", arguments='{"task_id": "7"}'),
            ],
            id="index 0 for all",
        ),
        pytest.param(
            [
                fragment(id="a", name="task_list", arguments='{"lim'),
                fragment(arguments='it": 5}'),
                fragment(id="b", name="task_get", arguments='{"task_id"'),
                fragment(arguments=': "7"}'),
            ],
            id="no index, id first",
        ),
        pytest.param(
            [
                fragment(index=0, id="a", name="task_list", arguments='{"lim'),
                fragment(index=0, id="a", name="task_list", arguments='it": 5}'),
                fragment(index=1, id="b", name="task_get", arguments='{"task_id"'),
                fragment(index=1, id="b", name="task_get", arguments=': "7"}'),
            ],
            id="id and name repeated",
        ),
        pytest.param(
            [
                fragment(index=0, id="a", name="task_list", arguments='{"lim'),
                fragment(index=0, id="x1", arguments='it": 5}'),
                fragment(index=1, id="b", name="task_get", arguments='{"task_id"'),
                fragment(index=1, id="x2", arguments=': "7"}'),
            ],
            id="a fresh id with each fragment",
        ),
        pytest.param(
            [
                fragment(id="a", name="task_list", arguments=""),
                fragment(index=0, arguments='{"limit": 5}'),
                fragment(index=1, id="b", name="task_get", arguments=""),
                fragment(index=1, arguments='{"task_id": "7"}'),
            ],
            id="index missing at first",
        ),
        pytest.param(
            [
                fragment(index=0, id="a", name="task_list", arguments='{"limit": 5}'),
                fragment(index=1, name="task_get", arguments=""),
                fragment(index=1, id="b", arguments='{"task_id": "7"}'),
            ],
            id="the id comes late",
        ),
    ],
)
def test_calls_are_told_apart(fragments: list[bytes]) -> None:
    assert calls_of(*fragments) == [A, B]


def test_calls_without_ids_or_with_the_same_get_ids_of_their_own() -> None:
    assert calls_of(
        fragment(index=0, name="task_list", arguments='{"limit": 5}'),
        fragment(index=1, id="b", name="task_get", arguments='{"task_id": "7"}'),
        fragment(index=2, id="b", name="task_get", arguments='{"task_id": "8"}'),
    ) == [call("made_0", "task_list", A.arguments), B, call("made_1", "task_get", '{"task_id": "8"}')]


def test_whole_calls_without_index_and_id_are_told_apart_by_their_ends() -> None:
    found = calls_of(
        fragment(name="task_get", arguments='{"task_id": "7"}'), fragment(name="task_get", arguments='{"task_id": "8"}')
    )
    assert [(one.name, one.arguments) for one in found] == [("task_get", B.arguments), ("task_get", '{"task_id": "8"}')]


def test_arguments_sent_as_an_object_or_not_at_all_are_json_text() -> None:
    assert [one.arguments for one in calls_of(fragment(index=0, id="a", name="x", arguments={"a": [1]}))] == [
        '{"a":[1]}'
    ]
    assert [one.arguments for one in calls_of(fragment(index=0, id="a", name="x"))] == ["{}"]


def test_arguments_that_are_no_json_are_handed_on_for_the_gate_to_refuse() -> None:
    assert [one.arguments for one in calls_of(fragment(index=0, id="a", name="x", arguments='{"a": '))] == ['{"a": ']


def test_a_call_without_a_name_is_unreadable() -> None:
    with pytest.raises(ProviderFault) as raised:
        calls_of(fragment(index=0, id="a", arguments="{}"))
    assert raised.value.kind == "protocol"


@pytest.mark.parametrize(
    ("reason", "finished"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "filtered"), ("eos", "stop"), ("tool_calls", "stop")],
)
def test_every_word_for_the_end_is_understood(reason: str, finished: str) -> None:
    said, events = folded(chunk({"content": "Hi"}), chunk({}, finish_reason=reason))
    assert said == "Hi"
    assert [event.reason for event in events if isinstance(event, Finished)] == [finished]
    assert len(events) == 1


def test_calls_count_though_the_server_says_stop() -> None:
    _, events = folded(fragment(index=0, id="a", name="x", arguments="{}"), chunk({}, finish_reason="stop"))
    assert events == [CallRequested(call=call("a", "x", "{}")), Finished(reason="calls")]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_turn_that_was_cut_off_asks_for_no_call(reason: str) -> None:
    _, events = folded(fragment(index=0, id="a", name="x", arguments="{}"), chunk({}, finish_reason=reason))
    assert [type(event) for event in events] == [Finished]


def test_a_refusal_is_shown_and_named() -> None:
    said, events = folded(chunk({"refusal": "I can"}), chunk({"refusal": "not."}), chunk({}, finish_reason="stop"))
    assert (said, events) == ("I cannot.", [Finished(reason="refusal")])


def test_unknown_fields_further_choices_and_odd_types_are_passed_over() -> None:
    said, events = folded(
        chunk({"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": None}, prompt_filter=[1]),
        orjson.dumps({"choices": [{"index": 1, "delta": {"content": "other"}}], "usage": None, "x": {"y": [1]}}),
        orjson.dumps({"choices": None}),
        orjson.dumps({"choices": [None, {"delta": None}, {"delta": {"content": 5, "tool_calls": [None]}}]}),
        chunk({"content": [{"type": "text", "text": "parts"}]}),
        chunk({}, finish_reason="stop"),
    )
    assert (said, [type(event) for event in events][-1]) == ("parts", Finished)


def test_a_whole_message_counts_as_a_delta() -> None:
    body = {
        "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1},
    }
    assert folded(orjson.dumps(body)) == ("Hello", [Usage(input_tokens=1, output_tokens=0), Finished(reason="stop")])


def test_a_character_cut_in_two_escapes_is_joined() -> None:
    turn = ChatTurn(str)
    halves = [rb'{"choices":[{"delta":{"content":"Hi \ud83d"}}]}', rb'{"choices":[{"delta":{"content":"\udc4b!"}}]}']
    assert [turn.read([half]) for half in halves] == ["Hi ", "👋!"]
    assert turn.read([rb'{"choices":[{"delta":{"content":"\udc4b alone"}}]}']) == "\ufffd alone"


def test_numbers_that_are_none_do_not_stop_a_turn() -> None:
    assert folded(b'{"choices":[{"delta":{"content":"Hi"},"logprobs":NaN,"finish_reason":"stop"}]}')[0] == "Hi"


def test_the_end_without_finish_reason_is_an_end_only_when_done_was_said() -> None:
    assert folded(chunk({"content": "Hi"}), b"[DONE]") == ("Hi", [Finished(reason="stop")])
    for cut_short in ([chunk({"content": "Hi"})], [b"[DONE]"], []):
        with pytest.raises(ProviderFault) as raised:
            folded(*cut_short)
        assert raised.value.kind == "interrupted"


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
def test_an_end_by_an_error_is_an_interruption(reason: str) -> None:
    with pytest.raises(ProviderFault) as raised:
        folded(chunk({"content": "Hi"}, finish_reason=reason))
    assert raised.value.kind == "interrupted"


@pytest.mark.parametrize("payload", [b"not json", b"[1]", b"null", b'"text"', b"[" * 100_000, b"\xff"])
def test_a_chunk_that_is_no_object_is_unreadable(payload: bytes) -> None:
    with pytest.raises(ProviderFault) as raised:
        folded(payload)
    assert raised.value.kind == "protocol"


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"error": {"message": "boom", "type": "server_error"}}, "interrupted", None),
        ({"error": "boom"}, "interrupted", None),
        ({"error": {"message": "slow down", "code": 429}}, "status", 429),
        ({"object": "error", "message": "bad", "code": 400}, "status", 400),
        ({"error": {"message": "long", "code": "context_length_exceeded"}}, "status", 400),
    ],
)
def test_an_error_as_data_is_kept_behind_the_text_before_it(error: Json, kind: str, status: int | None) -> None:
    turn = ChatTurn(str)
    assert turn.read([chunk({"content": "Hi"}), orjson.dumps(error), chunk({"content": "never"})]) == "Hi"
    assert turn.fault is not None
    assert (turn.fault.kind, turn.fault.status, turn.finished) == (kind, status, False)
