"""How values stand in what is shown: lists page by page, what is optional, ids and times."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import orjson

from domain.paging import Page
from tools.outcomes import Json

Item = TypeVar("Item")


def page_json(page: Page[Item], view: Callable[[Item], Json]) -> Json:
    """A page as every list shows it: `{"items", "next_cursor"}`."""
    return {"items": [view(item) for item in page.items], "next_cursor": page.next_cursor}


def given(**members: object) -> Json:
    """The members that there are; optional keys are left out rather than null."""
    return {name: value for name, value in members.items() if value is not None}


def parsed(name: str, text: str | None) -> Json:
    """A member that the record keeps as JSON text; none where it was erased."""
    if text is None:
        return {}
    try:
        return {name: orjson.loads(text)}
    except orjson.JSONDecodeError:  # what was kept of unreadable arguments may be cut off
        return {name: text}


def id_text(value: UUID | None) -> str | None:
    """An id as text, where there is one."""
    return None if value is None else str(value)


def time_text(value: datetime | None) -> str | None:
    """A time as ISO 8601 writes it, where there is one."""
    return None if value is None else value.isoformat()
