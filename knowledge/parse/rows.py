"""Rows of cells as lines that a reader understands one by one: each value with its column's name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from knowledge.parse.builder import DocumentBuilder

SEPARATOR: Final = " | "
_LONGEST_NAME: Final = 60
_NUMBER = re.compile(r"[-+(]?[^\w\s]?\s?\d[\d.,' \u00a0]*\)?\s?[%\w]{0,3}\Z")
_YEAR = re.compile(r"(?:19|20)\d\d\Z")
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}")

_LONGEST_WHOLE: Final = 1_000
"""Characters of a table that surely stands in one passage, its names of columns with all of its rows."""

Row = Sequence[str]


def add_rows(builder: DocumentBuilder, rows: Iterable[Row]) -> None:
    """Appends a table for each run of rows with something in them; blank rows part one table from the next.

    A title above a table (one filled cell) becomes a paragraph. The first row of names stands as it is; in the rows
    below it each value follows its column's name, so that a passage cut out of the middle says what its figures are.
    """
    for filled, run in groupby(rows, key=any):
        if filled:
            _add_table(builder, list(run))


def table_text(rows: Iterable[Row]) -> str:
    """A table within a document: a row a line, cells parted by bars, as it stands there.

    One that may be cut into several passages repeats its columns' names in each row, as a sheet does.
    """
    filled = [row for row in rows if any(row)]
    if sum(sum(map(len, row)) for row in filled) > _LONGEST_WHOLE and is_header(filled[0]):
        return "\n".join(_lines(filled))
    return "\n".join(map(SEPARATOR.join, filled))


def _add_table(builder: DocumentBuilder, rows: list[Row]) -> None:
    while rows and _width(rows[0]) == 1:
        builder.add("paragraph", _joined(rows.pop(0)))
    builder.add("table", "\n".join(_lines(rows)))


def _lines(rows: list[Row]) -> Iterator[str]:
    if len(rows) < 2 or not is_header(rows[0]):
        yield from map(_joined, rows)
        return
    names = [cell[:_LONGEST_NAME].rstrip(": ") for cell in rows[0]]
    yield _joined(rows[0])
    for row in rows[1:]:
        yield SEPARATOR.join(_named(names, index, cell) for index, cell in enumerate(row) if cell)


def is_header(row: Row) -> bool:
    """Whether a row reads as the names of columns: two at least, all different, and words or years."""
    cells = [cell for cell in row if cell]
    if len(cells) < 2 or len(set(cells)) < len(cells):
        return False
    # "Client: | Ostrivane" is the first line of a form and not the head of a table.
    if len(cells) == 2 and cells[0].endswith(":"):
        return False
    words = [cell for cell in cells if not _YEAR.match(cell)]
    return bool(words) and not any(_NUMBER.match(cell) or _DATE.match(cell) for cell in words)


def _named(names: Sequence[str], index: int, cell: str) -> str:
    name = names[index] if index < len(names) else ""
    return f"{name}: {cell}" if name else cell


def _joined(row: Row) -> str:
    return SEPARATOR.join(cell for cell in row if cell)


def _width(row: Row) -> int:
    return sum(1 for cell in row if cell)
