"""JSON as it is taken from outside: one value, UTF-8, finite numbers, whole characters, no key twice, not too deep."""

import json
from collections.abc import Iterator, Mapping, Sequence
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
    if any(depth > DEEPEST for depth, _, _ in _walk(value)):
        raise MalformedJson(f"the body is nested deeper than {DEEPEST}")
    try:
        # Refuses what orjson lets through: a key given twice; and keeps large integers as they are.
        return cast(object, json.loads(body, object_pairs_hook=_unique))
    except ValueError as error:
        raise MalformedJson("the body holds an integer of too many digits") from error


def nul_path(value: object) -> str | None:
    """Where a NUL character stands, in a string or a key; None: nowhere."""
    for _, path, found in _walk(value):
        if isinstance(found, str) and NUL in found:
            return path
    return None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise MalformedJson(f"the key {twice[:64]!r} is given twice")
    return members


def _walk(value: object) -> Iterator[tuple[int, str, object]]:
    """Every value and key with its depth and path; not recursive, since what it walks may be deep."""
    waiting: list[tuple[int, str, object]] = [(0, "", value)]
    while waiting:
        depth, path, found = waiting.pop()
        yield depth, path, found
        if isinstance(found, Mapping):
            for key, member in cast("Mapping[str, object]", found).items():
                yield depth, path, key
                waiting.append((depth + 1, f"{path}.{key}" if path else key, member))
        elif isinstance(found, Sequence) and not isinstance(found, str):
            members = cast("Sequence[object]", found)
            waiting.extend((depth + 1, f"{path}[{index}]", member) for index, member in enumerate(members))
