"""DOCX: the canonical text is the document's body as it reads with its changes accepted, its notes behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from knowledge.parse.builder import DocumentBuilder
from knowledge.parse.decode import storable
from knowledge.parse.document import DOCX, ParsedDocument, ParseLimits, Unreadable, first_heading
from knowledge.parse.package import DAMAGED, Package
from knowledge.parse.rows import table_text

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
_NOTES: Final[Mapping[str, str]] = {_W + "footnoteReference": "", _W + "endnoteReference": "e"}
"""What references point to, and what stands before their numbers."""
_ON: Final = ("1", "true", "on")
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
    hidden: bool | None = None
    """Its runs' words, where they say nothing of it themselves."""
    based_on: str | None = None


@dataclass(slots=True)
class _Styles:
    """The styles of a document, by id."""

    by_id: dict[str, _Style] = field(default_factory=dict[str, _Style])
    usual: str | None = None
    """The style of paragraphs that name none."""
    hidden: bool = False
    """By default, whatever the styles say."""

    @classmethod
    def read(cls, part: Element | None) -> _Styles:
        """Those of the part, if there is one."""
        if part is None:
            return cls()
        paragraphs = (each for each in part.iter(_W + "style") if each.get(_W + "type", "paragraph") == "paragraph")
        usual = next((each for each in paragraphs if each.get(_W + "default") in _ON), None)
        return cls(
            by_id=dict(_styles(part)),
            usual=None if usual is None else usual.get(_W + "styleId"),
            hidden=bool(_switched(part.find(f"{_W}docDefaults/{_W}rPrDefault/{_W}rPr/{_W}vanish"))),
        )

    def of(self, paragraph: Element) -> _Style:
        """What the paragraph is: by its own properties first, then by its style and those that this is based on."""
        properties = paragraph.find(_W + "pPr")
        own = _Style() if properties is None else _direct(properties)
        named = None if properties is None else _value(properties.find(_W + "pStyle"))
        return self._with_based_on(own, named or self.usual)

    def hides(self, run: Element, paragraph: _Style) -> bool:
        """Whether Word shows nothing of a run in such a paragraph.

        Source  ECMA-376 part 1, 17.7.3: a style of characters undoes what the paragraph's style says.
        """
        own = _switched(run.find(f"{_W}rPr/{_W}vanish"))
        if own is not None:
            return own
        style = self._with_based_on(_Style(), _value(run.find(f"{_W}rPr/{_W}rStyle")))
        return self.hidden or bool(style.hidden) != bool(paragraph.hidden)

    def _with_based_on(self, style: _Style, following: str | None) -> _Style:
        for _ in range(_DEEPEST):
            if following is None or following not in self.by_id:
                break
            below = self.by_id[following]
            style = _Style(
                level=below.level if style.level is None else style.level,
                listed=below.listed if style.listed is None else style.listed,
                hidden=below.hidden if style.hidden is None else style.hidden,
            )
            following = below.based_on
        return style


@dataclass(slots=True)
class _Words:
    """Reads text as its reader sees it."""

    styles: _Styles

    def rows(self, table: Element) -> Iterator[list[str]]:
        """The words of its cells, row by row."""
        for row in _within(table, _W + "tr"):
            yield [" ".join(" ".join(map(self.text, _paragraphs(cell))).split()) for cell in _within(row, _W + "tc")]

    def text(self, element: Element) -> str:
        """The words of a paragraph, or of several, their line breaks kept and other blanks as one."""
        lines = storable("".join(self._pieces(element, self.styles.of(element)))).split("\n")
        return "\n".join(filter(None, (" ".join(line.split()) for line in lines)))

    def _pieces(self, element: Element, paragraph: _Style) -> Iterator[str]:
        for child in element:
            if child.tag == _W + "t":
                yield child.text or ""
            elif child.tag in _SIGNS:
                yield _SIGNS[child.tag]
            elif child.tag in _NOTES:
                yield f"[{_NOTES[child.tag]}{child.get(_W + 'id', '')}]"
            elif child.tag == _W + "p":
                # The words of a text box stand where the box is anchored.
                yield "\n"
                yield from self._pieces(child, self.styles.of(child))
                yield "\n"
            elif child.tag not in _UNREAD and not (child.tag == _W + "r" and self.styles.hides(child, paragraph)):
                yield from self._pieces(child, paragraph)


class _Body:
    """Reads a document's parts, each at most once."""

    def __init__(self, package: Package, limits: ParseLimits) -> None:
        self._package = package
        self._limits = limits
        self._name = package.related("", "officeDocument") or "word/document.xml"
        self._words = _Words(_Styles())
        self._builder = DocumentBuilder()

    def read(self) -> DocumentBuilder:
        root = self._package.xml(self._name)
        if root is not None and root.tag.startswith(_STRICT):
            raise Unreadable("it is saved as Strict Open XML; save it as an ordinary Word document (.docx)")
        body = None if root is None else root.find(_W + "body")
        if body is None:
            raise Unreadable(DAMAGED)
        self._words = _Words(_Styles.read(self._part("styles")))
        for element in _blocks(body):
            self._add(element)
        self._add_notes("footnote")
        self._add_notes("endnote")
        return self._builder

    def _part(self, kind: str) -> Element | None:
        name = self._package.related(self._name, kind)
        return None if name is None else self._package.xml(name)

    def _add(self, element: Element) -> None:
        if self._builder.length > self._limits.characters:
            raise Unreadable(f"it holds more than {self._limits.characters:,} characters of text")
        if element.tag == _W + "tbl":
            self._builder.add("table", table_text(self._words.rows(element)))
            return
        text, style = self._words.text(element), self._words.styles.of(element)
        if style.level is not None:
            self._builder.add_heading(style.level, " ".join(text.split()))
        elif style.listed and text:
            self._builder.add("list_item", "- " + text)
        else:
            self._builder.add("paragraph", text)

    def _add_notes(self, kind: str) -> None:
        """The notes with their numbers; those that only draw the line above them have a type."""
        part, mark = self._part(f"{kind}s"), _NOTES[f"{_W}{kind}Reference"]
        for note in part.iter(_W + kind) if part is not None else ():
            text = " ".join(self._words.text(note).split())
            if text and note.get(_W + "type") is None:
                self._builder.add("paragraph", f"[{mark}{note.get(_W + 'id', '')}] {text}")


def _blocks(parent: Element) -> Iterator[Element]:
    """Paragraphs and tables in order, those within content controls and accepted insertions too."""
    for child in parent:
        if child.tag in (_W + "p", _W + "tbl"):
            yield child
        elif child.tag not in _UNREAD:
            yield from _blocks(child)


def _within(parent: Element, tag: str) -> Iterator[Element]:
    """The nearest descendants of that tag: a table inside a cell is a part of the cell."""
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag not in _UNREAD:
            yield from _within(child, tag)


def _paragraphs(cell: Element) -> Iterator[Element]:
    """Those of the cell and of tables within it; what a paragraph anchors is read with it."""
    for block in _blocks(cell):
        if block.tag == _W + "p":
            yield block
        else:
            yield from _paragraphs(block)


def _switched(switch: Element | None) -> bool | None:
    """On or off, or None where nothing is said."""
    return None if switch is None else _value(switch) in (None, *_ON)


def _value(element: Element | None) -> str | None:
    return None if element is None else element.get(_W + "val")


def _direct(properties: Element) -> _Style:
    numbered = _value(properties.find(f"{_W}numPr/{_W}numId"))
    outline = _value(properties.find(_W + "outlineLvl"))
    return _Style(level=_level(outline), listed=None if numbered is None else numbered != "0")


def _level(outline: str | None) -> int | None:
    """1 to 9 for the levels 0 to 8 of Word's outline; its 9 is the body's."""
    return int(outline) + 1 if outline is not None and outline.isdecimal() and int(outline) < 9 else None


def _styles(part: Element) -> Iterator[tuple[str, _Style]]:
    """Word writes the names of its own styles in English whatever its language; their ids it translates."""
    for element in part.iter(_W + "style"):
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
                hidden=_switched(element.find(f"{_W}rPr/{_W}vanish")),
                based_on=_value(element.find(_W + "basedOn")),
            ),
        )
