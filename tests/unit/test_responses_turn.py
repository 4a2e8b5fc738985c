"""A turn folded from the events of servers that follow the Responses API, and of those that nearly do."""

import itertools
import json
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import CallRequested, Finished, ItemMade, ModelEvent, ToolCall, Usage
from agent.providers.faults import ProviderFault, model_failed
from agent.providers.responses_turn import ResponsesTurn

Json = dict[str, object]
MAKER = "responses wise-1"


def event(kind: str, **told: object) -> bytes:
    return orjson.dumps({"type": f"response.{kind}", "sequence_number": 1, **told})


def delta(words: str, **told: object) -> bytes:
    return event("output_text.delta", delta=words, **told)


def added(item: Json, index: int | None = 0) -> bytes:
    return event("output_item.added", output_index=index, item=item)


def done(item: Json, index: int | None = 0) -> bytes:
    return event("output_item.done", output_index=index, item=item)


def piece(arguments: str, item_id: str | None = "fc_1", index: int | None = 0) -> bytes:
    return event("function_call_arguments.delta", delta=arguments, item_id=item_id, output_index=index)


def ended(status: str = "completed", **told: object) -> bytes:
    return event(status, response={"status": status, "output": [], **told})


def call_item(item_id: str = "fc_1", call_id: str = "a", name: str = "task_list", arguments: object = "") -> Json:
    return {"type": "function_call", "id": item_id, "call_id": call_id, "name": name, "arguments": arguments}


def reasoning(item_id: str, sealed: str | None) -> Json:
    told: Json = {"type": "reasoning", "id": item_id, "summary": [], "status": "completed"}
    return told if sealed is None else told | {"encrypted_content": sealed}


def message(words: str, item_id: str = "msg_1") -> Json:
    part: Json = {"type": "output_text", "text": words, "annotations": []}
    return {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": [part]}


def turn_of() -> ResponsesTurn:
    ids = (f"made_{number}" for number in itertools.count())
    return ResponsesTurn(MAKER, lambda: next(ids))


def folded(*payloads: bytes) -> tuple[str, list[ModelEvent]]:
    turn = turn_of()
    said = "".join(turn.read([payload]) for payload in payloads)
    return said, turn.end()


def calls_of(events: Sequence[ModelEvent]) -> list[ToolCall]:
    return [told.call for told in events if isinstance(told, CallRequested)]


def kept_of(events: Sequence[ModelEvent]) -> list[tuple[str, str | None]]:
    """The sealed contents that go back, and what each led to."""
    items = [told.item for told in events if isinstance(told, ItemMade)]
    assert {item.maker for item in items} <= {MAKER}
    return [(orjson.loads(item.content)["encrypted_content"], item.before) for item in items]


A, B = (
    ToolCall(provider_id="a", name="task_list", arguments='{"limit": 5}'),
    ToolCall(provider_id="b", name="task_get", arguments='{"task_id": "7"}'),
)
ITEM_A = call_item("fc_1", "a", "task_list", A.arguments)
ITEM_B = call_item("fc_2", "b", "task_get", B.arguments)


def test_text_of_one_read_is_joined_and_usage_comes_before_the_end() -> None:
    turn = turn_of()
    assert turn.read([event("created", response={"status": "in_progress"}), added(message(""))]) == ""
    assert not turn.begun
    assert turn.read([delta("Hel"), delta("lo")]) == "Hello"
    assert turn.read([done(message("Hello")), ended(usage={"input_tokens": 3, "output_tokens": 2})]) == ""
    assert turn.finished
    assert turn.end() == [Usage(input_tokens=3, output_tokens=2), Finished(reason="stop")]


@given(st.data())
def test_arguments_cut_anywhere_are_put_together(data: st.DataObject) -> None:
    arguments = orjson.dumps(
        data.draw(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.booleans()))
    ).decode()
    at = sorted(data.draw(st.sets(st.integers(0, len(arguments)), max_size=8)))
    pieces = [arguments[begin:end] for begin, end in zip([0, *at], [*at, len(arguments)], strict=True)]
    _, events = folded(added(call_item()), *map(piece, pieces), ended())
    assert events == [
        CallRequested(call=ToolCall(provider_id="a", name="task_list", arguments=arguments)),
        Finished(reason="calls"),
    ]


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param(
            [
                added(call_item("fc_1", "a", "task_list"), 0),
                added(call_item("fc_2", "b", "task_get"), 1),
                piece('{"task_id"', "fc_2", 1),
                piece('{"limit": 5}', "fc_1", 0),
                piece(': "7"}', "fc_2", 1),
                done(ITEM_B, 1),
                done(ITEM_A, 0),
            ],
            id="interleaved",
        ),
        pytest.param([done(ITEM_A, 0), done(ITEM_B, 1)], id="done alone"),
        pytest.param([done(ITEM_A, 0), done(ITEM_B, 0)], id="done alone, index 0 for both"),
        pytest.param([done(ITEM_A, None), done(ITEM_B, None)], id="done alone, no index"),
        pytest.param(
            [
                added(call_item("fc_1", "a", "task_list"), 0),
                piece(A.arguments, "fc_1", 0),
                added(call_item("fc_2", "b", "task_get"), 1),
                piece(B.arguments, "fc_2", 1),
            ],
            id="never done",
        ),
        pytest.param(
            [
                added(call_item("fc_1", "a", "task_list"), 0),
                piece(A.arguments, None, None),
                added(call_item("fc_2", "b", "task_get"), 1),
                piece(B.arguments, None, None),
            ],
            id="pieces that name no call",
        ),
        pytest.param(
            [
                added(call_item("x1", "a", "task_list"), 0),
                done(call_item("x2", "a", "task_list", A.arguments), 0),
                added(call_item("x3", "b", "task_get"), 1),
                done(call_item("x4", "b", "task_get", B.arguments), 1),
            ],
            id="another id when done",
        ),
        pytest.param(
            [
                added(call_item("fc_1", "a", "task_list"), 0),
                event("function_call_arguments.done", item_id="fc_1", output_index=0, arguments=A.arguments),
                added(call_item("fc_2", "b", "task_get"), 1),
                piece('{"cut', "fc_2", 1),
                event("function_call_arguments.done", item_id="fc_2", output_index=1, arguments=B.arguments),
            ],
            id="whole in arguments.done",
        ),
    ],
)
def test_calls_are_told_apart(payloads: list[bytes]) -> None:
    _, events = folded(*payloads, ended())
    assert calls_of(events) == [A, B]


def test_a_server_that_tells_everything_only_at_the_end_is_understood() -> None:
    output = [reasoning("rs_1", "sealed"), message("Hi"), ITEM_A, ITEM_B]
    said, events = folded(event("created", response={}), event("completed", response={"output": output}))
    assert (said, calls_of(events), kept_of(events)) == ("Hi", [A, B], [("sealed", None)])


def test_the_last_event_repeats_nothing_that_was_told_before() -> None:
    output = [message("Hi there"), ITEM_A]
    said, events = folded(
        added(message("")),
        delta("Hi "),
        delta("there"),
        done(message("Hi there")),
        done(ITEM_A, 1),
        ended(output=output),
    )
    assert (said, calls_of(events)) == ("Hi there", [A])


def test_words_that_came_only_when_the_message_was_done_are_shown() -> None:
    said, events = folded(done(message("Hi")), ended())
    assert (said, events) == ("Hi", [Finished(reason="stop")])


def test_a_body_that_was_not_streamed_is_a_turn() -> None:
    body = {"object": "response", "status": "completed", "error": None, "output": [message("Hi"), ITEM_A]}
    said, events = folded(orjson.dumps(body))
    assert (said, calls_of(events), events[-1]) == ("Hi", [A], Finished(reason="calls"))


def test_reasoning_goes_back_before_what_it_led_to() -> None:
    _, events = folded(
        added(reasoning("rs_1", "half"), 0),
        done(reasoning("rs_1", "one"), 0),
        delta("Let me look.", item_id="msg_1", output_index=1),
        done(reasoning("rs_2", "two"), 2),
        done(ITEM_A, 3),
        done(reasoning("rs_3", "three"), 4),
        done(reasoning("rs_4", "four"), 5),
        done(ITEM_B, 6),
        ended(),
    )
    assert kept_of(events) == [("one", None), ("two", "a"), ("three", "b"), ("four", "b")]
    assert events[-1] == Finished(reason="calls")


def test_what_goes_back_is_what_the_provider_wrote_without_what_it_refuses() -> None:
    told = reasoning("rs_1", "sealed") | {"content": None, "summary": [{"type": "summary_text", "text": "Hm."}]}
    _, events = folded(done(told), done(message("Hi"), 1), ended())
    sent: Json = {"type": "reasoning", "id": "rs_1", "summary": told["summary"], "encrypted_content": "sealed"}
    made = next(each for each in events if isinstance(each, ItemMade))
    assert orjson.loads(made.item.content) == sent


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param([done(reasoning("rs_1", None)), delta("Hi"), ended()], id="named only, stored nowhere"),
        pytest.param([delta("Hi"), done(reasoning("rs_1", "sealed"), 1), ended()], id="led to nothing"),
        pytest.param([done(reasoning("rs_1", "sealed")), done(message(""), 1), ended()], id="led to no words"),
        pytest.param([done(reasoning("rs_1", "sealed")), delta("Hi"), ended("incomplete")], id="cut off"),
        pytest.param([added(reasoning("rs_1", "half")), delta("Hi"), ended()], id="never whole"),
    ],
)
def test_reasoning_that_could_not_be_sent_back_is_not_kept(payloads: list[bytes]) -> None:
    assert kept_of(folded(*payloads)[1]) == []


def test_calls_with_the_same_id_get_ids_of_their_own_and_their_reasoning_follows() -> None:
    _, events = folded(
        done(ITEM_A, 0),
        done(reasoning("rs_1", "sealed"), 1),
        done(call_item("fc_2", "", "task_get", {"id": 1}), 2),
        ended(),
    )
    assert [call.provider_id for call in calls_of(events)] == ["a", "made_0"]
    assert calls_of(events)[1].arguments == '{"id":1}'
    assert kept_of(events) == [("sealed", "made_0")]


def test_a_call_without_a_name_is_unreadable() -> None:
    with pytest.raises(ProviderFault) as raised:
        folded(done(call_item(name="")), ended())
    assert raised.value.kind == "protocol"


def test_arguments_that_are_no_json_are_handed_on_for_the_gate_to_refuse() -> None:
    assert [one.arguments for one in calls_of(folded(added(call_item()), piece('{"a": '), ended())[1])] == ['{"a": ']


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (ended(), "stop"),
        (event("completed", response={}), "stop"),
        (ended("incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (ended("incomplete", incomplete_details={"reason": "content_filter"}), "filtered"),
        (ended("incomplete", incomplete_details=None), "length"),
        (event("completed", response={"status": "incomplete"}), "length"),
        (b"[DONE]", "stop"),
    ],
)
def test_every_end_is_understood(ending: bytes, reason: str) -> None:
    said, events = folded(delta("Hi"), ending)
    assert said == "Hi"
    assert [told.reason for told in events if isinstance(told, Finished)] == [reason]


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_a_turn_that_was_cut_off_asks_for_no_call(reason: str) -> None:
    _, events = folded(done(ITEM_A), ended("incomplete", incomplete_details={"reason": reason}))
    assert [type(told) for told in events] == [Finished]


def test_a_refusal_is_shown_and_named() -> None:
    refused = message("") | {"content": [{"type": "refusal", "refusal": "I cannot."}]}
    words = [
        event("refusal.delta", delta="I can", output_index=0),
        event("refusal.delta", delta="not.", output_index=0),
    ]
    assert folded(*words, done(refused), ended()) == ("I cannot.", [Finished(reason="refusal")])
    assert folded(done(refused), ended()) == ("I cannot.", [Finished(reason="refusal")])


def test_events_that_nobody_knows_and_odd_types_are_passed_over() -> None:
    said, events = folded(
        b'{"type": "keepalive"}',
        event("reasoning_summary_text.delta", delta="thinking"),
        event("reasoning_text.delta", delta="thinking"),
        event("output_text.annotation.added", annotation={}),
        added({"type": "web_search_call", "id": "ws_1"}),
        event("output_item.added", item=None),
        event("output_item.done", item=[1], output_index="x"),
        event("output_text.delta", delta=5),
        event("function_call_arguments.delta", delta=None, item_id=7),
        b'{"type": 5}',
        b"{}",
        delta("Hi", new={"x": [1]}),
        event("completed", response={"output": [None, {"type": "message", "content": [None]}], "usage": None}),
    )[0:2]
    assert said == "Hi"
    assert isinstance(events[-1], Finished)


def test_a_character_cut_in_two_escapes_is_joined() -> None:
    turn = turn_of()
    halves = [
        rb'{"type":"response.output_text.delta","delta":"Hi \ud83d"}',
        rb'{"type":"response.output_text.delta","delta":"\udc4b!"}',
    ]
    assert [turn.read([half]) for half in halves] == ["Hi ", "👋!"]


def test_the_end_without_an_ending_is_an_interruption() -> None:
    for cut_short in ([delta("Hi")], [event("created", response={}), b"[DONE]"], []):
        with pytest.raises(ProviderFault) as raised:
            folded(*cut_short)
        assert raised.value.kind == "interrupted"


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"),
    [
        ({"type": "error", "code": "server_error", "message": "boom"}, "interrupted", None, "model_interrupted"),
        (
            {"type": "error", "error": {"type": "server_error", "message": "x"}},
            "interrupted",
            None,
            "model_interrupted",
        ),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow"}, "status", 429, "model_unavailable"),
        ({"type": "error", "code": "insufficient_quota", "message": "paid?"}, "status", 429, "model_rejected"),
        (
            {"type": "error", "error": {"code": "context_length_exceeded", "message": "long"}},
            "status",
            400,
            "context_too_long",
        ),
        ({"error": {"message": "slow down", "code": 429}}, "status", 429, "model_unavailable"),
        (
            {"type": "response.failed", "response": {"status": "failed", "error": {"code": "invalid_prompt"}}},
            "status",
            400,
            "model_rejected",
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}},
            "interrupted",
            None,
            "model_interrupted",
        ),
        ({"object": "response", "status": "cancelled"}, "interrupted", None, "model_interrupted"),
        ({"type": "error"}, "interrupted", None, "model_interrupted"),
    ],
)
def test_an_error_as_data_is_kept_behind_the_text_before_it(
    error: Json, kind: str, status: int | None, code: str
) -> None:
    turn = turn_of()
    assert turn.read([delta("Hi"), orjson.dumps(error), delta("never")]) == "Hi"
    assert turn.fault is not None
    assert (turn.fault.kind, turn.fault.status, turn.finished) == (kind, status, False)
    assert model_failed(turn.fault).code == code


KEYS = st.sampled_from(["type", "item", "item_id", "output_index", "delta", "response", "output", "arguments"])
WORDS = st.sampled_from(
    ["response.output_item.done", "response.completed", "response.output_text.delta", "function_call", "message"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(st.lists(ANYTHING.map(lambda told: json.dumps(told).encode()), max_size=6))
def test_nothing_that_a_server_sends_raises_anything_but_a_provider_fault(payloads: list[bytes]) -> None:
    try:
        _, events = folded(*payloads)
    except ProviderFault:
        return
    assert isinstance(events[-1], Finished)
