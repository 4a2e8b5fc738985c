"""JSON values held to JSON Schema 2020-12, once compiled, with faults that a model can mend and a log can hold."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from jsonschema_rs import JSONType

Json = dict[str, object]

MAX_FAULTS = 20
MAX_DEPTH = 32
MAX_INTEGER = 2**53
"""Beyond it a double, which is what most readers of JSON make of a number, no longer tells neighbours apart."""
_LONGEST_MESSAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a value. `path` is a JSON Pointer into it, "" for the whole."""

    path: str
    message: str


class Checker:
    """A schema, compiled; formats are asserted, references stay inside the schema, patterns run in linear time."""

    def __init__(self, schema: Json) -> None:
        """Raises  ValueError: not a JSON Schema 2020-12, or one that refers to what it does not hold."""
        from jsonschema_rs import Draft202012Validator, RegexOptions

        self._validator = Draft202012Validator(
            schema, validate_formats=True, pattern_options=RegexOptions(), offline=True
        )

    def check(self, value: object) -> tuple[Fault, ...]:
        """What is wrong with the value, at most `MAX_FAULTS`; empty where it holds."""
        unsound = tuple(fault_at(steps, message) for steps, message in islice(_unsound(value, 0), MAX_FAULTS))
        if unsound:
            return unsound
        held = cast("JSONType", value)
        if self._validator.is_valid(held):
            return ()
        return tuple(
            fault_at(error.instance_path, error.message)
            for error in islice(self._validator.iter_errors(held), MAX_FAULTS)
        )


def fault_at(location: Sequence[str | int], message: str) -> Fault:
    """A fault at a place in the value; of a long message, which quotes the value, the middle is left out."""
    path = "".join(pointer(part) for part in location)
    return Fault(path=shortened(path), message=shortened(message))


def pointer(part: str | int) -> str:
    """One step of a JSON Pointer. Source  RFC 6901, 3."""
    return "/" + str(part).replace("~", "~0").replace("/", "~1")


def shortened(text: str) -> str:
    """At most `_LONGEST_MESSAGE` characters, storable: the start says which value, the end says what is wrong."""
    text = text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()
    half = (_LONGEST_MESSAGE - 3) // 2
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:half]} … {text[-half:]}"


_Steps = list[str | int]


def _unsound(value: object, depth: int) -> Iterator[tuple[_Steps, str]]:
    """What no schema can speak of: values that PostgreSQL, a signature or another reader of JSON would not take.

    The steps to a fault are gathered on the way back from it: a path for each value, below a name of some length,
    would cost their product.
    """
    if depth > MAX_DEPTH:
        yield [], f"is nested more than {MAX_DEPTH} deep"
    elif isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            yield from _unsound_item(key, item, depth)
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            for steps, message in _unsound(item, depth + 1):
                yield [index, *steps], message
    elif (message := _unsound_scalar(value)) is not None:
        yield [], message


def _unsound_item(key: object, item: object, depth: int) -> Iterator[tuple[_Steps, str]]:
    if not isinstance(key, str):
        yield [], "has a name that is not a string"
        return
    if (message := _unsound_text(key)) is not None:
        yield [], f"has a name that {message}"
    for steps, message in _unsound(item, depth + 1):
        yield [key, *steps], message


def _unsound_scalar(value: object) -> str | None:
    if isinstance(value, str):
        return _unsound_text(value)
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return "is an integer beyond 2^53" if abs(value) > MAX_INTEGER else None
    if isinstance(value, float):
        return _unsound_float(value)
    return "is not a JSON value"


def _unsound_float(value: float) -> str | None:
    """A double beyond 2^53 is an integer too, and passes for one in JSON Schema."""
    if not math.isfinite(value):
        return "is not a finite number"
    return "is a number beyond 2^53" if abs(value) > MAX_INTEGER else None


def _unsound_text(text: str) -> str | None:
    if "\x00" in text:
        return "holds the character U+0000"
    return "holds half of a surrogate pair" if not text.isascii() and _has_surrogate(text) else None


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
