"""Cuts a parsed document into the passages that are searched and cited: by its structure, within a token budget."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from knowledge.parse.document import BlockKind, ParsedDocument
from knowledge.tokens import count_tokens

DEFAULT_BUDGET: Final = 320
"""Tokens a chunk: a page's third, small enough for a pinpoint citation and large enough to be understood alone."""

_WIDEST_GAP: Final = 64
"""Blanks that may stand between two pieces of one chunk; they are counted with the piece before."""

_RUN_GAP: Final = 2
"""The same between two runs of words."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\W_a-z])|(?<=[。！？])")
_ABBREVIATION = re.compile(
    r"(?:\b[^\W\d_]|\b(?:[Nn]o|[Aa]rt|[Pp]ara|[Ss]ec|[Cc]f|[Mm]rs?|[Dd]r|St|vs|approx|[Pp]p))\.\Z"
)
_LINE_END = re.compile(r"\n+")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A passage: `text` is exactly `document.text[start:end]`.

    Units   token_count: tokens of the default encoding, summed over the passage's pieces; at least the whole's count.
    """

    ordinal: int
    start: int
    end: int
    page: int | None
    section: str | None
    """The headings above the passage, outermost first, joined by " > "."""
    text: str
    token_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """What is never cut any further unless it exceeds the budget by itself."""

    kind: BlockKind
    path: tuple[str, ...]
    start: int
    end: int
    reach: int
    """Up to where `tokens` were counted: beyond `end` by the blanks that part it from the next piece."""
    tokens: int


@dataclass(slots=True)
class _Open:
    """The chunk that is being filled."""

    pieces: list[_Piece] = field(default_factory=list[_Piece])
    tokens: int = 0

    @property
    def only_headings(self) -> bool:
        return bool(self.pieces) and all(piece.kind == "heading" for piece in self.pieces)

    def add(self, piece: _Piece) -> None:
        self.pieces.append(piece)
        self.tokens += piece.tokens


def chunk_document(document: ParsedDocument, *, budget: int = DEFAULT_BUDGET) -> tuple[Chunk, ...]:
    """The document's passages in order: together they hold all its text but blanks, and none overlaps another.

    A passage ends where its section or page does, else where the next paragraph, list item or table no longer fits.
    What exceeds the budget by itself is cut between sentences (a table or code between lines), and only a sentence
    that exceeds it is cut between words. A heading stands with what follows it.

    Raises  ValueError: a budget below 16 tokens, which a few characters may exceed.
    """
    if budget < 16:
        raise ValueError(f"a chunk needs a budget of 16 tokens or more, not {budget}")
    groups = _packed(document, budget)
    return tuple(_chunk(document, ordinal, group) for ordinal, group in enumerate(groups))


def page_of(document: ParsedDocument, offset: int) -> int | None:
    """The page on which a character stands, counted from 1; None where the format has no pages."""
    return bisect_right(document.page_starts, offset) or None


def _chunk(document: ParsedDocument, ordinal: int, group: _Open) -> Chunk:
    start, end = group.pieces[0].start, group.pieces[-1].end
    path = next((piece.path for piece in group.pieces if piece.kind != "heading"), group.pieces[-1].path)
    return Chunk(
        ordinal=ordinal,
        start=start,
        end=end,
        page=page_of(document, start),
        section=" > ".join(path) or None,
        text=document.text[start:end],
        token_count=group.tokens,
    )


def _packed(document: ParsedDocument, budget: int) -> Iterator[_Open]:
    group = _Open()
    for piece in _pieces(document):
        fits_nowhere = piece.tokens > budget or (group.only_headings and group.tokens + piece.tokens > budget)
        for part in _parts(document.text, piece, budget) if fits_nowhere else (piece,):
            if group.pieces and _begins_anew(document, group, part, budget):
                yield group
                group = _Open()
            group.add(part)
    if group.pieces:
        yield group


def _begins_anew(document: ParsedDocument, group: _Open, piece: _Piece, budget: int) -> bool:
    last = group.pieces[-1]
    if group.tokens + piece.tokens > budget or piece.start > last.reach:
        return True
    if group.only_headings:
        return False
    if piece.kind == "heading" or piece.path != last.path:
        return True
    return page_of(document, piece.start) != page_of(document, last.end - 1)


def _pieces(document: ParsedDocument) -> Iterator[_Piece]:
    """Each block, counted with the blanks that follow it, as it will stand in its chunk."""
    spans = ((block.start, block.end) for block in document.blocks)
    reaches = _reaches(spans, len(document.text), _WIDEST_GAP)
    for block, (start, end, reach) in zip(document.blocks, reaches, strict=True):
        tokens = count_tokens(document.text[start:reach])
        yield _Piece(kind=block.kind, path=block.path, start=start, end=end, reach=reach, tokens=tokens)


def _parts(text: str, piece: _Piece, budget: int) -> Iterator[_Piece]:
    """A piece cut into sentences or lines, and those that exceed the budget into runs of words."""
    cut = _lines if piece.kind in ("table", "code") else _sentences
    for start, end, reach in _reaches(cut(text, piece.start, piece.end), piece.reach, _WIDEST_GAP):
        part = replace(piece, start=start, end=end, reach=reach, tokens=count_tokens(text[start:reach]))
        if part.tokens <= budget:
            yield part
        else:
            yield from _word_runs(text, part, budget)


def _word_runs(text: str, piece: _Piece, budget: int) -> Iterator[_Piece]:
    # A code point has four bytes at most and a token one at least, so that no run with its blanks exceeds the budget;
    # the one added pays for a word cut in two.
    length = (budget - 1) // 4 - _RUN_GAP
    for start, end, reach in _reaches(_runs(text, piece.start, piece.end, length), piece.reach, _RUN_GAP):
        yield replace(piece, start=start, end=end, reach=reach, tokens=count_tokens(text[start:reach]) + 1)


def _reaches(spans: Iterable[tuple[int, int]], stop: int, widest_gap: int) -> Iterator[tuple[int, int, int]]:
    """Each span with the place up to which it is counted: the next one's start, unless the gap is too wide."""
    listed = list(spans)
    for index, (start, end) in enumerate(listed):
        following = listed[index + 1][0] if index + 1 < len(listed) else stop
        yield start, end, following if following - end <= widest_gap else end


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for gap in _SENTENCE_END.finditer(text, start, end):
        if not _ABBREVIATION.search(text, max(start, gap.start() - 8), gap.start()):
            yield from _trimmed(text, start, gap.end())
            start = gap.end()
    yield from _trimmed(text, start, end)


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for gap in _LINE_END.finditer(text, start, end):
        yield from _trimmed(text, start, gap.start())
        start = gap.end()
    yield from _trimmed(text, start, end)


def _runs(text: str, start: int, end: int, length: int) -> Iterator[tuple[int, int]]:
    """`text[start:end]` in runs of at most `length` characters, cut at blanks where there are any."""
    while start < end:
        stop = min(start + length, end)
        if stop < end:
            blanks = [gap.end() for gap in _BLANKS.finditer(text, start + 1, stop)]
            stop = blanks[-1] if blanks else stop
        yield from _trimmed(text, start, stop)
        start = stop


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    body = text[start:end]
    if body and not body.isspace():
        yield start + len(body) - len(body.lstrip()), start + len(body.rstrip())
