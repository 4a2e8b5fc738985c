"""Facts that were recorded before policy saw as much as it does now: what a situation can have been, no guess."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from itertools import product
from math import prod
from types import NoneType, UnionType
from typing import Literal, Union, cast, get_args, get_origin, get_type_hints

import orjson

from tools.policy.situation import Situation, situation_from_json

Json = dict[str, object]
POSSIBLE = 64
"""How many situations are looked at for one call whose facts lack something."""

UNSEEN: Mapping[str, object] = {"taint": None, "widens": None}
"""What could have been anything before anybody looked at it, each with the value that stands for that."""
THEN: Mapping[str, object] = {
    "approval_deputy_role": None,
    "approval_deputy_own": False,
    "delegate_role": None,
    "delegation_concerned": None,
    "budget_exhausted": None,
    **UNSEEN,
}
"""What a member was before it was recorded, since nobody stood in for anybody yet, and there were no budgets.

What had entered a turn was not looked at: with these a verdict is reached as it was then."""


class LacksFacts(ValueError):
    """The facts lack members that can have been anything, or too much."""

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(f"recorded without {', '.join(members)}")
        self.members = members


def lacking(text: str) -> tuple[str, ...]:
    """The members of a situation that these facts neither hold nor leave no doubt of, sorted.

    Raises  ValueError: no JSON object.
    """
    return tuple(sorted(_names() - _held(text).keys() - THEN.keys()))


def possible_situations(text: str) -> tuple[Situation, ...]:
    """Every situation that these facts can have been of: one, where they lack nothing.

    Raises  LacksFacts; ValueError: no facts of a call.
    """
    held = {**THEN, **_held(text)}
    missing = tuple(sorted(_names() - held.keys()))
    if not missing:
        return (situation_from_json(orjson.dumps(held)),)
    values = [_values(name) for name in missing]
    if not all(values) or prod(map(len, values)) > POSSIBLE:
        raise LacksFacts(missing)
    filled = (held | dict(zip(missing, chosen, strict=True)) for chosen in product(*values))
    return tuple(situation_from_json(orjson.dumps(each)) for each in filled)


def unseen(text: str) -> tuple[str, ...]:
    """The members that nobody looked at when these facts were recorded, sorted.

    Raises  ValueError: no JSON object.
    """
    return tuple(sorted(UNSEEN.keys() - _held(text).keys()))


def could_be(situation: Situation, members: tuple[str, ...]) -> tuple[Situation, ...]:
    """Every situation that this one can have been, where nobody looked at these members.

    Of a call that reads, and of one by a person's own hand, they are never asked for.
    """
    if situation.by_hand or situation.effect == "read":
        return (situation,)
    held = cast(Json, orjson.loads(situation.canonical_json()))
    filled = (held | dict(zip(members, chosen, strict=True)) for chosen in product(*map(_values, members)))
    return tuple(situation_from_json(orjson.dumps(each)) for each in filled)


def _held(text: str) -> Json:
    held: object = orjson.loads(text)
    if not isinstance(held, dict):
        raise ValueError("not a situation: no object")
    return cast(Json, held)


@cache
def _names() -> frozenset[str]:
    return frozenset(field.name for field in fields(Situation))


@cache
def _values(name: str) -> tuple[object, ...]:
    """All that a member can be; none where that is without end."""
    return tuple(_all_of(get_type_hints(Situation)[name]) or ())


def _all_of(kind: object) -> list[object] | None:
    """The values of a type, where they can be counted."""
    if kind is bool:
        return [False, True]
    if kind is NoneType:
        return [None]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [member.value for member in kind]
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return _joined(_all_of(part) for part in get_args(kind))
    return None


def _joined(parts: Iterator[list[object] | None]) -> list[object] | None:
    joined: list[object] = []
    for part in parts:
        if part is None:
            return None
        joined += part
    return joined
