"""ZIP: what an archive holds, entry by entry, each unpacked within what is left of its limits or refused by itself."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from knowledge.parse.decode import name_words
from knowledge.parse.document import ParseLimits, Unreadable
from knowledge.parse.zipped import opened

_ENCRYPTED: Final = 0x1 | 0x40
_PATCHED: Final = 0x20
_UTF8_NAME: Final = 0x800
"""Bits of an entry's flags.  Source  APPNOTE 4.4.4."""
_MOST_TIMES: Final = 200
_SURELY_SMALL: Final = 1_000_000
_LITTER: Final = frozenset({".ds_store", "thumbs.db", "desktop.ini", "__macosx"})
"""What systems leave in folders; nobody means to hand it in."""


class Allowance:
    """What all the files inside of one upload may still cost together, however they are nested."""

    def __init__(self, limits: ParseLimits) -> None:
        self.files = limits.parts
        self.bytes = limits.parts_bytes
        self._limits = limits

    def take_file(self) -> None:
        """Raises  Unreadable: there are more files than are looked at."""
        if self.files == 0:
            raise Unreadable(f"it holds more than {self._limits.parts:,} files")
        self.files -= 1

    def take_bytes(self, size: int) -> None:
        """Raises  Unreadable: with them all the files together are too large."""
        if size > self._limits.size_bytes:
            raise Unreadable(f"it has {size:,} bytes, and at most {self._limits.size_bytes:,} are read")
        if size > self.bytes:
            raise Unreadable(
                f"with it more than {self._limits.parts_bytes:,} bytes would have to be unpacked of one upload"
            )
        self.bytes -= size


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file inside: its bytes, or why it is not unpacked."""

    path: str
    content: bytes = b""
    refused: str | None = None


def entries(content: bytes, allowance: Allowance) -> Iterator[Entry]:
    """The files in the order of the directory; folders and what systems leave behind are none.

    Raises  Unreadable: no archive, empty, or more files than `allowance` has left.
    """
    archive = opened(content, "the archive is damaged or was cut short")
    overlapping = _overlapping(archive.infolist())
    for info in archive.infolist():
        path = entry_path(_name(info))
        # Without a name it is nothing that zipfile could tell from a folder.
        if not path or info.is_dir() or _is_litter(path):
            continue
        allowance.take_file()
        try:
            if info.header_offset in overlapping:
                raise Unreadable("it is packed in the same bytes as another file")
            yield Entry(path=path, content=_unpacked(archive, info, allowance))
        except Unreadable as refusal:
            yield Entry(path=path, refused=refusal.reason)


def entry_path(name: str) -> str:
    """A name as a path below the archive: it names a place in words, and never one on this machine."""
    steps = map(name_words, name.replace("\\", "/").split("/"))
    return "/".join(step for step in steps if step not in ("", ".", ".."))


def _name(info: ZipInfo) -> str:
    """What an entry is called; old programs write UTF-8 without saying so."""
    if info.flag_bits & _UTF8_NAME:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _overlapping(entries: list[ZipInfo]) -> set[int]:
    """Where entries begin that reach into one another: a few packed bytes would unpack to any number of files."""
    ordered = sorted(entries, key=lambda each: each.header_offset)
    pairs = ((a, b) for a, b in pairwise(ordered) if a.header_offset + max(a.compress_size, 1) > b.header_offset)
    return {each.header_offset for pair in pairs for each in pair}


def _is_litter(path: str) -> bool:
    steps = path.casefold().split("/")
    return steps[0] in _LITTER or steps[-1] in _LITTER


def _unpacked(archive: ZipFile, info: ZipInfo, allowance: Allowance) -> bytes:
    if info.flag_bits & _ENCRYPTED:
        raise Unreadable("it is protected by a password")
    if info.flag_bits & _PATCHED or info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise Unreadable("it is packed in a way that is not read here; pack it anew as an ordinary ZIP")
    if info.file_size > _SURELY_SMALL and info.file_size > _MOST_TIMES * info.compress_size:
        raise Unreadable(f"it would unpack to more than {_MOST_TIMES} times its size")
    allowance.take_bytes(info.file_size)
    try:
        # zipfile stops at the size that the directory declares, whatever the packed bytes go on to.
        return archive.read(info)
    except (BadZipFile, zlib.error, EOFError, ValueError, OSError, OverflowError) as damaged:
        raise Unreadable("it is damaged") from damaged
