"""A report's chart as it is drawn: every day of its period, whether or not anything happened on it."""

from typing import Any

import pytest

from server.rest.analytics import picture_of, times_of


def result(group_by: str, first: str, last: str, x: list[str], values: list[int]) -> dict[str, Any]:
    series = [{"name": "calls", "label": "Calls", "values": values}]
    chart = {"title": "t", "x_label": "x", "y_label": "y", "stacked": True, "x": x, "series": series}
    return {"group_by": group_by, "first_day": first, "last_day": last, "summary": "s", "chart": chart}


def test_a_day_without_anything_is_a_gap_and_not_left_out() -> None:
    picture = picture_of(result("day", "2026-02-27", "2026-03-02", ["2026-02-27", "2026-03-02"], [3, 4]))
    assert picture.x == ("2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02")
    assert picture.series[0].values == (3, 0, 0, 4)


@pytest.mark.parametrize(
    ("group_by", "first", "last", "times"),
    [
        ("week", "2026-12-27", "2027-01-11", ["2026-W52", "2026-W53", "2027-W01", "2027-W02"]),
        ("month", "2026-11-30", "2027-01-01", ["2026-11", "2026-12", "2027-01"]),
        ("day", "2026-11-30", "2026-11-30", ["2026-11-30"]),
    ],
)
def test_weeks_and_months_are_named_as_the_report_names_them(
    group_by: str, first: str, last: str, times: list[str]
) -> None:
    assert times_of(result(group_by, first, last, [], [])) == times


def test_names_stay_as_they_are_and_nothing_stays_nothing() -> None:
    assert picture_of(result("tool", "2026-11-01", "2026-11-30", ["b", "a"], [2, 1])).x == ("b", "a")
    assert picture_of(result("day", "2026-11-01", "2026-11-30", [], [])).x == ()
