"""Tables on a page of a PDF, which knows of none: told by columns that stand below one another, and set as rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final

from knowledge.parse.rows import table_text

_GAP = re.compile(r" {2,}")
_FEWEST_ROWS: Final = 3
_CLOSE: Final = 1
"""Characters by which columns of one table may be out of line in a page that is set with blanks."""


@dataclass(frozen=True, slots=True)
class _Cell:
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


_Row = tuple[_Cell, ...]


def with_tables(text: str, layout: str) -> str:
    """A page's text, in which the rows of tables have bars between their cells.

    `layout` is the same page set with blanks, as it is seen. Only what stands there as rows and in the text as lines of
    the same words is changed: two columns of prose side by side are not, since their text runs down each.
    """
    lines = text.split("\n")
    known = [" ".join(line.split()) for line in lines]
    reached = 0
    for table in _tables(layout):
        rows = [[" ".join(cell.text.split()) for cell in row] for row in table]
        while len(rows) >= _FEWEST_ROWS:
            at, count = _found(known, [" ".join(row) for row in rows], reached)
            if count >= _FEWEST_ROWS:
                lines[at : at + count] = table_text(rows[:count]).split("\n")
                reached = at + count
            # What a cell of several lines parts is two tables.
            rows = rows[max(count, 1) :]
    return "\n".join(lines)


def _found(known: Sequence[str], wanted: Sequence[str], start: int) -> tuple[int, int]:
    """Where the first of the wanted lines stands, and how many of them one below the other."""
    for at in range(start, len(known)):
        if known[at] == wanted[0]:
            pairs = zip(wanted, islice(known, at, None), strict=False)
            return at, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return start, 0


def _tables(layout: str) -> Iterator[list[_Row]]:
    """Runs of rows whose columns stand below one another."""
    run: list[_Row] = []
    for line in filter(str.strip, layout.split("\n")):
        row = _cells(line)
        if len(row) > 1 and (not run or _is_below(run, row)):
            run.append(row)
            continue
        if len(run) >= _FEWEST_ROWS:
            yield run
        run = [row] if len(row) > 1 else []
    if len(run) >= _FEWEST_ROWS:
        yield run


def _cells(line: str) -> _Row:
    cells: list[_Cell] = []
    at = 0
    for gap in (*_GAP.finditer(line), None):
        end = len(line) if gap is None else gap.start()
        if text := line[at:end].strip():
            cells.append(_Cell(at, text))
        at = end if gap is None else gap.end()
    return tuple(cells)


def _is_below(run: Sequence[_Row], row: _Row) -> bool:
    """Whether each cell but the first begins or ends where one of the rows above does."""
    columns = [cell for above in run[-3:] for cell in above[1:]]
    return all(
        any(abs(cell.start - each.start) <= _CLOSE or abs(cell.end - each.end) <= _CLOSE for each in columns)
        for cell in row[1:]
    )
