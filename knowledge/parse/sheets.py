"""XLSX: the canonical text is the values that a reader sees, a section a sheet and a line a row."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

from knowledge.parse.builder import DocumentBuilder
from knowledge.parse.decode import storable
from knowledge.parse.document import XLSX, ParsedDocument, ParseLimits, Unreadable
from knowledge.parse.package import DAMAGED, Package
from knowledge.parse.rows import Row, add_rows
from knowledge.parse.sheet_marks import ShownRows, read_marks

if TYPE_CHECKING:
    from openpyxl import Workbook

_NO_VALUES = "no sheet shows a value; a workbook whose formulas were never calculated must be opened and saved once"


def parse_xlsx(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """What each sheet shows, with the results of its formulas; macros, links, pictures and charts are not looked at.

    Raises  Unreadable: damaged, protected by a password, without values, or larger than `limits`.
    """
    package = Package(content, limits)
    try:
        builder = _read(content, package, limits)
    except (Unreadable, MemoryError):
        raise
    # openpyxl follows whatever a broken file refers to: nearly any exception type comes out of it.
    except Exception as error:
        raise Unreadable(DAMAGED) from error
    return ParsedDocument(media_type=XLSX, text=builder.text, blocks=tuple(builder.blocks))


def _read(content: bytes, package: Package, limits: ParseLimits) -> DocumentBuilder:
    from openpyxl import load_workbook

    builder, read = DocumentBuilder(), _Read(limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that are not read here
        workbook = load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
        for sheet in _sheets(workbook):
            shown = ShownRows(read_marks(package, sheet.part))
            # A bomb may be a thousand sheets of nothing: what was read counts over all of them.
            add_sheet(builder, sheet.title, read.counted(shown.of(sheet.rows), builder))
            builder.add("paragraph", shown.note)
    if read.is_empty:
        raise Unreadable(_NO_VALUES)
    return builder


def add_sheet(builder: DocumentBuilder, title: str, rows: Iterator[Row]) -> None:
    """Appends a sheet below its name; a sheet of nothing leaves only its name."""
    builder.add_heading(1, storable(title))
    add_rows(builder, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """A sheet that is shown."""

    title: str
    part: str
    """The name of the part that holds it."""
    rows: Iterator[Row]


class _Read:
    """Counts what was read of a workbook, and stops at its limits."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._rows = 0
        self._characters = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was read that holds anything."""
        return self._rows == 0

    def counted(self, rows: Iterator[Row], builder: DocumentBuilder) -> Iterator[Row]:
        for row in rows:
            if any(row):
                self._rows += 1
                self._characters += sum(map(len, row))
            if self._rows > self._limits.rows:
                raise Unreadable(f"it has more than {self._limits.rows:,} rows")
            if builder.length + self._characters > 2 * self._limits.characters:
                raise Unreadable(f"it holds more than {self._limits.characters:,} characters of text")
            if len(row) > self._limits.columns and any(row[self._limits.columns :]):
                raise Unreadable(f"it has more than {self._limits.columns:,} columns")
            yield row


def _sheets(workbook: Workbook) -> Iterator[_Sheet]:
    """What a sheet hides nobody who vouches for the workbook has read; its rows have no size but what they hold."""
    for sheet in workbook.worksheets:
        if sheet.sheet_state == "visible":
            sheet.reset_dimensions()
            # openpyxl's own name for it: looked up again by the sheet's name, another part could be meant.
            part = str(getattr(sheet, "_worksheet_path", ""))
            yield _Sheet(title=sheet.title, part=part, rows=map(_cells, sheet.iter_rows()))


def _cells(row: Iterable[Any]) -> Row:
    """The cells to the last that holds something: one that is empty may lie 16,384 columns out, in each row."""
    cells = list(map(_shown, row))
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _shown(cell: Any) -> str:
    """A cell as its reader sees it, near enough: dates without a time of zero, percentages as such.

    Any: openpyxl's stubs give a dozen types of cells, of which those of a read-only sheet are one.
    """
    value: object = cell.value
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case int() | float():
            return _number(value, str(cell.number_format))
        case datetime():
            return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "minutes")
        case date() | time() | timedelta():
            return str(value)
        case _:
            return " ".join(storable(str(value)).split())


def _number(value: float, number_format: str) -> str:
    return f"{value * 100:.12g}%" if number_format.endswith("%") else f"{value:.15g}"
