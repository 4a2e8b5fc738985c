"""The one way from a file to a `ParsedDocument`: finds its kind, holds its size, hands it to that kind's parser."""

from __future__ import annotations

from typing import assert_never

from knowledge.parse.document import MediaType, ParsedDocument, ParseLimits, Unreadable
from knowledge.parse.html import parse_html
from knowledge.parse.markdown import parse_markdown
from knowledge.parse.media import media_type_of
from knowledge.parse.pdf import parse_pdf
from knowledge.parse.plain import parse_plain

DEFAULT_LIMITS = ParseLimits()


def parse_document(
    content: bytes,
    *,
    filename: str | None = None,
    declared_type: str | None = None,
    limits: ParseLimits = DEFAULT_LIMITS,
) -> ParsedDocument:
    """The canonical text of a file and the blocks it is made of.

    Raises  UnsupportedFormat: no parser here reads that kind of file.
            Unreadable: empty, damaged, protected, without text, or larger than `limits`.
    """
    if len(content) > limits.size_bytes:
        raise Unreadable(f"it has {len(content):,} bytes, and at most {limits.size_bytes:,} are read")
    document = _parse(media_type_of(content, filename, declared_type), content, limits)
    if not document.blocks:
        raise Unreadable("it holds no text")
    if len(document.text) > limits.characters:
        raise Unreadable(f"it holds more than {limits.characters:,} characters of text")
    return document


def _parse(media_type: MediaType, content: bytes, limits: ParseLimits) -> ParsedDocument:
    match media_type:
        case "text/plain":
            return parse_plain(content)
        case "text/markdown":
            return parse_markdown(content)
        case "text/html":
            return parse_html(content)
        case "application/pdf":
            return parse_pdf(content, limits)
        case _:
            assert_never(media_type)
