"""What is made of the raw figures: medians over passes, ratios to the floor, and the table that is printed."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

_TIMED = re.compile(r"\] (?P<login>\w+) (?P<transaction>\d+) LOG:  duration: ")
"""A statement's line in PostgreSQL's log, as stage.LOG_LINE_PREFIX has it; %x is 0 while nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a figure, or its ratio to the floor, is to stay below."""

    of: Literal["ratio", "figure"]
    must: float
    aim: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    unit: str
    ours: float
    floor: float | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over the floor; None without one."""
        return None if not self.floor else self.ours / self.floor

    @property
    def reached(self) -> str:
        """Which target: `aim`, `must`, or `short` of both; empty for a row that has none."""
        measured = self.ours if self.target is None or self.target.of == "figure" else self.ratio
        if self.target is None or measured is None:
            return ""
        return "aim" if measured <= self.target.aim else "must" if measured <= self.target.must else "short"


def table(title: str, rows: Sequence[Row]) -> str:
    """The rows as Markdown, which is as well read in a terminal."""
    heads = ("", "ours", "floor", "ratio", "must", "aim", "reached")
    lines = [heads, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    rule = tuple("-" * width for width in widths)
    return "\n".join((f"### {title}", "", *(_line(line, widths) for line in (heads, rule, *lines[1:]))))


def _cells(row: Row) -> tuple[str, ...]:
    must, aim = (
        ("", "") if row.target is None else (_goal(row.target, row.target.must), _goal(row.target, row.target.aim))
    )
    return (
        f"{row.name}, {row.unit}",
        _figure(row.ours),
        _figure(row.floor),
        _figure(row.ratio),
        must,
        aim,
        row.reached,
    )


def _goal(target: Target, goal: float) -> str:
    return f"{goal:g}{' x' if target.of == 'ratio' else ''}"


def _figure(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join((first, *rest))} |"


def added_ms(turns: Sequence[float], model: Sequence[float]) -> float:
    """What a server adds to the model's own time: the median turn less the model's median, in milliseconds.

    Units   turns, model: seconds.
    """
    return (median(turns) - median(model)) * 1000


def writing_transactions(log: Iterable[str]) -> dict[str, int]:
    """How many transactions wrote anything, by login, from a log of every statement's duration."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for line in log:
        found = _TIMED.search(line)
        if found is not None and found["transaction"] != "0":
            seen[found["login"]].add(found["transaction"])
    return {login: len(transactions) for login, transactions in seen.items()}
