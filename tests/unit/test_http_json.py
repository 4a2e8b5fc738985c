"""JSON as it is taken from outside: what a value is, and everything that is none."""

import json
import tracemalloc
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.http.strict_json import DEEPEST, MalformedJson, decoded, nul_path

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)

NO_JSON = {
    "nothing": b"",
    "only spaces": b"  \n",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "a number beyond doubles": b'{"a": 1e999}',
    "a lone surrogate, escaped": b'{"a": "\\ud800"}',
    "a lone surrogate, encoded": b'{"a": "\xed\xa0\x80"}',
    "Latin-1": b'{"a": "\xe9"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice further in": b'{"a": [{"b": 1, "b": 1}]}',
    "trailing garbage": b'{"a": 1} x',
    "two values": b"{} {}",
    "a comment": b'{"a": 1 /* one */}',
    "single quotes": b"{'a': 1}",
    "a trailing comma": b'{"a": 1,}',
    "a raw control character": b'{"a": "\n"}',
    "an integer without end": b"9" * 5000,
    "too deep": b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2),
    "far too deep": b"[" * 500_000,
    "deep objects": b'{"a":' * 100 + b"1" + b"}" * 100,
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_no_json_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(MalformedJson) as refused:
        decoded(body)

    assert len(str(refused.value)) < 200


def test_the_deepest_value_still_passes() -> None:
    assert decoded(b"[" * DEEPEST + b"]" * DEEPEST) is not None


def test_integers_stay_exact_beyond_what_a_double_holds() -> None:
    assert decoded(b"[9007199254740993, 123456789012345678901234567890]") == [2**53 + 1, 123456789012345678901234567890]


@given(VALUES)
def test_every_value_that_can_be_written_is_read_back(value: object) -> None:
    assert decoded(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_malformed(body: bytes) -> None:
    try:
        value = decoded(body)
    except MalformedJson:
        return
    assert value == json.loads(body)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("\x00", ""),
        ({"a": ["x", {"b": "y\x00"}]}, "a[1].b"),
        ({"a\x00": 1}, ""),
        ({"a": "clean", "b": [1, None, 2.5]}, None),
    ],
)
def test_a_nul_character_is_found_wherever_it_stands(value: object, path: str | None) -> None:
    assert nul_path(value) == path
    assert nul_path(orjson.loads(orjson.dumps(value))) == path


def peak_of(work: Callable[[bytes], object], body: bytes) -> int:
    """Bytes that the work held at once, beyond what it was given."""
    tracemalloc.start()
    try:
        work(body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def searched_for_nul(body: bytes) -> object:
    return nul_path(orjson.loads(body))


@pytest.mark.parametrize("work", [decoded, searched_for_nul])
def test_a_long_name_above_many_values_costs_no_more_than_their_sum(work: Callable[[bytes], object]) -> None:
    body = b'{"' + b"k" * 20_000 + b'":[' + b",".join([b'"x"'] * 20_000) + b"]}"

    assert peak_of(work, body) < 40 * len(body)
