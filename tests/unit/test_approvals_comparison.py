"""A call that waits laid out row by row, beside the last like call; and how that reads at a terminal."""

from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.comparison import MOST_ROWS, ArgumentRow, Change, LikeCall, compared
from domain.kernel import CallId
from server.cli.laying_out import approval_lines
from tests.support.calls import NOW
from tools.outcomes import Json
from tools.views.calls import comparison_json

ID = CallId(UUID(int=7))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text(min_size=1, max_size=3), VALUES, max_size=4)


def text(arguments: object) -> str:
    return orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode()


def like(arguments: object) -> LikeCall:
    return LikeCall(call_id=ID, made_at=NOW, made_by="eva@firm.example", same_requester=True, arguments=text(arguments))


def changes(now: object, before: object) -> dict[str, Change | None]:
    return {row.argument: row.change for row in compared(text(now), like(before)).rows}


def test_each_member_stands_beside_what_it_was() -> None:
    now = {"control": "report_release", "evidence": [{"subject": "Report", "version": "2"}, {"subject": "Letter"}]}
    before = {"control": "report_release", "evidence": [{"subject": "Report", "version": "1", "note": "sent"}]}
    assert compared(text(now), like(before)).rows == (
        ArgumentRow(argument="control", change="same", value="report_release", last_value="report_release"),
        ArgumentRow(argument="evidence[0].subject", change="same", value="Report", last_value="Report"),
        ArgumentRow(argument="evidence[0].version", change="changed", value="2", last_value="1"),
        ArgumentRow(argument="evidence[1].subject", change="added", value="Letter"),
        ArgumentRow(argument="evidence[0].note", change="removed", last_value="sent"),
    )


def test_without_a_like_call_nothing_is_said_of_changes() -> None:
    told = compared(text({"title": "T", "tags": ["a", "b"]}), None)
    assert told.rows == (
        ArgumentRow(argument="tags", change=None, value=["a", "b"]),
        ArgumentRow(argument="title", change=None, value="T"),
    )
    assert comparison_json(told) == {
        "rows": [{"argument": "tags", "value": ["a", "b"]}, {"argument": "title", "value": "T"}]
    }


@pytest.mark.parametrize(
    ("now", "before", "change"),
    [(1, "1", "changed"), (1, True, "changed"), (None, "", "changed"), ([], {}, "changed"), (["a"], ["a"], "same")],
)
def test_values_are_told_apart_as_json_tells_them_apart(now: object, before: object, change: Change) -> None:
    assert changes({"x": now}, {"x": before}) == {"x": change}


@given(ARGUMENTS)
def test_what_is_compared_with_itself_does_not_differ(arguments: object) -> None:
    assert compared(text(arguments), like(arguments)).differing == ()


@given(ARGUMENTS, ARGUMENTS)
def test_what_says_something_else_differs_somewhere(now: object, before: object) -> None:
    same_rows = compared(text(now), None).rows == compared(text(before), None).rows
    assert bool(compared(text(now), like(before)).differing) == (not same_rows)


def test_no_more_is_laid_out_than_can_be_read() -> None:
    told = compared(text({f"a{n:04}": n for n in range(MOST_ROWS + 3)}), None)
    assert (len(told.rows), told.rows_left_out) == (MOST_ROWS, 3)


def test_the_terminal_marks_what_differs_and_shows_every_argument_whole() -> None:
    now = {"control": "report_release", "evidence": [{"version": "2"}], "why": "a\nb\x1b[31m" + "c" * 300}
    item: Json = {
        "id": "a1",
        "state": "pending",
        "tool": "release_submit",
        "arguments": now,
        "reasons": ["irreversible_needs_approval"],
        "requested_by": "eva@firm.example",
        "needs_role": "PARTNER",
        "four_eyes": True,
        "expires_at": "2026-11-29T17:54:00+00:00",
        "comparison": comparison_json(
            compared(text(now), like({"control": "report_release", "evidence": [{"version": "1"}], "note": "n"}))
        ),
    }
    lines = approval_lines(item)
    assert "    control              report_release" in lines
    assert "  ~ evidence[0].version  2  (was 1)" in lines
    assert any(line.startswith("  - note") and line.endswith("(was n)") for line in lines)
    assert any(line.endswith("c" * 300) for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert "  compared with: the last that they made, 2026-11-02 09:00 UTC; 3 differ" in lines
