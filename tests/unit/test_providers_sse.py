"""The event reader gives the same payloads however the network cut the bytes."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.providers.faults import ProviderFault
from agent.providers.sse import EventReader, WholeBodyReader


def read_in(parts: list[bytes]) -> list[bytes]:
    reader = EventReader()
    payloads: list[bytes] = []
    for part in parts:
        payloads += reader.feed(part)
    return payloads + reader.end()


@st.composite
def cut(draw: st.DrawFn, body: bytes) -> list[bytes]:
    at = sorted(draw(st.sets(st.integers(0, len(body)), max_size=20)))
    return [body[begin:end] for begin, end in zip([0, *at], [*at, len(body)], strict=True)]


STREAM = (
    '﻿: a comment\r\n\r\nevent: chunk\r\ndata: {"text":"Grüße, 世界 👋"}\r\nid: 7\r\nretry: 10\r\n\r\n'
    'data:{"a":1}\n\ndata: {"b":\rdata: 2}\r\rdata\ndata: x\n\n:ping\n\n\n\ndata: [DONE]\n\n'
).encode()
PAYLOADS = ['{"text":"Grüße, 世界 👋"}'.encode(), b'{"a":1}', b'{"b":\n2}', b"\nx", b"[DONE]"]


@given(st.data())
def test_any_cut_of_the_bytes_gives_the_same_payloads(data: st.DataObject) -> None:
    assert read_in(data.draw(cut(STREAM))) == PAYLOADS


def test_single_bytes_give_the_same_payloads() -> None:
    assert read_in([STREAM[at : at + 1] for at in range(len(STREAM))]) == PAYLOADS


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)), st.data())
def test_what_was_sent_is_what_is_read(sent: list[str], data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    body = "".join(f"data: {payload}{end}{end}" for payload in sent).encode()
    assert read_in(data.draw(cut(body))) == [payload.encode() for payload in sent]


def test_a_payload_is_given_with_the_byte_that_ends_it() -> None:
    reader = EventReader()
    assert reader.feed(b"data: 1\r\n\r") == [b"1"]
    assert reader.feed(b"\ndata: 2\n") == []
    assert reader.feed(b"\n") == [b"2"]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_last_event_without_its_blank_line_is_read_at_a_clean_end(ending: bytes) -> None:
    assert read_in([b"data: 1\n\ndata: 2" + ending]) == [b"1", b"2"]


def test_an_empty_stream_has_no_payloads() -> None:
    assert read_in([]) == []
    assert read_in([b""]) == []
    assert read_in([b"\xef\xbb"]) == []


@pytest.mark.parametrize("read", [b"x" * 40, b"data: xxx\n"])
def test_an_event_without_end_is_a_fault_and_not_a_full_memory(read: bytes) -> None:
    reader = EventReader(most_bytes=1000)
    with pytest.raises(ProviderFault):
        deque(map(reader.feed, [read] * 1000), maxlen=0)


def test_many_small_events_are_not_one_large_one() -> None:
    reader = EventReader(most_bytes=1000)
    assert sum(len(reader.feed(b"data: xxxx\n\n")) for _ in range(1000)) == 1000


def test_a_plain_body_is_one_payload_at_its_end() -> None:
    reader = WholeBodyReader(most_bytes=15)
    assert reader.feed(b'{"a"') == []
    assert reader.feed(b": 1}") == []
    assert reader.end() == [b'{"a": 1}']
    with pytest.raises(ProviderFault):
        reader.feed(b"1234567890")
