"""Parameters of queries: pages of lists, texts, moments; an odd one is 422, and none reaches the database as it is."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from fastapi import Depends, Query
from pydantic import AfterValidator, BeforeValidator

from domain.paging import DEFAULT_PAGE, PAGE_LIMIT, InvalidCursor, PageRequest, Position, page_request


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("holds a NUL character")
    return text


def _moment(text: object) -> object:
    """A moment in UTC; a plain date is its first instant."""
    return _instant(text, whole_day=False)


def _end(text: object) -> object:
    """The same, but a plain date is meant with its whole day."""
    return _instant(text, whole_day=True)


def _instant(text: object, *, whole_day: bool) -> object:
    if not isinstance(text, str):
        return text
    try:
        if len(text) == len("2026-01-31"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return day + timedelta(days=1) if whole_day else day
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no date (YYYY-MM-DD) and no moment (RFC 3339)") from None


Text = Annotated[str, Query(max_length=300), AfterValidator(_storable)]
Since = Annotated[datetime, BeforeValidator(_moment)]
"""From here on, included."""
Until = Annotated[datetime, BeforeValidator(_end)]
"""Up to here, excluded; a plain date is meant with its whole day."""


async def page(
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = DEFAULT_PAGE, cursor: Text | None = None
) -> PageRequest:
    """A dependency: the page of a list that is asked for.

    Raises  InvalidCursor.
    """
    asked = page_request(cursor, limit)
    if asked.after is None:
        return asked
    try:
        after = Position(time=asked.after.time.astimezone(UTC), id=asked.after.id)
    except OverflowError:
        raise InvalidCursor from None
    return PageRequest(limit=asked.limit, after=after)


PageAsked = Annotated[PageRequest, Depends(page)]
