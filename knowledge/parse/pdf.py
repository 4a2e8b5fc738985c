"""PDF: the canonical text is that of its pages one after another, so that an offset says its page."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import accumulate
from typing import TYPE_CHECKING

from knowledge.parse.decode import storable
from knowledge.parse.document import Block, Outline, ParsedDocument, ParseLimits, Unreadable, first_heading
from knowledge.parse.lines import blocks_of_lines

if TYPE_CHECKING:
    from pypdf import PdfReader

_DAMAGED = "the PDF is damaged or made in a way that this server cannot read"
_NO_TEXT = "the PDF holds no text; it may be a scan, and this server recognizes no text in images"
_PAGE_BREAK = "\n\n"
_TRAILING_BLANKS = re.compile(r"[ \t\f\v\u00a0]+(?=\n|\Z)")


def parse_pdf(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """The text of each page, its structure read from the lines.

    Raises  Unreadable: damaged, protected by a password, without text, or larger than `limits`.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        pages, title = _read(content, limits)
    except (Unreadable, MemoryError):
        raise
    # pypdf walks whatever a broken file makes of its objects: nearly any exception type comes out of it.
    except Exception as error:
        raise Unreadable(_DAMAGED) from error
    return document_of_pages(pages, title)


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


def _read(content: bytes, limits: ParseLimits) -> tuple[list[str], str | None]:
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(content), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("the PDF is protected by a password")
    if len(reader.pages) > limits.pages:
        raise Unreadable(f"the PDF has {len(reader.pages):,} pages, and at most {limits.pages:,} are read")
    return list(_page_texts(reader, limits)), _title(reader)


def _page_texts(reader: PdfReader, limits: ParseLimits) -> Iterator[str]:
    characters = 0
    for page in reader.pages:
        text = _TRAILING_BLANKS.sub("", storable(page.extract_text())).strip("\n")
        characters += len(text)
        if characters > limits.characters:
            raise Unreadable(f"the PDF holds more than {limits.characters:,} characters of text")
        yield text


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
