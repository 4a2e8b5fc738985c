"""Messages as Outlook saves them, as tests need them: a compound file written by hand."""

import itertools
import struct
from collections.abc import Mapping
from typing import TypeAlias

Storage: TypeAlias = "Mapping[str, bytes | Storage]"

_SECTOR, _MINI, _SMALL = 512, 64, 4096
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def compound(root: Storage) -> bytes:
    """A compound file of these storages and streams.  Source  MS-CFB."""
    return _Writer().written(root)


def msg(
    subject: str,
    body: str | None = None,
    *,
    html: bytes | None = None,
    sender: str = "Ana Ruiz",
    address: str = "ana@narro.example",
    attachments: tuple["bytes | Storage", ...] = (),
    names: tuple[str, ...] = (),
    embedded: bool = False,
) -> dict[str, "bytes | Storage"]:
    """The storage of a message; an attachment is a file's bytes or the storage of another message."""
    sent = struct.pack("<HHIQ", 0x0040, 0x0039, 0, 134_381_916_000_000_000)
    held: dict[str, bytes | Storage] = {
        "__properties_version1.0": b"\0" * (24 if embedded else 32) + sent,
        **_text("0037", subject),
        **_text("0C1A", sender),
        **_text("5D01", address),
        **_text("0E04", "Firm"),
    }
    if body is not None:
        held |= _text("1000", body)
    if html is not None:
        held["__substg1.0_10130102"] = html
    for number, each in enumerate(attachments):
        name = names[number] if number < len(names) else ""
        data = {"__substg1.0_37010102": each} if isinstance(each, bytes) else {"__substg1.0_3701000D": each}
        held[f"__attach_version1.0_#{number:08X}"] = {
            "__properties_version1.0": b"\0" * 8,
            **data,
            **_text("3707", name),
        }
    return held


def _text(tag: str, words: str) -> dict[str, bytes]:
    return {f"__substg1.0_{tag}001F": words.encode("utf-16-le")} if words else {}


class _Writer:
    def __init__(self) -> None:
        self._sectors: list[bytes] = []
        self._fat: list[int] = []
        self._minis = b""
        self._mini_fat: list[int] = []
        self._entries: list[bytes] = []

    def written(self, root: Storage) -> bytes:
        self._entries.append(b"")
        child = self._storage(root)
        start = self._stream(self._minis)
        self._entries[0] = _entry("Root Entry", 5, child, start, len(self._minis))
        mini_fat = self._stream(struct.pack(f"<{len(self._mini_fat)}I", *self._mini_fat), _FREE)
        while len(self._entries) % 4:
            self._entries.append(_entry("", 0, _FREE, 0, 0))
        directory = self._stream(b"".join(self._entries))
        count = (len(self._fat) + 126) // 127  # a sector of the table describes itself too
        first = len(self._fat)
        self._fat += [_FAT] * count
        table = struct.pack(f"<{len(self._fat)}I", *self._fat).ljust(count * _SECTOR, b"\xff")
        mini_count = (len(self._mini_fat) * 4 + _SECTOR - 1) // _SECTOR
        head = (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + b"\0" * 6
        )
        head += struct.pack("<IIIIIIIII", 0, count, directory, 0, _SMALL, mini_fat, mini_count, _END, 0)
        head += struct.pack(f"<{count}I", *range(first, first + count)).ljust(436, b"\xff")
        return head + b"".join(self._sectors) + table

    def _storage(self, held: Storage) -> int:
        """Its entries as a chain to the right; the number of the first."""
        numbers: list[int] = []
        for name in sorted(held, key=lambda each: (len(each), each.upper())):
            numbers.append(len(self._entries))
            self._entries.append(b"")
            each = held[name]
            if isinstance(each, bytes):
                start = self._mini(each) if len(each) < _SMALL else self._stream(each)
                self._entries[numbers[-1]] = _entry(name, 2, _FREE, start, len(each))
            else:
                self._entries[numbers[-1]] = _entry(name, 1, self._storage(each), 0, 0)
        for number, following in itertools.pairwise(numbers):
            entry = self._entries[number]
            self._entries[number] = entry[:72] + struct.pack("<I", following) + entry[76:]
        return numbers[0] if numbers else _FREE

    def _stream(self, content: bytes, filling: int = 0) -> int:
        if not content:
            return _END
        first = len(self._fat)
        pad = b"\xff" if filling else b"\0"
        for at in range(0, len(content), _SECTOR):
            self._sectors.append(content[at : at + _SECTOR].ljust(_SECTOR, pad))
            self._fat.append(len(self._fat) + 1)
        self._fat[-1] = _END
        return first

    def _mini(self, content: bytes) -> int:
        if not content:
            return _END
        first = len(self._mini_fat)
        for at in range(0, len(content), _MINI):
            self._minis += content[at : at + _MINI].ljust(_MINI, b"\0")
            self._mini_fat.append(len(self._mini_fat) + 1)
        self._mini_fat[-1] = _END
        return first


def _entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    written = name.encode("utf-16-le")
    length = len(written) + 2 if name else 0
    head = written.ljust(64, b"\0") + struct.pack("<HBB", length, kind, 1)
    return head + struct.pack("<III", _FREE, _FREE, child) + b"\0" * 36 + struct.pack("<IQ", start, size)
