"""Says what kind of document some bytes are: by their content first, then by name and declared type."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import PurePosixPath

from knowledge.parse.decode import is_binary
from knowledge.parse.document import DOCX, EML, MSG, PPTX, XLSX, ZIP, MediaType, Unreadable, UnsupportedFormat

_BY_SUFFIX: dict[str, MediaType] = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".csv": "text/csv",
    ".tsv": "text/csv",
    ".log": "text/plain",
    ".eml": EML,
}
_BY_DECLARATION: dict[str, MediaType] = {
    "text/markdown": "text/markdown",
    "text/x-markdown": "text/markdown",
    "text/html": "text/html",
    "application/xhtml+xml": "text/html",
    "text/csv": "text/csv",
    "application/csv": "text/csv",
    "text/tab-separated-values": "text/csv",
    EML: EML,
}
_IMAGE = "an image, and this server recognizes no text in images"
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"{\\rtf", "a rich text (RTF) document; save it as DOCX, PDF or text"),
    (b"\x89PNG", _IMAGE),
    (b"\xff\xd8\xff", _IMAGE),
    (b"GIF8", _IMAGE),
    (b"II*\x00", _IMAGE),
    (b"MM\x00*", _IMAGE),
    (b"\x1f\x8b", "a compressed archive of another kind; pack it as a ZIP"),
    (b"7z\xbc\xaf", "a compressed archive of another kind; pack it as a ZIP"),
    (b"Rar!", "a compressed archive of another kind; pack it as a ZIP"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
)
_PACKED: tuple[tuple[str, MediaType], ...] = (
    ("word/document", DOCX),
    ("xl/workbook.xml", XLSX),
    ("ppt/presentation.xml", PPTX),
)
"""How the name of the part begins that makes a package a document."""
_OFFICE_SUFFIXES = frozenset((".docx", ".docm", ".dotx", ".xlsx", ".xlsm", ".xltx", ".pptx", ".pptm", ".ppsx", ".potx"))
_MARKED = _OFFICE_SUFFIXES | {".zip", ".msg"}
"""What begins with a mark of its own."""
SUFFIXES = frozenset((*_BY_SUFFIX, *_OFFICE_SUFFIXES, ".pdf", ".msg", ".zip"))
"""The ends of names by which people know what is read here."""
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
"""What an Office document with a password is kept in: an old container around the packed one."""
_SAVED_BY_OUTLOOK = "__properties_version1.0".encode("utf-16-le")
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument"
_OPEN_DOCUMENT_WITHIN = 120
"""Bytes: OpenDocument keeps its type as its first entry.  Source  OpenDocument 1.3 part 2, 3.3."""
_DIRECTORY_END = b"PK\x05\x06"
_DIRECTORY_ENTRY = b"PK\x01\x02"
_ENTRY_HEAD = 46
_LARGEST_DIRECTORY = 4_000_000
_HTML_START = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
_PDF_HEADER_WITHIN = 1024
"""Source  ISO 32000-1 annex H: readers accept the header anywhere in the first 1024 bytes."""


def media_type_of(content: bytes, filename: str | None = None, declared: str | None = None) -> MediaType:
    """The kind of document that `content` is.

    Raises  UnsupportedFormat: it is of a kind that no parser here reads.
            Unreadable: it is empty, has a password, or calls itself a PDF or an Office document and is none.
    """
    if not content.strip():
        raise Unreadable("the file is empty")
    if b"%PDF-" in content[:_PDF_HEADER_WITHIN]:
        return "application/pdf"
    suffix = PurePosixPath(filename or "").suffix.lower()
    if content.startswith((b"PK\x03\x04", _DIRECTORY_END)):
        return _packed_type(content, suffix)
    if content.startswith(_OLD_OFFICE):
        return _old_office_type(content)
    for magic, words in _FOREIGN:
        if content.startswith(magic):
            raise UnsupportedFormat(f"it is {words}")
    declared = (declared or "").partition(";")[0].strip().lower()
    if suffix in _MARKED:
        raise Unreadable(f"it is called {suffix} but does not begin like one; it may be damaged")
    if suffix == ".pdf" or (declared == "application/pdf" and suffix not in _BY_SUFFIX):
        raise Unreadable("it is called a PDF but does not begin like one; it may be damaged")
    if is_binary(content):
        raise UnsupportedFormat("it is not a text file: it holds bytes that no text holds")
    return _text_type(content, suffix, declared)


def _packed_type(content: bytes, suffix: str) -> MediaType:
    """The kind of an archive by the names of what it holds."""
    if _OPEN_DOCUMENT in content[:_OPEN_DOCUMENT_WITHIN]:
        raise UnsupportedFormat("it is an OpenDocument file; save it as DOCX, XLSX or PDF")
    names = list(_names(_directory(content)))
    for beginning, media_type in _PACKED:
        if any(name.startswith(beginning) for name in names):
            return media_type
    if "xl/workbook.bin" in names:
        raise UnsupportedFormat("it is a binary workbook (XLSB); save it as XLSX")
    if suffix in _OFFICE_SUFFIXES:
        raise Unreadable(f"it is called {suffix} but does not hold what one holds; it may be damaged or cut short")
    return ZIP


def _directory(content: bytes) -> bytes:
    """The bytes of an archive's directory, which lies at its end; none where it is damaged or beyond all measure.

    Looked through as it is: this runs in the server itself, where nothing of a stranger's file is unpacked.
    Source  PKWARE APPNOTE 4.3.16.
    """
    end = content.rfind(_DIRECTORY_END, max(0, len(content) - 66_000))
    if end < 0 or end + 20 > len(content):
        return b""
    size, start = struct.unpack_from("<II", content, end + 12)
    return content[start : start + size] if size <= _LARGEST_DIRECTORY else b""


def _names(directory: bytes) -> Iterator[str]:
    """The names in a directory: one that merely stands within another name, or in a folder, is none of them.

    Source  PKWARE APPNOTE 4.3.12.
    """
    at = 0
    while directory.startswith(_DIRECTORY_ENTRY, at) and at + _ENTRY_HEAD <= len(directory):
        name, extra, comment = struct.unpack_from("<HHH", directory, at + 28)
        yield directory[at + _ENTRY_HEAD : at + _ENTRY_HEAD + name].decode("utf-8", "replace")
        at += _ENTRY_HEAD + name + extra + comment


def _old_office_type(content: bytes) -> MediaType:
    """Old containers hold messages of Outlook too, and whatever has a password."""
    if _ENCRYPTED in content:
        raise Unreadable("it is protected by a password; save a copy without one")
    if _SAVED_BY_OUTLOOK in content:
        return MSG
    raise UnsupportedFormat("it is an old Office document; save it as DOCX, XLSX, PPTX or PDF")


def _text_type(content: bytes, suffix: str, declared: str) -> MediaType:
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix == ".svg" or declared == "image/svg+xml":
        raise UnsupportedFormat(f"it is {_IMAGE}")
    if declared in _BY_DECLARATION:
        return _BY_DECLARATION[declared]
    return "text/html" if _HTML_START.match(content[:2048]) else "text/plain"
