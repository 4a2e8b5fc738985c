"""Finds amounts and shares in a document's text by their form alone."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal

from domain.figures.model import Figure

MOST = 500
"""Figures of one document that are kept; the first."""
_SIGNS = {"€": "EUR", "$": "USD", "£": "GBP"}
_CURRENCIES = "EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN"
_NUMBER = r"\d{1,3}(?:[,'’ ]\d{3})+(?:\.\d{1,2})?|\d{1,15}(?:\.\d{1,4})?"
_FIGURE = re.compile(
    rf"(?<![\w.])(?:(?P<before>{_CURRENCIES}|[€$£]) ?(?P<minus>[-−]?)(?P<amount>{_NUMBER})"
    rf"|(?P<minus_behind>[-−]?)(?P<amount_before>{_NUMBER}) ?(?P<behind>{_CURRENCIES}|%|per cent))(?![\w])"
)
_LABEL = 160


def figures_in(text: str, page_starts: Sequence[int] = ()) -> Sequence[Figure]:
    """The figures of a text in their order; `page_starts`: where its pages begin, if it has any."""
    found: list[Figure] = []
    start = 0
    for line in text.splitlines(keepends=True):
        for figure in _in_line(line, start, page_starts):
            found.append(figure)
            if len(found) == MOST:
                return found
        start += len(line)
    return found


def _in_line(line: str, start: int, page_starts: Sequence[int]) -> Iterator[Figure]:
    behind = 0
    for match in _FIGURE.finditer(line):
        minus = match["minus"] or match["minus_behind"]
        amount = Decimal(re.sub(r"[,'’ ]", "", match["amount"] or match["amount_before"]))
        at = start + match.start()
        yield Figure(
            label=_label(line, behind, match.start()),
            printed=match[0],
            amount=-amount if minus else amount,
            unit=_unit(match["before"] or match["behind"]),
            start=at,
            end=start + match.end(),
            page=bisect_right(page_starts, at) if page_starts else None,
        )
        behind = match.end()


def _unit(printed: str) -> str:
    return _SIGNS.get(printed, "%" if printed == "per cent" else printed)


def _label(line: str, behind: int, place: int) -> str:
    """The words since the figure before; where there are none, the row's first cell."""
    near = line[behind:place].strip(" \t|:;,.-*#")
    return (near or line[:place].strip(" \t|:;,.-*#").split("|")[0].strip())[-_LABEL:]
