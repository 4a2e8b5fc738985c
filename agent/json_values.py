"""Reading JSON of unknown shape that models and tools wrote: every look gives the type asked for, or nothing."""

from typing import cast

import orjson


def parsed(text: str | bytes) -> object:
    """The JSON value of `text`; None when it is not JSON (or is null)."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def mapping(value: object) -> dict[str, object]:
    """`value` when it is an object, else an empty one."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """`value` when it is an array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def text(value: object) -> str:
    """`value` when it is a string, else the empty one."""
    return value if isinstance(value, str) else ""


def whole(value: object) -> int | None:
    """`value` when it is a whole number (true and false are none), else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
