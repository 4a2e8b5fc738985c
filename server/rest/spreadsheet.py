"""Tables as CSV (RFC 4180) that a spreadsheet program opens as what they are: a name is never a formula."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence

from domain.analytics.model import Cell

_FORMULA = frozenset("=+-@\t\r\n")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """The table with its head; numbers as numbers, what is not there as nothing."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    for row in (columns, *rows):
        writer.writerow([_cell(cell) for cell in row])
    return file.getvalue()


def _cell(cell: Cell) -> Cell:
    return neutral(cell) if isinstance(cell, str) else cell


def neutral(text: str) -> str:
    """The text, behind an apostrophe where a spreadsheet might reckon with it.

    Source  OWASP, CSV Injection; full-width signs, which some programs take for the plain ones, and signs behind
    blanks or invisible characters besides.
    """
    shown = unicodedata.normalize("NFKC", text).lstrip(" \u200b\u200e\u200f\u2060\ufeff")
    return f"'{text}" if shown[:1] in _FORMULA or text[:1] in _FORMULA else text
