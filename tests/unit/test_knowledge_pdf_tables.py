"""A table on a page of a PDF is read row by row, its cells told apart; prose beside prose is left as it is."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.chunk import chunk_document
from knowledge.parse.document import ParsedDocument
from knowledge.parse.pdf_tables import with_tables
from knowledge.parse.reader import parse_document

fpdf = pytest.importorskip("fpdf", reason="fpdf2 makes these PDFs; it is not installed")

BALANCES = [
    ("Customer", "Balance", "Confirmed on"),
    ("Velm AG", "174,000.50", "2026-07-03"),
    ("Narro Ltd of the long name", "-12.00", "2026-07-03"),
    ("Third", "1,200.00", "2026-07-04"),
]


def parsed(*rows: tuple[str, ...], before: str = "Before.", after: str = "After the table.") -> ParsedDocument:
    made, buffer = fpdf.FPDF(), BytesIO()
    made.set_font("Helvetica", size=10)
    made.add_page()
    made.multi_cell(0, 6, f"{before}\n\n")
    with made.table() as table:
        for row in rows:
            cells = table.row()
            for cell in row:
                cells.cell(cell)
    made.multi_cell(0, 6, f"\n{after}")
    made.output(buffer)
    return parse_document(buffer.getvalue(), media_type="application/pdf")


def test_a_table_is_a_block_of_rows_between_the_words_around_it() -> None:
    document = parsed(*BALANCES)
    assert [(block.kind, document.text[block.start : block.end]) for block in document.blocks] == [
        ("paragraph", "Before."),
        ("table", "\n".join(map(" | ".join, BALANCES))),
        ("paragraph", "After the table."),
    ]


def test_each_passage_of_a_long_table_says_what_its_columns_are() -> None:
    rows = [BALANCES[0], *((f"Customer number {number}", f"{number}.50", "2026-07-03") for number in range(60))]
    tables = [chunk.text for chunk in chunk_document(parsed(*rows), budget=64) if "number" in chunk.text]
    assert len(tables) > 5
    assert sum("Customer: Customer number" in text and "Balance: " in text for text in tables) >= len(tables) // 2


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("left one\nleft two\nleft three\nright one\nright two\nright three",
         "left one      right one\nleft two      right two\nleft three    right three"),
        ("a 1\nb 2", "a     1\nb     2"),
        ("a 1\nb 2\nc 3", "a     1\nb             2\nc  3"),
    ],
    ids=["two columns of prose", "two rows", "not below one another"],
)  # fmt: skip
def test_what_is_no_table_is_left_as_it_is(text: str, layout: str) -> None:
    assert with_tables(text, layout) == text


@given(st.lists(st.text("ab1 \n", max_size=30), max_size=8).map("\n".join), st.text("ab1 \n", max_size=200))
def test_nothing_is_lost_but_blanks(text: str, layout: str) -> None:
    def bare(words: str) -> str:
        return "".join(words.replace("|", " ").split())

    assert bare(with_tables(text, layout)) == bare(text)
