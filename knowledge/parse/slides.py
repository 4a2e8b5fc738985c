"""PPTX: the canonical text is what each slide shows, its title as a heading, and the speaker's notes behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from knowledge.parse.builder import DocumentBuilder
from knowledge.parse.decode import storable
from knowledge.parse.document import PPTX, Outline, ParsedDocument, ParseLimits, Unreadable, first_heading
from knowledge.parse.package import DAMAGED, Package
from knowledge.parse.rows import table_text

_P: Final = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_A: Final = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_STRICT: Final = "{http://purl.oclc.org/ooxml/presentationml/main}"
_RELATED: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_FALLBACK: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_DRAWN: Final = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_TITLES: Final = frozenset({"title", "ctrTitle"})
_FURNITURE: Final = frozenset({"sldNum", "dt", "ftr", "hdr"})
"""Placeholders that say the same on each slide."""
_BODY: Final = frozenset({"body", "obj", ""})
_OFF: Final = ("0", "false", "off")
_NO_TEXT: Final = "no slide shows any text; it may hold pictures, and this server recognizes no text in images"


def parse_pptx(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """A page a slide: its title a heading, then its paragraphs, bullets, tables and diagrams, then what is to be said.

    Hidden slides and shapes, comments, the master's own words, macros, charts and media are left out.

    Raises  Unreadable: damaged, protected by a password, without text, or larger than `limits`.
    """
    try:
        builder, starts = _Deck(Package(content, limits), limits).read()
    except RecursionError as error:
        raise Unreadable("it is nested too deeply") from error
    if not builder.blocks:
        raise Unreadable(_NO_TEXT)
    blocks = tuple(builder.blocks)
    return ParsedDocument(
        media_type=PPTX,
        text=builder.text,
        blocks=blocks,
        title=first_heading(blocks),
        page_starts=tuple(min(start, builder.length) for start in starts),
    )


class _Deck:
    """Reads a presentation's slides in the order in which they are shown."""

    def __init__(self, package: Package, limits: ParseLimits) -> None:
        self._package = package
        self._limits = limits
        self._builder = DocumentBuilder()

    def read(self) -> tuple[DocumentBuilder, list[int]]:
        """The text, and where each slide begins; one that is hidden keeps its number and holds nothing."""
        starts: list[int] = []
        for number, part in enumerate(self._slides()):
            if number >= self._limits.pages:
                raise Unreadable(f"it has more than {self._limits.pages:,} slides")
            starts.append(self._builder.length + (2 if self._builder.blocks else 0))
            slide = self._package.xml(part)
            if slide is not None and slide.get("show") not in _OFF:
                self._add(part, slide)
        return self._builder, starts

    def _slides(self) -> list[str]:
        name = self._package.related("", "officeDocument") or "ppt/presentation.xml"
        root = self._package.xml(name)
        if root is not None and root.tag.startswith(_STRICT):
            raise Unreadable("it is saved as Strict Open XML; save it as an ordinary presentation (.pptx)")
        if root is None or root.tag != _P + "presentation":
            raise Unreadable(DAMAGED)
        parts = {each.id: each.part for each in self._package.relationships(name)}
        ids = (each.get(_RELATED + "id", "") for each in root.iterfind(f"{_P}sldIdLst/{_P}sldId"))
        return [parts[each] for each in ids if each in parts]

    def _add(self, part: str, slide: Element) -> None:
        self._builder.outline = Outline()  # a slide without a title is not a part of the one before
        shapes = list(_shapes(slide))
        shapes.sort(key=lambda shape: _place(shape) not in _TITLES)
        for shape in shapes:
            if self._builder.length > self._limits.characters:
                raise Unreadable(f"it holds more than {self._limits.characters:,} characters of text")
            self._add_shape(part, shape)
        notes = self._package.related(part, "notesSlide")
        root = None if notes is None else self._package.xml(notes)
        for shape in _shapes(root) if root is not None else ():
            if _place(shape) == "body":
                words = "\n".join(filter(None, map(_words, shape.iter(_A + "p"))))
                self._builder.add("paragraph", f"Notes: {words}" if words else "")

    def _add_shape(self, part: str, shape: Element) -> None:
        place = _place(shape)
        if place in _FURNITURE:
            return
        if place in _TITLES:
            self._builder.add_heading(1, " ".join(" ".join(map(_words, shape.iter(_A + "p"))).split()))
            return
        for table in shape.iter(_A + "tbl"):
            self._builder.add("table", table_text(_rows(table)))
        for drawn in shape.iter(_DRAWN):
            self._add_diagram(part, drawn.get(_RELATED + "dm", ""))
        if shape.tag == _P + "sp":
            self._add_paragraphs(shape, bulleted=place in _BODY)

    def _add_diagram(self, part: str, relationship: str) -> None:
        name = next((each.part for each in self._package.relationships(part) if each.id == relationship), None)
        data = None if name is None else self._package.xml(name)
        for paragraph in data.iter(_A + "p") if data is not None else ():
            self._add_listed(_words(paragraph))

    def _add_paragraphs(self, shape: Element, *, bulleted: bool) -> None:
        paragraphs = [each for each in shape.iter(_A + "p") if _words(each)]
        for paragraph in paragraphs:
            words = _words(paragraph)
            if _is_listed(paragraph, usual=bulleted and len(paragraphs) > 1):
                self._add_listed(words)
            else:
                self._builder.add("paragraph", words)

    def _add_listed(self, words: str) -> None:
        self._builder.add("list_item", f"- {words}" if words else "")


def _shapes(element: Element) -> Iterator[Element]:
    """The shapes that are shown, those of groups in their place."""
    for child in element:
        if child.tag in (_P + "sp", _P + "graphicFrame", _P + "cxnSp"):
            if not _is_hidden(child):
                yield child
        elif child.tag != _FALLBACK and not (child.tag == _P + "grpSp" and _is_hidden(child)):
            yield from _shapes(child)


def _is_hidden(shape: Element) -> bool:
    """By its own properties, which are the first thing in it."""
    own = next((each for each in (shape[0] if len(shape) else ()) if each.tag == _P + "cNvPr"), None)
    return own is not None and own.get("hidden") in ("1", "true", "on")


def _place(shape: Element) -> str | None:
    """The kind of the placeholder that it fills, the empty word for one that names none; None: it fills none."""
    placeholder = shape.find(f"*/{_P}nvPr/{_P}ph")
    return None if placeholder is None else placeholder.get("type", "")


def _words(paragraph: Element) -> str:
    """What it says, its line breaks kept; what a program counts by itself is left out."""
    lines = storable("".join(_pieces(paragraph))).split("\n")
    return "\n".join(filter(None, (" ".join(line.split()) for line in lines)))


def _pieces(paragraph: Element) -> Iterator[str]:
    for child in paragraph:
        if child.tag == _A + "br":
            yield "\n"
        elif child.tag == _A + "r" or (child.tag == _A + "fld" and child.get("type") != "slidenum"):
            yield child.findtext(_A + "t") or ""


def _is_listed(paragraph: Element, *, usual: bool) -> bool:
    properties = paragraph.find(_A + "pPr")
    marks = set[str]() if properties is None else {each.tag for each in properties}
    if marks & {_A + "buChar", _A + "buAutoNum", _A + "buBlip"}:
        return True
    return usual and _A + "buNone" not in marks


def _rows(table: Element) -> Iterator[list[str]]:
    """Its rows; cells that are merged into another say nothing of their own."""
    for row in table.iterfind(_A + "tr"):
        yield [" ".join(" ".join(map(_words, cell.iter(_A + "p"))).split()) for cell in row.iterfind(_A + "tc")]
