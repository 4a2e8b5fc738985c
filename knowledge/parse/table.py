"""CSV: the canonical text is its rows as lines with the names of their columns."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from typing import Final

from knowledge.parse.builder import DocumentBuilder
from knowledge.parse.decode import decode_text
from knowledge.parse.document import ParsedDocument, ParseLimits, Unreadable
from knowledge.parse.rows import add_rows

_DELIMITERS: Final = ",;\t|"
_SAMPLE_ROWS: Final = 50
_SAMPLE: Final = 200_000
"""Characters."""
_LONGEST_CELL: Final = 1_000_000
_END: Final = "end of the file"
_BROKEN: Final = "a quoted cell never ends, or is too long; the file may be damaged or no CSV at all"


def parse_csv(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """One table, or several parted by blank rows; commas, semicolons, tabs and bars are told apart by what they give.

    Raises  Unreadable: the bytes are no text, a quotation never ends, or there is more than `limits`.
    """
    text = decode_text(content)
    builder = DocumentBuilder()
    add_rows(builder, _rows(text, limits))
    return ParsedDocument(media_type="text/csv", text=builder.text, blocks=tuple(builder.blocks))


def delimiter_of(text: str) -> str:
    """What parts the cells: the sign that most rows agree on having, most often; a comma where none is.

    The standard library's Sniffer guesses from letters too, and takes a word's vowel for a delimiter.
    """
    return max(_DELIMITERS, key=lambda delimiter: _agreement(text[:_SAMPLE], delimiter))


def _agreement(sample: str, delimiter: str) -> tuple[int, int]:
    try:
        widths = Counter(len(row) for row in islice(_reader(sample, delimiter), _SAMPLE_ROWS) if any(row))
    except csv.Error:
        return (0, 0)
    columns, rows = max(
        ((width, count) for width, count in widths.items() if width > 1), key=lambda each: each[1], default=(0, 0)
    )
    return rows, columns


def _rows(text: str, limits: ParseLimits) -> Iterator[list[str]]:
    """The rows, each once the one behind it was read: only then no quotation has swallowed it."""
    waiting: list[str] | None = None
    try:
        for number, row in enumerate(_reader(_with_end(text), delimiter_of(text))):
            if number > limits.rows:
                raise Unreadable(f"it has more than {limits.rows:,} rows")
            if len(row) > limits.columns:
                raise Unreadable(f"it has more than {limits.columns:,} columns")
            if waiting is not None:
                yield [" ".join(cell.split()) for cell in waiting]
            waiting = row
    except csv.Error as broken:
        raise Unreadable(_BROKEN) from broken
    if waiting != [_END]:
        raise Unreadable(_BROKEN)


def _with_end(text: str) -> str:
    """The text and one more row, which is a part of the last cell where its quotation never ends."""
    return text + ("" if text.endswith("\n") else "\n") + _END


def _reader(text: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_CELL)
    return csv.reader(StringIO(text, newline=""), delimiter=delimiter)
