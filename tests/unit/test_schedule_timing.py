"""When a schedule is due: on the clock of its zone, through the nights when clocks are changed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.schedules.timing import InvalidCron, Timing, UnknownTimeZone

NOW = datetime(2026, 11, 29, tzinfo=UTC)
MALTA = ZoneInfo("Europe/Malta")
"""Clocks go from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October 2026."""


def due(cron: str, start: datetime, count: int, zone: str = "Europe/Malta") -> list[str]:
    """The next due times as the zone's clock shows them."""
    timing, moment, times = Timing.parse(cron, zone, start), start, list[str]()
    for _ in range(count):
        moment = timing.after(moment)
        times.append(moment.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
    return times


def test_a_time_of_day_follows_the_zones_clock_through_the_year() -> None:
    assert due("0 7 1 * *", datetime(2026, 3, 15, tzinfo=UTC), 2) == [
        "2026-04-01T07:00+02:00",
        "2026-05-01T07:00+02:00",
    ]
    assert due("0 7 1 * *", datetime(2026, 10, 15, tzinfo=UTC), 1) == ["2026-11-01T07:00+01:00"]


def test_a_time_that_the_clock_leaves_out_is_due_when_the_hour_is_over() -> None:
    assert due("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=MALTA), 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_a_time_that_comes_twice_is_due_once() -> None:
    assert due("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=MALTA), 2) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_in_the_second_round_of_an_hour_that_comes_twice_a_time_of_the_first_is_over() -> None:
    assert due("30 2 * * *", datetime(2026, 10, 25, 2, 10, tzinfo=MALTA, fold=1), 1) == ["2026-10-26T02:30+01:00"]


def test_what_recurs_goes_on_through_the_hour_that_comes_twice() -> None:
    assert due("*/30 * * * *", datetime(2026, 10, 25, 1, 30, tzinfo=MALTA), 5) == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T02:30+01:00",
        "2026-10-25T03:00+01:00",
    ]


def test_weekdays_are_those_of_the_zone_and_not_of_utc() -> None:
    assert due("0 8 * * MON", datetime(2026, 11, 1, tzinfo=UTC), 1, "Pacific/Auckland") == ["2026-11-02T08:00+13:00"]


@given(
    st.integers(1_580_000_000, 2_180_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 */3 * * SUN"]),
    st.sampled_from(["Europe/Malta", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu", "UTC"]),
)
def test_due_times_only_grow_and_are_a_minute_apart_at_least(start: datetime, cron: str, zone: str) -> None:
    timing = Timing.parse(cron, zone, start)
    first = timing.after(start)
    assert first > start
    assert timing.after(first) - first >= timedelta(minutes=1)


def test_what_was_missed_is_counted_to_a_thousand() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    timing = Timing.parse("0 * * * *", "UTC", first)
    assert timing.missed(first, first + timedelta(minutes=59)) == 0
    assert timing.missed(first, first + timedelta(hours=3)) == 3
    assert timing.missed(first, first + timedelta(days=365)) == 1000


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("", "wrong number of fields"),
        ("* * * *", "wrong number of fields"),
        ("@daily", "wrong number of fields"),
        ("61 * * * *", "bad minute"),
        ("*/0 * * * *", "bad minute"),
        ("٣ * * * *", "bad minute"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("* * * * * *", "more often than once a minute"),
        ("*/10 * * * * *", "more often than once a minute"),
        ("0 0 * FEB TUE#6", "bad day-of-week"),
    ],
)
def test_what_is_no_cron_expression_is_refused_in_words(cron: str, words: str) -> None:
    with pytest.raises(InvalidCron, match=words):
        Timing.parse(cron, "UTC", NOW)


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "Europe", "../../etc/passwd", "/etc/localtime", "\ud800", "europe/malta"]
)
def test_what_is_no_time_zone_is_refused_in_words(zone: str) -> None:
    with pytest.raises(UnknownTimeZone, match="time zone"):
        Timing.parse("0 7 * * *", zone, NOW)


def test_time_zones_are_there_on_a_machine_that_has_none_of_its_own() -> None:
    import tzdata

    assert tzdata.IANA_VERSION
