"""XLSX: the canonical text is the values that a reader sees, a section a sheet and a line a row."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

from knowledge.parse.builder import DocumentBuilder
from knowledge.parse.decode import storable
from knowledge.parse.document import XLSX, ParsedDocument, ParseLimits, Unreadable
from knowledge.parse.package import DAMAGED, Package
from knowledge.parse.rows import Row, add_rows

if TYPE_CHECKING:
    from openpyxl import Workbook

_NO_VALUES = "no sheet shows a value; a workbook whose formulas were never calculated must be opened and saved once"


def parse_xlsx(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """Each sheet that is shown, with the results of its formulas; macros, links, pictures and charts are not looked at.

    Raises  Unreadable: damaged, protected by a password, without values, or larger than `limits`.
    """
    Package(content, limits)
    try:
        builder = _read(content, limits)
    except Unreadable:
        raise
    # openpyxl follows whatever a broken file refers to: nearly any exception type comes out of it.
    except Exception as error:
        raise Unreadable(DAMAGED) from error
    if all(block.kind == "heading" for block in builder.blocks):
        raise Unreadable(_NO_VALUES)
    return ParsedDocument(media_type=XLSX, text=builder.text, blocks=tuple(builder.blocks))


def _read(content: bytes, limits: ParseLimits) -> DocumentBuilder:
    from openpyxl import load_workbook

    builder, read = DocumentBuilder(), _Read(limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that are not read here
        workbook = load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
        for title, rows in _sheets(workbook):
            # A bomb may be a thousand sheets of nothing: what was read counts over all of them.
            add_sheet(builder, title, read.counted(rows, builder))
    return builder


def add_sheet(builder: DocumentBuilder, title: str, rows: Iterator[Row]) -> None:
    """Appends a sheet below its name; a sheet of nothing leaves only its name."""
    builder.add_heading(1, storable(title))
    add_rows(builder, rows)


class _Read:
    """Counts what was read of a workbook, and stops at its limits."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._rows = 0
        self._characters = 0

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


def _sheets(workbook: Workbook) -> Iterator[tuple[str, Iterator[Row]]]:
    """What a sheet hides nobody who vouches for the workbook has read; its rows have no size but what they hold."""
    for sheet in workbook.worksheets:
        if sheet.sheet_state == "visible":
            sheet.reset_dimensions()
            yield sheet.title, (tuple(map(_shown, row)) for row in sheet.iter_rows())


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
