"""Says what kind of document some bytes are: by their content first, then by name and declared type."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from knowledge.parse.decode import is_binary
from knowledge.parse.document import MediaType, Unreadable, UnsupportedFormat

_BY_SUFFIX: dict[str, MediaType] = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".csv": "text/plain",
    ".tsv": "text/plain",
    ".log": "text/plain",
}
_BY_DECLARATION: dict[str, MediaType] = {
    "text/markdown": "text/markdown",
    "text/x-markdown": "text/markdown",
    "text/html": "text/html",
    "application/xhtml+xml": "text/html",
}
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "an Office document or an archive; save it as PDF, HTML or text"),
    (b"\xd0\xcf\x11\xe0", "an old Office document; save it as PDF, HTML or text"),
    (b"{\\rtf", "a rich text (RTF) document; save it as PDF, HTML or text"),
    (b"\x89PNG", "an image, and this server recognizes no text in images"),
    (b"\xff\xd8\xff", "an image, and this server recognizes no text in images"),
    (b"GIF8", "an image, and this server recognizes no text in images"),
    (b"II*\x00", "an image, and this server recognizes no text in images"),
    (b"MM\x00*", "an image, and this server recognizes no text in images"),
    (b"\x1f\x8b", "a compressed archive; upload what is inside"),
    (b"7z\xbc\xaf", "a compressed archive; upload what is inside"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
)
_HTML_START = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
_PDF_HEADER_WITHIN = 1024
"""Source  ISO 32000-1 annex H: readers accept the header anywhere in the first 1024 bytes."""


def media_type_of(content: bytes, filename: str | None = None, declared: str | None = None) -> MediaType:
    """The kind of document that `content` is.

    Raises  UnsupportedFormat: it is of a kind that no parser here reads.
            Unreadable: it is empty, or calls itself a PDF and is none.
    """
    if not content.strip():
        raise Unreadable("the file is empty")
    if b"%PDF-" in content[:_PDF_HEADER_WITHIN]:
        return "application/pdf"
    for magic, words in _FOREIGN:
        if content.startswith(magic):
            raise UnsupportedFormat(f"it is {words}")
    suffix = PurePosixPath(filename or "").suffix.lower()
    declared = (declared or "").partition(";")[0].strip().lower()
    if suffix == ".pdf" or (declared == "application/pdf" and suffix not in _BY_SUFFIX):
        raise Unreadable("it is called a PDF but does not begin like one; it may be damaged")
    if is_binary(content):
        raise UnsupportedFormat("it is not a text file: it holds bytes that no text holds")
    return _text_type(content, suffix, declared)


def _text_type(content: bytes, suffix: str, declared: str) -> MediaType:
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if declared in _BY_DECLARATION:
        return _BY_DECLARATION[declared]
    return "text/html" if _HTML_START.match(content[:2048]) else "text/plain"
