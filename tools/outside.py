"""What a tool whose effect is outside brings along: how to act under a key, and how to ask what became of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from domain.kernel import CallId, Principal

A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideContext:
    """Who acts, in which call, and under which key the outside knows it."""

    principal: Principal
    call_id: CallId
    key: str
    """The idempotency key: the same for every attempt at this call, and no other call's."""


@dataclass(frozen=True, slots=True)
class Happened:
    """The outside did it under this key; `answer` is what it said then."""

    answer: object


@dataclass(frozen=True, slots=True)
class NeverHappened:
    """The outside has nothing under this key: it may be done now."""


@dataclass(frozen=True, slots=True)
class Unsure:
    """The outside cannot be asked, or does not know."""


Settled = Happened | NeverHappened | Unsure


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside(Generic[A]):
    """The outside half of a tool. Both run with no transaction open, and within the tool's time.

    The outside must do a thing once for each key, whoever sends it and however often: else no crash could be survived.
    """

    act: Callable[[A, OutsideContext], Awaitable[object]]
    """Do it, and give what the outside answered.

    Raises  DomainError: the outside refused, and has done nothing. Any other exception leaves open what it did.
    """
    settle: Callable[[A, OutsideContext], Awaitable[Settled]]
    """Ask what became of the key."""
