"""Pages by key: cursors that come back as they went out, and whatever else is sent is refused in words."""

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.paging import (
    InvalidCursor,
    InvalidLimit,
    Position,
    cursor_of,
    page_of,
    page_request,
    position_of,
)

NOW = datetime(2026, 11, 2, tzinfo=UTC)
positions = st.builds(
    Position,
    time=st.datetimes(timezones=st.sampled_from([UTC])),
    id=st.uuids(),
)


@given(positions)
def test_a_cursor_comes_back_as_the_place_it_was_made_of(position: Position) -> None:
    assert position_of(cursor_of(position)) == position


@given(positions)
def test_a_cursor_needs_no_quoting_in_an_address(position: Position) -> None:
    assert all(letter.isalnum() or letter in "-_" for letter in cursor_of(position))


@given(st.text())
def test_whatever_is_sent_as_a_cursor_is_taken_or_refused_and_never_an_error(text: str) -> None:
    with suppress(InvalidCursor):
        assert position_of(text).time.tzinfo is UTC


@pytest.mark.parametrize(
    "inner",
    [
        b"not json",
        b"[]",
        b'["2026-01-01T00:00:00"]',
        b'["2026-01-01T00:00:00", "00000000-0000-4000-8000-000000000000"]',
        b'["2026-01-01T00:00:00Z", 5]',
        b'[5, "00000000-0000-4000-8000-000000000000"]',
        b'{"a": 1, "b": 2}',
        b'["2026-13-01T00:00:00Z", "00000000-0000-4000-8000-000000000000"]',
        b'["0001-01-01T00:00:00+14:00", "00000000-0000-4000-8000-000000000000"]',
        b"null",
        b"5",
    ],
)
def test_a_cursor_that_no_list_gave_is_refused(inner: bytes) -> None:
    with pytest.raises(InvalidCursor):
        position_of(base64.urlsafe_b64encode(inner).decode())


@pytest.mark.parametrize("limit", [0, -1, 101, 10**9])
def test_a_page_holds_between_one_and_a_hundred(limit: int) -> None:
    with pytest.raises(InvalidLimit, match=str(limit)):
        page_request(limit=limit)


@pytest.mark.parametrize(("found", "shown", "more"), [(0, 0, False), (2, 2, False), (3, 3, False), (4, 3, True)])
def test_the_item_too_many_only_says_that_there_is_more(found: int, shown: int, more: bool) -> None:
    items = [Position(time=NOW - timedelta(seconds=n), id=UUID(int=n)) for n in range(found)]
    page = page_of(items, page_request(limit=3), lambda position: position)
    assert page.items == tuple(items[:shown])
    assert page.next_cursor == (cursor_of(items[2]) if more else None)


def test_a_page_of_changed_items_keeps_its_cursor() -> None:
    items = [Position(time=NOW, id=UUID(int=n)) for n in range(2)]
    page = page_of(items, page_request(limit=1), lambda position: position)
    changed = page.of(lambda position: position.id.int)
    assert (changed.items, changed.next_cursor) == ((0,), page.next_cursor)
