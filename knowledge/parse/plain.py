"""Plain text: the canonical text is the file's own, its structure read from lines and blanks."""

from __future__ import annotations

from knowledge.parse.decode import decode_text
from knowledge.parse.document import Outline, ParsedDocument, first_heading
from knowledge.parse.lines import blocks_of_lines


def parse_plain(content: bytes) -> ParsedDocument:
    """Paragraphs, list items and what reads as a heading.

    Raises  Unreadable: the bytes are no text.
    """
    text = decode_text(content)
    blocks = tuple(blocks_of_lines(text, 0, len(text), Outline()))
    return ParsedDocument(media_type="text/plain", text=text, blocks=blocks, title=first_heading(blocks))
