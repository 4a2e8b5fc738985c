"""Figures found by their form: amounts and shares, with their words and their places."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.figures.extraction import MOST, figures_in


@pytest.mark.parametrize(
    ("line", "label", "amount", "unit"),
    [
        ("Overall materiality: EUR 412,000", "Overall materiality", "412000", "EUR"),
        ("| Cash at bank | 1,204.50 EUR |", "Cash at bank", "1204.50", "EUR"),
        ("Loss of the year £-57,578", "Loss of the year", "-57578", "GBP"),
        ("Performance materiality is 75 % of it", "Performance materiality is", "75", "%"),
        ("margin 12.5 per cent", "margin", "12.5", "%"),
        ("$ 3 due", "", "3", "USD"),
    ],
)
def test_a_figure_is_found_with_the_words_before_it(line: str, label: str, amount: str, unit: str) -> None:
    (found,) = figures_in(line)
    assert (found.label, found.amount, found.unit) == (label, Decimal(amount), unit)
    assert line[found.start : found.end] == found.printed


@pytest.mark.parametrize("line", ["invoice OI-26-3187", "31 July 2026", "version 3.2", "XEUR 5", "5 EURO", "PBC 07"])
def test_what_is_no_amount_is_left_alone(line: str) -> None:
    assert figures_in(line) == []


def test_each_figure_of_a_row_has_its_place_and_its_page() -> None:
    text = "Page one\nSales | EUR 10 | EUR 20\nPage two: 30 %\n"
    found = figures_in(text, [0, text.index("Page two")])
    assert [(figure.label, figure.printed, figure.page) for figure in found] == [
        ("Sales", "EUR 10", 1),
        ("Sales", "EUR 20", 1),
        ("Page two", "30 %", 2),
    ]
    assert all(text[figure.start : figure.end] == figure.printed for figure in found)


@given(st.text(alphabet="EURUSD€%1234567890,.' -|:\nab", max_size=300))
def test_every_figure_stands_where_it_is_said_to_stand(text: str) -> None:
    for figure in figures_in(text):
        assert text[figure.start : figure.end] == figure.printed


def test_no_more_than_so_many_are_kept() -> None:
    assert len(figures_in("EUR 1\n" * (MOST + 5))) == MOST
