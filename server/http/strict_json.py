"""JSON as it is taken from outside: one value, UTF-8, finite numbers, whole characters, no key twice, not too deep."""

import json
from collections.abc import Iterator
from typing import cast

import orjson

DEEPEST = 64
NUL = "\x00"


class MalformedJson(Exception):
    """The bytes are no JSON that this server takes; the words may be shown."""


def decoded(body: bytes) -> object:
    """The value of a JSON text, its integers exact.

    Raises  MalformedJson.  Source  RFC 8259, and RFC 7493 (I-JSON) for what it leaves open.
    """
    try:
        # Refuses what json.loads lets through: NaN, 1e999, lone surrogates, other encodings, a byte order mark.
        value = cast(object, orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise MalformedJson(f"the body is not JSON: {error.msg} at character {error.pos}") from error
    if _is_deeper_than(value, DEEPEST):
        raise MalformedJson(f"the body is nested deeper than {DEEPEST}")
    try:
        # Refuses what orjson lets through: a key given twice; and keeps large integers as they are.
        return cast(object, json.loads(body, object_pairs_hook=_unique))
    except ValueError as error:
        raise MalformedJson("the body holds an integer of too many digits") from error


def nul_path(value: object) -> str | None:
    """Where a NUL character stands, in a string or a key of a decoded value; None: nowhere."""
    steps = _steps_to_nul(value)
    if steps is None:
        return None
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise MalformedJson(f"the key {twice[:64]!r} is given twice")
    return members


def _is_deeper_than(value: object, deepest: int) -> bool:
    """Level by level and not recursive, since what it measures may be deep."""
    level = [value]
    for _ in range(deepest + 1):
        level = [member for found in level for member in _members(found)]
        if not level:
            return False
    return True


def _members(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from cast("dict[str, object]", value).values()
    elif isinstance(value, list):
        yield from cast("list[object]", value)


def _steps_to_nul(value: object) -> list[str | int] | None:
    """The steps are gathered on the way back from the one fault: a path for each value would cost their product."""
    if isinstance(value, str):
        return [] if NUL in value else None
    if isinstance(value, dict):
        for key, member in cast("dict[str, object]", value).items():
            if NUL in key:
                return []
            if (steps := _steps_to_nul(member)) is not None:
                return [key, *steps]
    elif isinstance(value, list):
        for index, member in enumerate(cast("list[object]", value)):
            if (steps := _steps_to_nul(member)) is not None:
                return [index, *steps]
    return None
