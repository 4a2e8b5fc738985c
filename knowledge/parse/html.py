"""HTML: the canonical text is what a reader of the page sees, without scripts, styles and hidden parts."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

from knowledge.parse.builder import DocumentBuilder
from knowledge.parse.decode import decode_html, storable
from knowledge.parse.document import ParsedDocument, Unreadable, first_heading
from knowledge.parse.rows import table_text

_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
)
_UNSEEN = frozenset(("script", "style", "noscript", "template", "svg", "iframe", "object", "canvas", "datalist"))
_CLOSED_BY_THEIR_LIKE = frozenset(("li", "dt", "dd", "tr", "option"))
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
# fmt: off
_BREAKING = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "li", "main",
    "menu", "nav", "ol", "p", "pre", "search", "section", "summary", "ul",
)) | frozenset(_HEADINGS)
# fmt: on
_HIDING_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)

Attributes = list[tuple[str, str | None]]


def parse_html(content: bytes) -> ParsedDocument:
    """Headings, paragraphs, list items, tables (a row a line, cells parted by bars) and preformatted text.

    What a browser would not show is left out: nobody who vouches for the document has read it.

    Raises  Unreadable: the bytes are no text, or nothing in them is shown.
    """
    return parse_page(decode_html(content))


def parse_page(source: str) -> ParsedDocument:
    """The same of a page that is text already.

    Raises  Unreadable: nothing in it is shown.
    """
    reader = _PageReader()
    reader.feed(source)
    reader.close()
    page = reader.page
    if not page.blocks:
        raise Unreadable("the page shows no text")
    return ParsedDocument(
        media_type="text/html",
        text=page.text,
        blocks=tuple(page.blocks),
        title=" ".join(reader.title.split()) or first_heading(page.blocks),
    )


class _PageReader(HTMLParser):
    """Turns tags into blocks, forgiving what browsers forgive: unclosed, crossed and unknown elements."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = DocumentBuilder()
        self.title = ""
        self._open: list[tuple[str, bool]] = []
        self._count: Counter[str] = Counter()
        self._hidden = 0
        self._pieces: list[str] = []
        self._rows: list[list[str]] = []
        self._cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        self._close_implied(tag)
        if tag == "br":
            self._pieces.append("\n")
        self._break_before(tag)
        if tag in _VOID:
            return
        hidden = tag in _UNSEEN or _is_hidden(attrs)
        self._open.append((tag, hidden))
        self._count[tag] += 1
        self._hidden += hidden

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        # Without the count a page of a million stray end tags would search the open elements a million times.
        while self._count[tag]:
            if self._close_innermost() == tag:
                return

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._count["title"]:
            self.title += data
        else:
            self._pieces.append(data if self._count["pre"] else data.replace("\n", " "))

    def close(self) -> None:
        super().close()
        while self._open:
            self._close_innermost()
        self._end_block()

    def _close_implied(self, tag: str) -> None:
        while self._open and _closes(self._open[-1][0], tag):
            self._close_innermost()

    def _close_innermost(self) -> str:
        tag, hidden = self._open[-1]
        self._break_after(tag)
        self._open.pop()
        self._count[tag] -= 1
        self._hidden -= hidden
        return tag

    def _break_before(self, tag: str) -> None:
        """Ends what came before a block element; within a table a block is only a part of its cell."""
        if self._count["table"]:
            if tag in _BREAKING:
                self._pieces.append(" ")
            elif tag in ("td", "th"):
                self._pieces.clear()
        elif tag in _BREAKING or tag == "table":
            self._end_block()

    def _break_after(self, tag: str) -> None:
        if not self._count["table"]:
            if tag in _BREAKING:
                self._end_block()
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag == "tr":
            self._end_row()
        elif tag == "table" and self._count["table"] == 1:
            self._end_table()

    def _end_block(self) -> None:
        text = storable("".join(self._pieces))
        self._pieces.clear()
        if self._count["pre"]:
            self.page.add("code", text.strip("\n").rstrip())
            return
        text = _collapsed(text)
        level = next((level for tag, level in _HEADINGS.items() if self._count[tag]), 0)
        if level and text:
            self.page.add_heading(level, text)
        elif text and self._count["li"]:
            self.page.add("list_item", "- " + text)
        else:
            self.page.add("paragraph", text)

    def _end_cell(self) -> None:
        self._cells.append(" ".join(storable("".join(self._pieces)).split()))
        self._pieces.clear()

    def _end_row(self) -> None:
        if any(self._cells):
            self._rows.append(self._cells.copy())
        self._cells.clear()

    def _end_table(self) -> None:
        loose = _collapsed(storable("".join(self._pieces)))
        self._pieces.clear()
        self._end_row()
        self.page.add("table", "\n".join(filter(None, (table_text(self._rows), loose))))
        self._rows.clear()


def _closes(innermost: str, tag: str) -> bool:
    """Whether `tag` ends the element before it, as authors who leave out end tags rely on."""
    if innermost == "p":
        return tag in _BREAKING or tag == "table"
    if innermost in ("td", "th"):
        return tag in ("td", "th", "tr")
    return innermost == tag and tag in _CLOSED_BY_THEIR_LIKE


def _is_hidden(attrs: Attributes) -> bool:
    return any(name == "hidden" or (name == "style" and _HIDING_STYLE.search(value or "")) for name, value in attrs)


def _collapsed(text: str) -> str:
    """Blanks as a browser shows them: runs are one, line breaks stay."""
    return "\n".join(filter(None, (" ".join(line.split()) for line in text.split("\n"))))
