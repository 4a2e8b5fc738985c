"""Parameters of queries: pages of lists, texts, moments; an odd one is 422, and none reaches the database as it is."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BeforeValidator
from starlette.requests import Request

from domain.kernel import EngagementId
from domain.paging import DEFAULT_PAGE, PAGE_LIMIT, InvalidCursor, PageRequest, Position, page_request
from server.http.bodies import invalid_request
from server.logs import name_in_lines
from tools.json_schema import MAX_FAULTS, shortened


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


def _day(text: object) -> object:
    """A date as RFC 3339 writes it; pydantic alone would take seconds since 1970 too."""
    if isinstance(text, str) and not _DAY.fullmatch(text):
        raise ValueError("is no date (YYYY-MM-DD)")
    return text


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
Text = Annotated[str, Query(max_length=300), AfterValidator(_storable)]
Day = Annotated[date, BeforeValidator(_day)]
Since = Annotated[datetime, BeforeValidator(_moment)]
"""From here on, included."""
Until = Annotated[datetime, BeforeValidator(_end)]
"""Up to here, excluded; a plain date is meant with its whole day."""


async def only_known(request: Request) -> None:
    """A dependency of lists: a filter that is misspelt must not pass for one that lets everything through.

    Raises  Problem: 422, a parameter that the route does not take.
    """
    route: APIRoute = request.scope["route"]
    known = set(_names_of(route.dependant))
    unknown = list(islice((name for name in request.query_params if name not in known), MAX_FAULTS))
    if unknown:
        raise invalid_request([{"path": shortened(name), "message": "is no parameter of this"} for name in unknown])


def _names_of(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for each in dependant.dependencies:
        yield from _names_of(each)


async def page(
    _known: Annotated[None, Depends(only_known)],
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = DEFAULT_PAGE,
    cursor: Text | None = None,
) -> PageRequest:
    """A dependency: the page of a list that is asked for.

    Raises  InvalidCursor.  Problem: 422, a parameter that the list does not take.
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


async def engagement(engagement_id: UUID | None = None) -> EngagementId | None:
    """A dependency: the engagement that a list is of, where it is of one; the log's lines name it."""
    name_in_lines(engagementId=engagement_id)
    return None if engagement_id is None else EngagementId(engagement_id)


EngagementAsked = Annotated[EngagementId | None, Depends(engagement)]
