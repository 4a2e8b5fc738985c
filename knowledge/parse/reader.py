"""The one way from a file to a `ParsedDocument`: holds its size and hands it to the parser of its kind."""

from __future__ import annotations

from typing import Literal, assert_never

from knowledge.parse.document import DEFAULT_LIMITS, MediaType, ParsedDocument, ParseLimits, Unreadable
from knowledge.parse.html import parse_html
from knowledge.parse.markdown import parse_markdown
from knowledge.parse.pdf import parse_pdf
from knowledge.parse.plain import parse_plain
from knowledge.parse.sheets import parse_xlsx
from knowledge.parse.slides import parse_pptx
from knowledge.parse.table import parse_csv
from knowledge.parse.unpack import parse_eml, parse_msg, parse_zip
from knowledge.parse.word import parse_docx

_Holder = Literal["message/rfc822", "application/vnd.ms-outlook", "application/zip"]


def parse_document(
    content: bytes, *, media_type: MediaType, limits: ParseLimits = DEFAULT_LIMITS, unpack: bool = True
) -> ParsedDocument:
    """The canonical text of a file and the blocks it is made of; `media_type_of` says which kind it is.

    `unpack`: the files inside of it are its parts; not of one that is a part itself, whose files were taken with it.

    Raises  Unreadable: empty, damaged, protected, without text, or larger than `limits`.
    """
    if len(content) > limits.size_bytes:
        raise Unreadable(f"it has {len(content):,} bytes, and at most {limits.size_bytes:,} are read")
    document = _parse(media_type, content, limits, unpack)
    if not document.blocks:
        raise Unreadable("it holds no text")
    if len(document.text) > limits.characters:
        raise Unreadable(f"it holds more than {limits.characters:,} characters of text")
    return document


def _parse(media_type: MediaType, content: bytes, limits: ParseLimits, unpack: bool) -> ParsedDocument:
    match media_type:
        case "text/plain":
            return parse_plain(content)
        case "text/markdown":
            return parse_markdown(content)
        case "text/html":
            return parse_html(content)
        case "application/pdf":
            return parse_pdf(content, limits)
        case "text/csv":
            return parse_csv(content, limits)
        case "application/vnd.openxmlformats-officedocument.wordprocessingml.document":
            return parse_docx(content, limits)
        case "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":
            return parse_xlsx(content, limits)
        case "application/vnd.openxmlformats-officedocument.presentationml.presentation":
            return parse_pptx(content, limits)
        case _:
            return _parse_holder(media_type, content, limits, unpack)


def _parse_holder(media_type: _Holder, content: bytes, limits: ParseLimits, unpack: bool) -> ParsedDocument:
    """What has files inside."""
    match media_type:
        case "message/rfc822":
            return parse_eml(content, limits, unpack=unpack)
        case "application/vnd.ms-outlook":
            return parse_msg(content, limits, unpack=unpack)
        case "application/zip":
            return parse_zip(content, limits)
        case _:
            assert_never(media_type)
