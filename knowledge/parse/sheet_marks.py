"""What openpyxl does not tell of a sheet that it reads row by row: what is hidden, merged and was never calculated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from knowledge.parse.document import Unreadable
from knowledge.parse.package import DAMAGED, Package
from knowledge.parse.rows import Row

_MOST_COLUMNS: Final = 16_384
"""Of a sheet, and so of what can be said of columns."""
_ON: Final = ("1", "true", "on")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merged:
    """Cells shown as one, from the second row on: its words stand beside each row that it spans."""

    column: int
    """Where the words stand."""
    shown_in: int
    """The first of its columns that is shown."""
    last_row: int


@dataclass(slots=True)
class Marks:
    """Of one sheet; rows and columns are counted from 1."""

    hidden_columns: set[int] = field(default_factory=set[int])
    hidden_rows: set[int] = field(default_factory=set[int])
    merged: dict[int, list[_Merged]] = field(default_factory=dict[int, list[_Merged]])
    """By the first row."""
    uncalculated: int = 0
    """Formulas without a result, where they are shown."""


def read_marks(package: Package, part: str) -> Marks:
    """The marks of the sheet that this part holds.

    Raises  Unreadable: it is damaged.
    """
    marks, row_number = Marks(), 0
    readers: Mapping[str, Callable[[Marks, Element], None]] = {"col": _note_columns, "mergeCell": _note_merged}
    try:
        for element in package.elements(part, {"col", "row", "mergeCell"}):
            tag = _local(element)
            if tag == "row":
                row_number = int(element.get("r") or row_number + 1)
                _note_row(marks, element, row_number)
            else:
                readers[tag](marks, element)
    except (ValueError, OverflowError) as damaged:
        raise Unreadable(DAMAGED) from damaged
    return marks


def _note_columns(marks: Marks, element: Element) -> None:
    if element.get("hidden") in _ON or _is_nothing(element.get("width")):
        first, last = int(element.get("min", "1")), int(element.get("max", "1"))
        marks.hidden_columns.update(range(max(first, 1), min(last, _MOST_COLUMNS) + 1))


def _note_row(marks: Marks, element: Element, number: int) -> None:
    if element.get("hidden") in _ON or _is_nothing(element.get("ht")):
        marks.hidden_rows.add(number)
        return
    for cell in element:
        if _is_uncalculated(cell) and _column_of(cell.get("r", "")) not in marks.hidden_columns:
            marks.uncalculated += 1


def _is_uncalculated(cell: Element) -> bool:
    """A formula without a result; one whose result is no words says that it is of words."""
    parts = {_local(each): each.text for each in cell}
    return "f" in parts and not parts.get("v") and cell.get("t") != "str"


def _note_merged(marks: Marks, element: Element) -> None:
    from openpyxl.utils.cell import range_boundaries

    left, top, right, bottom = (int(each or 1) for each in range_boundaries(element.get("ref", "")))
    columns = range(left, min(right, _MOST_COLUMNS) + 1)
    shown_in = next((each for each in columns if each not in marks.hidden_columns), left)
    if bottom > top or shown_in != left:
        marks.merged.setdefault(top, []).append(_Merged(column=left, shown_in=shown_in, last_row=bottom))


def _column_of(reference: str) -> int:
    """The number of the column that a cell's name such as BC12 begins with; 0 without a name."""
    number = 0
    for letter in reference.rstrip("0123456789")[:3].upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _is_nothing(size: str | None) -> bool:
    """A width or a height of zero hides as well as the mark does."""
    return size is not None and float(size) == 0


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


class ShownRows:
    """A sheet's rows as its reader sees them; `note` says afterwards what of it a reader does not see."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._spans: dict[int, tuple[str, int]] = {}
        """By column: the words of merged cells that reach into the rows to come, and their last row."""
        self._rows = 0
        self._columns: set[int] = set()

    def of(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows that are shown, without hidden columns; what is merged over several stands in each of them."""
        for number, row in enumerate(rows, 1):
            cells = list(row)
            self._fill(number, cells)
            if number in self._marks.hidden_rows:
                self._rows += any(cells)
            else:
                yield self._shown(cells)

    @property
    def note(self) -> str:
        """What is left out, and what has no value; empty where that is nothing."""
        left_out = [_counted(len(self._columns), "column"), _counted(self._rows, "row")]
        hidden = " and ".join(filter(None, left_out))
        verb = "is" if len(self._columns) + self._rows == 1 else "are"
        formulas = _counted(self._marks.uncalculated, "formula")
        never = "was never" if self._marks.uncalculated == 1 else "were never"
        said = [f"{hidden} {verb} hidden and left out"] if hidden else []
        said += [f"{formulas} {never} calculated"] if formulas else []
        return f"({'; '.join(said)}.)" if said else ""

    def _fill(self, number: int, cells: list[str]) -> None:
        begun = self._marks.merged.get(number, ())
        for span in begun:
            self._spans[span.shown_in] = (_cell(cells, span.column), span.last_row)
        # A row of nothing parts two tables, also where merged cells reach over it.
        if any(cells):
            for column, (words, _) in self._spans.items():
                if words and not _cell(cells, column):
                    cells.extend([""] * (column - len(cells)))
                    cells[column - 1] = words
        for column in [column for column, (_, last) in self._spans.items() if last <= number]:
            del self._spans[column]

    def _shown(self, cells: list[str]) -> Row:
        hidden = [column for column in self._marks.hidden_columns if column <= len(cells)]
        self._columns.update(column for column in hidden if cells[column - 1])
        for column in sorted(hidden, reverse=True):
            del cells[column - 1]
        return cells


def _cell(cells: list[str], column: int) -> str:
    return cells[column - 1] if column <= len(cells) else ""


def _counted(number: int, noun: str) -> str:
    return "" if number == 0 else f"{number:,} {noun}{'' if number == 1 else 's'}"
