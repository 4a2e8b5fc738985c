"""A table as CSV: what is a name stays a name in whichever program opens it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.rest.spreadsheet import csv_text, neutral

FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =cmd|' /C calc'!A0",
    "\u200b=1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20A1",
    '=HYPERLINK("http://evil.example")',
)


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_reckon_with_stands_behind_an_apostrophe(text: str) -> None:
    assert neutral(text) == f"'{text}"


@pytest.mark.parametrize("text", ["task_list", "(other)", "2026-11-01", "a=b", "Œuvre, «x»", "", "'=1"])
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text


def test_numbers_stay_numbers_and_nothing_stays_nothing() -> None:
    text = csv_text(["tool", "calls", "p50_ms"], [["=x", -3, 1.5], ['say "hi", twice', 0, None]])
    assert text == 'tool,calls,p50_ms\r\n\'=x,-3,1.5\r\n"say ""hi"", twice",0,\r\n'


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))))
def test_a_reader_gets_back_every_cell(names: list[str]) -> None:
    rows = list(csv.reader(io.StringIO(csv_text(["name", "n"], [[name, 1] for name in names]), newline="")))
    assert rows == [["name", "n"], *([neutral(name), "1"] for name in names)]
