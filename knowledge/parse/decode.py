"""Bytes to text that PostgreSQL can store: the first step of every format but PDF."""

from __future__ import annotations

import codecs
import re

from knowledge.parse.document import Unreadable

SAMPLE = 100_000
"""Characters, or bytes, that are looked at to tell text from what is none."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = tuple(mark for mark, encoding in _BOMS if encoding != "utf-8")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile(r"[\x01-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_BYTE_CONTROLS = re.compile(_CONTROLS.pattern.encode("ascii"))
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_NEWLINES = re.compile(r"\r\n?|\u2028|\u2029|\x85")


def decode_text(content: bytes) -> str:
    """The text of a file: by its byte order mark, else UTF-8, else the Windows code page of old European files.

    Raises  Unreadable: the bytes are no text.
    """
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _readable(content[len(mark) if encoding == "utf-8" else 0 :].decode(encoding, "replace"))
    try:
        return _readable(content.decode("utf-8"))
    except UnicodeDecodeError:
        return _readable(content.decode("cp1252", "replace"))


def decode_html(content: bytes) -> str:
    """The text of an HTML file, which may name its encoding itself."""
    named = _META_CHARSET.search(content[:4096])
    # A page whose bytes could be read up to here is of no encoding with characters wider than a byte.
    if named is None or content.startswith(tuple(mark for mark, _ in _BOMS)) or b"utf-" in named.group(1).lower():
        return decode_text(content)
    try:
        return _readable(content.decode(named.group(1).decode("ascii"), "replace"))
    except (LookupError, UnicodeError):
        return decode_text(content)


def is_binary(content: bytes) -> bool:
    """Whether the bytes are no text in any encoding that is read here, before one is tried.

    Text holds no NUL unless its mark says that its characters are wider than a byte.
    """
    if content.startswith(_WIDE):
        return False
    sample = content[:SAMPLE]
    return b"\x00" in content or _too_strange(len(_BYTE_CONTROLS.findall(sample)), len(sample))


def name_words(text: str) -> str:
    """A name on one line and storable, without the signs that turn letters round to show another ending."""
    return " ".join(_TURNING.sub("", storable(text)).split())


def storable(text: str) -> str:
    """`text` with one kind of newline and nothing that PostgreSQL refuses: NUL dropped, lone surrogates replaced."""
    text = _NEWLINES.sub("\n", text)
    return _SURROGATES.sub("\ufffd", text.replace("\x00", ""))


def _readable(text: str) -> str:
    """`text` as it is stored, unless so much of it is control characters that it was never meant to be read."""
    sample = text[:SAMPLE]
    strange = len(_CONTROLS.findall(sample)) + sample.count("\x00") + sample.count("\ufffd")
    if _too_strange(strange, len(sample)):
        raise Unreadable("it is not a text file, though its name or type says so")
    return storable(text)


def _too_strange(strange: int, length: int) -> bool:
    return strange > 2 + length // 50
