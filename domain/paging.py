"""Lists are paged by key, newest first: the cursor is the last item's time and id, opaque to whoever holds it."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Generic, TypeVar, cast
from uuid import UUID

import orjson

from domain.kernel import DomainError

Item = TypeVar("Item", covariant=True)
Other = TypeVar("Other")

PAGE_LIMIT = 100
DEFAULT_PAGE = 50


class InvalidCursor(DomainError):
    """The cursor is not one that a list gave out."""

    code: ClassVar[str] = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("cursor: not one that this list gave; leave it out to begin at the newest")


class InvalidLimit(DomainError):
    """The page asked for is empty or too large."""

    code: ClassVar[str] = "invalid_limit"

    def __init__(self, limit: int) -> None:
        super().__init__(f"limit: {limit} is not between 1 and {PAGE_LIMIT}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a list ordered by time and id, both descending."""

    time: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """How many items, and behind which place; None begins at the newest."""

    limit: int = DEFAULT_PAGE
    after: Position | None = None

    @property
    def behind(self) -> tuple[datetime, UUID] | tuple[None, None]:
        """The time and the id that a list's statement takes: of the place it begins behind, or neither."""
        return (None, None) if self.after is None else (self.after.time, self.after.id)


FIRST_PAGE = PageRequest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """Some items, and the cursor of the next page; None: this was the last."""

    items: tuple[Item, ...]
    next_cursor: str | None

    def of(self, change: Callable[[Item], Other]) -> "Page[Other]":
        """The same page of changed items."""
        return Page(items=tuple(change(item) for item in self.items), next_cursor=self.next_cursor)


def page_request(cursor: str | None = None, limit: int = DEFAULT_PAGE) -> PageRequest:
    """What a door was asked for, checked.

    Raises  InvalidCursor, InvalidLimit.
    """
    if not 1 <= limit <= PAGE_LIMIT:
        raise InvalidLimit(limit)
    return PageRequest(limit=limit, after=None if cursor is None else position_of(cursor))


def page_of(found: Sequence[Other], request: PageRequest, place: Callable[[Other], Position]) -> Page[Other]:
    """A page from `limit` + 1 found items: the one too many only says that there is more."""
    items = tuple(found[: request.limit])
    more = len(found) > request.limit
    return Page(items=items, next_cursor=cursor_of(place(items[-1])) if more else None)


def cursor_of(position: Position) -> str:
    """The position as a list gives it out."""
    text = orjson.dumps([position.time.isoformat(), str(position.id)])
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def position_of(cursor: str) -> Position:
    """The position that a cursor names.

    Raises  InvalidCursor: nothing that `cursor_of` gave.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        time, key = cast("list[str]", orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True)))
        moment, found = datetime.fromisoformat(time), UUID(key)
        if moment.tzinfo is None:
            raise InvalidCursor
        return Position(time=moment.astimezone(UTC), id=found)
    except (binascii.Error, ValueError, TypeError, AttributeError, OverflowError):
        raise InvalidCursor from None
