"""Finds headings, list items and paragraphs in text that has lines but no markup: plain text, and the text of PDFs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from knowledge.parse.document import Block, BlockKind, Outline
from knowledge.parse.rows import SEPARATOR

_CLAUSE = r"[A-Z]{1,4}-[0-9]{1,3}(?:\.[0-9]{1,3}){0,4}|[0-9]{1,2}(?:\.[0-9]{1,2}){1,4}"
_ITEM_START = re.compile(rf"\s*(?:[-*•‣◦·–]|\(?[0-9]{{1,3}}[.)]|\(?[a-z][.)]|\([ivx]{{1,5}}\)|{_CLAUSE})\s+\S")
# A bare number is left out: it begins a date or an amount more often than a heading.
_NUMBERED_HEADING = re.compile(rf"(?P<number>{_CLAUSE}|[0-9]{{1,2}}(?=\.\s))\.?\s+[^\W\d_a-z]")
_NAMED_HEADING = re.compile(r"(?:Section|Chapter|Part|Article|Appendix|Annex|Schedule)\s+(?:[0-9IVX]+|[A-Z])\b")
_UNDERLINE = re.compile(r"\s*(?:={3,}|-{3,}|~{3,})\s*\Z")
_HEADING_LENGTH = 80
_HEADING_WORDS = 10


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the text, without its newline."""

    start: int
    text: str

    @property
    def first(self) -> int:
        return self.start + len(self.text) - len(self.text.lstrip())

    @property
    def end(self) -> int:
        return self.start + len(self.text.rstrip())


def blocks_of_lines(text: str, start: int, end: int, outline: Outline) -> Iterator[Block]:
    """The blocks of `text[start:end]`, headings entered into `outline` as they are met."""
    lines = list(_lines(text, start, end))
    gathered: list[Line] = []
    kind: BlockKind = "paragraph"
    for index, line in enumerate(lines):
        if SEPARATOR in line.text:
            if gathered and kind != "table":
                yield _block(kind, gathered, outline)
                gathered = []
            kind = "table"
            gathered.append(line)
            continue
        if gathered and kind == "table":
            yield _block(kind, gathered, outline)
            gathered, kind = [], "paragraph"
        level = _heading_level(lines, index)
        starts_item = _ITEM_START.match(line.text) is not None
        if gathered and (not line.text.strip() or level or starts_item):
            yield _block(kind, gathered, outline)
            gathered = []
        if level:
            outline.enter(level, line.text)
            yield _block("heading", [line], outline)
        elif line.text.strip():
            kind = "list_item" if starts_item else kind if gathered else "paragraph"
            gathered.append(line)
    if gathered:
        yield _block(kind, gathered, outline)


def _block(kind: BlockKind, lines: list[Line], outline: Outline) -> Block:
    return Block(kind=kind, start=lines[0].first, end=lines[-1].end, path=outline.path)


def _lines(text: str, start: int, end: int) -> Iterator[Line]:
    while start < end:
        newline = text.find("\n", start, end)
        stop = newline if newline >= 0 else end
        yield Line(start, text[start:stop])
        start = stop + 1


def _heading_level(lines: list[Line], index: int) -> int:
    """1 and deeper for a line that reads as a heading, 0 for any other.

    Cautious on purpose: a paragraph taken for a heading puts a wrong section into citations, the reverse only a
    wider one. A numbered line next to another of the same depth is a list.
    """
    words = lines[index].text.strip()
    following = lines[index + 1].text if index + 1 < len(lines) else ""
    if not _is_short_title(words) or following.lstrip()[:1].islower():
        return 0
    if _UNDERLINE.match(following):
        return 1
    if numbered := _NUMBERED_HEADING.match(words):
        return _numbered_level(numbered.group("number"), following)
    if _NAMED_HEADING.match(words):
        return 2
    letters = [letter for letter in words if letter.isalpha()]
    return 1 if len(letters) >= 4 and all(letter.isupper() for letter in letters) else 0


def _is_short_title(words: str) -> bool:
    if "   " in words or "\t" in words:  # a row of a table set with blanks
        return False
    return 0 < len(words) <= _HEADING_LENGTH and len(words.split()) <= _HEADING_WORDS and words[-1] not in ".,;:|?!"


def _numbered_level(number: str, following: str) -> int:
    depth = number.count(".") + 1
    neighbour = _NUMBERED_HEADING.match(following.strip())
    if neighbour and neighbour.group("number").count(".") + 1 == depth:
        return 0
    return depth + 1
