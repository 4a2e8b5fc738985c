"""PDF: the canonical text is that of its pages one after another, so that an offset says its page."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import accumulate
from typing import TYPE_CHECKING, cast

from knowledge.parse import ocr
from knowledge.parse.decode import storable
from knowledge.parse.document import Block, Outline, ParsedDocument, ParseLimits, Unreadable, first_heading
from knowledge.parse.lines import blocks_of_lines
from knowledge.parse.pdf_tables import with_tables

if TYPE_CHECKING:
    from pypdf import PdfReader

_DAMAGED = "the PDF is damaged or made in a way that this server cannot read"
_NO_TEXT = "the PDF holds no text; it may be a scan, and this server recognizes no text in images"
_SCANNED = "the PDF is a scan: {} no text but pictures, and {}"
_UNREAD = "not read"
_RECOGNIZED = "read from the picture and may be wrong"
_NOT_RECOGNIZED = "this server recognizes no text in images"
_NOTHING_RECOGNIZED = "no words were recognized in them"
_HARDLY_ANY = 16
"""Characters: a page number or a stamp that a scanner adds to its picture."""
_DIGIT = re.compile(r"\d")
_DEEPEST = 4
"""Forms within one another in which a picture is looked for."""
_MOST_NAMED = 12
"""Pages that are named one by one."""
_PAGE_BREAK = "\n\n"
_TRAILING_BLANKS = re.compile(r"[ \t\f\v\u00a0]+(?=\n|\Z)")


def parse_pdf(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """The text of each page, its structure read from the lines.

    Raises  Unreadable: damaged, protected by a password, without text, or larger than `limits`.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        read = _read(content, limits)
    except (Unreadable, MemoryError):
        raise
    # pypdf walks whatever a broken file makes of its objects: nearly any exception type comes out of it.
    except Exception as error:
        raise Unreadable(_DAMAGED) from error
    if read.scanned and not read.has_words:
        held = "its page holds" if len(read.texts) == 1 else f"its {len(read.texts):,} pages hold"
        raise Unreadable(_SCANNED.format(held, _NOTHING_RECOGNIZED if ocr.is_installed() else _NOT_RECOGNIZED))
    said = (_scans(read.recognized, _RECOGNIZED), _scans(read.scanned, _UNREAD))
    return replace(document_of_pages(read.texts, read.title), note="; ".join(filter(None, said)) or None)


def document_of_pages(pages: Sequence[str], title: str | None = None) -> ParsedDocument:
    """A document of the texts of its pages.

    Raises  Unreadable: no page holds any text.
    """
    if not any(page.strip() for page in pages):
        raise Unreadable(_NO_TEXT)
    starts = tuple(accumulate((len(page) + len(_PAGE_BREAK) for page in pages[:-1]), initial=0))
    text = _PAGE_BREAK.join(pages)
    blocks = tuple(_joined_over_pages(text, _blocks(text, pages, starts)))
    return ParsedDocument(
        media_type="application/pdf",
        text=text,
        blocks=blocks,
        title=title or first_heading(blocks),
        page_starts=starts,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was read of a PDF; `scanned` are the numbers of pages that hold a picture and hardly any text."""

    texts: list[str]
    scanned: list[int]
    recognized: list[int]
    """Scanned ones whose words were read from the picture."""
    title: str | None

    @property
    def has_words(self) -> bool:
        """Whether any page but the scanned ones has."""
        scanned = set(self.scanned)
        return any(text.strip() for number, text in enumerate(self.texts, 1) if number not in scanned)


def _scans(pages: Sequence[int], what: str) -> str:
    """Which pages are scans and what became of their words; empty where there is none."""
    named = ", ".join(map(str, pages[:_MOST_NAMED])) + (" and others" if len(pages) > _MOST_NAMED else "")
    if len(pages) == 1:
        return f"page {named} is a scan, whose words were {what}"
    return f"{len(pages):,} pages are scans, whose words were {what}: {named}" if pages else ""


def _read(content: bytes, limits: ParseLimits) -> _Read:
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(content), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("the PDF is protected by a password")
    if len(reader.pages) > limits.pages:
        raise Unreadable(f"the PDF has {len(reader.pages):,} pages, and at most {limits.pages:,} are read")
    texts = list(_page_texts(reader, limits))
    scanned = [
        number
        for number, (page, text) in enumerate(zip(reader.pages, texts, strict=True), 1)
        if len(text.strip()) < _HARDLY_ANY and _has_picture(page.get("/Resources"), 1)
    ]
    found = _recognized(content, scanned)
    for number, text in found.items():
        texts[number - 1] = storable(text)
    unread = [number for number in scanned if number not in found]
    return _Read(texts=texts, scanned=unread, recognized=list(found), title=_title(reader))


def _recognized(content: bytes, scanned: Sequence[int]) -> Mapping[int, str]:
    if not scanned or not ocr.is_installed():
        return {}
    try:
        found = ocr.recognized(content, scanned)
        return {number: text for number, text in found.items() if len(text) >= _HARDLY_ANY}
    # What another program makes of the same file must not cost the pages that were read.
    except ocr.NotRecognized:
        return {}


def _has_picture(resources: object, depth: int) -> bool:
    """Whether anything of these resources is a picture, or a form that has one; nothing of it is decoded."""
    held = _dictionary(_dictionary(resources).get("/XObject"))
    for each in held.values():
        drawn = _dictionary(each)
        if drawn.get("/Subtype") == "/Image":
            return True
        if drawn.get("/Subtype") == "/Form" and depth < _DEEPEST and _has_picture(drawn.get("/Resources"), depth + 1):
            return True
    return False


def _dictionary(value: object) -> dict[str, object]:
    """What a reference leads to, where that is a dictionary."""
    from pypdf.generic import DictionaryObject, IndirectObject

    found: object = value.get_object() if isinstance(value, IndirectObject) else value
    return cast("dict[str, object]", found) if isinstance(found, DictionaryObject) else {}


def _page_texts(reader: PdfReader, limits: ParseLimits) -> Iterator[str]:
    characters = 0
    for page in reader.pages:
        text = _TRAILING_BLANKS.sub("", storable(page.extract_text())).strip("\n")
        if _may_hold_table(text):
            text = with_tables(text, storable(page.extract_text(extraction_mode="layout")))
        characters += len(text)
        if characters > limits.characters:
            raise Unreadable(f"the PDF holds more than {limits.characters:,} characters of text")
        yield text


def _may_hold_table(text: str) -> bool:
    """A page without a number on three of its lines has no table that is worth being set anew."""
    return sum(1 for line in text.split("\n") if _DIGIT.search(line)) >= 3


def _title(reader: PdfReader) -> str | None:
    title = reader.metadata.title if reader.metadata else None
    return " ".join(storable(title).split())[:300] or None if title else None


def _blocks(text: str, pages: Sequence[str], starts: Sequence[int]) -> Iterator[Block]:
    outline = Outline()
    for page, start in zip(pages, starts, strict=True):
        yield from blocks_of_lines(text, start, start + len(page), outline)


def _joined_over_pages(text: str, blocks: Iterator[Block]) -> Iterator[Block]:
    """`blocks`, but a sentence that a page break cuts in two makes one block of its two halves."""
    held: Block | None = None
    for block in blocks:
        if held is not None and _goes_on(text, held, block):
            held = replace(held, end=block.end)
            continue
        if held is not None:
            yield held
        held = block
    if held is not None:
        yield held


def _goes_on(text: str, held: Block, following: Block) -> bool:
    return (
        held.kind != "heading"
        and following.kind == "paragraph"
        and _PAGE_BREAK in text[held.end : following.start]
        and text[held.end - 1] not in ".!?:;"
        and text[following.start].islower()
    )
