"""DOCX: the canonical text is the document's body as it reads with its changes accepted, footnotes behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from knowledge.parse.builder import DocumentBuilder
from knowledge.parse.decode import storable
from knowledge.parse.document import DOCX, ParsedDocument, ParseLimits, Unreadable, first_heading
from knowledge.parse.package import DAMAGED, Package

_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT: Final = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_FALLBACK: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
"""The same once more for older programs, such as the words of a text box."""
_UNREAD: Final = frozenset({_W + "del", _W + "moveFrom", _W + "pPr", _W + "sectPr", _W + "sdtPr", _FALLBACK})
_SIGNS: Final[Mapping[str, str]] = {
    _W + "tab": " ",
    _W + "br": "\n",
    _W + "cr": "\n",
    _W + "noBreakHyphen": "-",
}
_NO_TEXT: Final = "the document holds no text; it may hold pictures, and this server recognizes no text in images"
_DEEPEST: Final = 20
"""Styles that one style may be based on, one upon another."""


def parse_docx(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """Headings by their outline level, paragraphs, list items and tables (a row a line, cells parted by bars).

    Left out are headers and footers, comments, deleted and hidden text, macros, and whatever lies outside of the file.

    Raises  Unreadable: damaged, protected by a password, without text, or larger than `limits`.
    """
    try:
        builder = _Body(Package(content, limits), limits).read()
    except RecursionError as error:
        raise Unreadable("it is nested too deeply") from error
    if not builder.blocks:
        raise Unreadable(_NO_TEXT)
    blocks = tuple(builder.blocks)
    return ParsedDocument(media_type=DOCX, text=builder.text, blocks=blocks, title=first_heading(blocks))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """What a paragraph is, as far as its style or itself says."""

    level: int | None = None
    """0 for the title, 1 and deeper for headings."""
    listed: bool | None = None
    based_on: str | None = None


@dataclass(slots=True)
class _Styles:
    """The paragraph styles of a document, by id."""

    by_id: dict[str, _Style] = field(default_factory=dict[str, _Style])

    def of(self, paragraph: Element) -> _Style:
        """What the paragraph is: by its own properties first, then by its style and those that this is based on."""
        properties = paragraph.find(_W + "pPr")
        if properties is None:
            return _Style()
        style = _direct(properties)
        following = _value(properties.find(_W + "pStyle"))
        for _ in range(_DEEPEST):
            if following is None or following not in self.by_id:
                break
            below = self.by_id[following]
            style = _Style(
                level=below.level if style.level is None else style.level,
                listed=below.listed if style.listed is None else style.listed,
            )
            following = below.based_on
        return style


class _Body:
    """Reads a document's parts, each at most once."""

    def __init__(self, package: Package, limits: ParseLimits) -> None:
        self._package = package
        self._limits = limits
        self._name = package.related("", "officeDocument") or "word/document.xml"
        self._styles = _Styles()
        self._builder = DocumentBuilder()

    def read(self) -> DocumentBuilder:
        root = self._package.xml(self._name)
        if root is not None and root.tag.startswith(_STRICT):
            raise Unreadable("it is saved as Strict Open XML; save it as an ordinary Word document (.docx)")
        body = None if root is None else root.find(_W + "body")
        if body is None:
            raise Unreadable(DAMAGED)
        self._styles = _Styles(dict(_styles(self._part("styles"))))
        for element in _blocks(body):
            self._add(element)
        for number, note in _notes(self._part("footnotes")):
            self._builder.add("paragraph", f"[{number}] {note}")
        return self._builder

    def _part(self, kind: str) -> Element | None:
        name = self._package.related(self._name, kind)
        return None if name is None else self._package.xml(name)

    def _add(self, element: Element) -> None:
        if self._builder.length > self._limits.characters:
            raise Unreadable(f"it holds more than {self._limits.characters:,} characters of text")
        if element.tag == _W + "tbl":
            self._builder.add("table", "\n".join(_rows(element)))
            return
        text, style = _text(element), self._styles.of(element)
        if style.level is not None:
            self._builder.add_heading(style.level, " ".join(text.split()))
        elif style.listed and text:
            self._builder.add("list_item", "- " + text)
        else:
            self._builder.add("paragraph", text)


def _blocks(parent: Element) -> Iterator[Element]:
    """Paragraphs and tables in order, those within content controls and accepted insertions too."""
    for child in parent:
        if child.tag in (_W + "p", _W + "tbl"):
            yield child
        elif child.tag not in _UNREAD:
            yield from _blocks(child)


def _rows(table: Element) -> Iterator[str]:
    for row in _within(table, _W + "tr"):
        cells = [" ".join(" ".join(map(_text, _paragraphs(cell))).split()) for cell in _within(row, _W + "tc")]
        if any(cells):
            yield " | ".join(cells)


def _within(parent: Element, tag: str) -> Iterator[Element]:
    """The nearest descendants of that tag: a table inside a cell is a part of the cell."""
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag not in _UNREAD:
            yield from _within(child, tag)


def _paragraphs(cell: Element) -> Iterator[Element]:
    return (element for element in cell.iter(_W + "p"))


def _text(paragraph: Element) -> str:
    """The words of a paragraph, its line breaks kept and other blanks as one."""
    lines = storable("".join(_pieces(paragraph))).split("\n")
    return "\n".join(filter(None, (" ".join(line.split()) for line in lines)))


def _pieces(element: Element) -> Iterator[str]:
    for child in element:
        if child.tag == _W + "t":
            yield child.text or ""
        elif child.tag in _SIGNS:
            yield _SIGNS[child.tag]
        elif child.tag == _W + "footnoteReference":
            yield f"[{child.get(_W + 'id', '')}]"
        elif child.tag == _W + "p":
            # The words of a text box stand where the box is anchored.
            yield "\n"
            yield from _pieces(child)
            yield "\n"
        elif child.tag not in _UNREAD and not _is_hidden(child):
            yield from _pieces(child)


def _is_hidden(run: Element) -> bool:
    return run.tag == _W + "r" and _is_on(run.find(f"{_W}rPr/{_W}vanish"))


def _is_on(switch: Element | None) -> bool:
    return switch is not None and _value(switch) not in ("0", "false", "off")


def _value(element: Element | None) -> str | None:
    return None if element is None else element.get(_W + "val")


def _direct(properties: Element) -> _Style:
    numbered = _value(properties.find(f"{_W}numPr/{_W}numId"))
    outline = _value(properties.find(_W + "outlineLvl"))
    return _Style(level=_level(outline), listed=None if numbered is None else numbered != "0")


def _level(outline: str | None) -> int | None:
    """1 to 9 for the levels 0 to 8 of Word's outline; its 9 is the body's."""
    return int(outline) + 1 if outline is not None and outline.isdecimal() and int(outline) < 9 else None


def _styles(part: Element | None) -> Iterator[tuple[str, _Style]]:
    """Word writes the names of its own styles in English whatever its language; their ids it translates."""
    for element in part.iter(_W + "style") if part is not None else ():
        name = (_value(element.find(_W + "name")) or "").casefold()
        properties = element.find(_W + "pPr")
        style = _Style() if properties is None else _direct(properties)
        digits = name.removeprefix("heading ")
        named = 0 if name == "title" else int(digits) if digits != name and digits.isdecimal() else None
        yield (
            element.get(_W + "styleId", ""),
            _Style(
                level=style.level if named is None else named,
                listed=True if name.startswith("list ") and name != "list paragraph" else style.listed,
                based_on=_value(element.find(_W + "basedOn")),
            ),
        )


def _notes(part: Element | None) -> Iterator[tuple[str, str]]:
    """The footnotes with their numbers; those that only draw the line above them have a type."""
    for note in part.iter(_W + "footnote") if part is not None else ():
        text = " ".join(_text(note).split())
        if text and note.get(_W + "type") is None:
            yield note.get(_W + "id", ""), text
