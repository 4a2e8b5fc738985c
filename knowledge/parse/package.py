"""The packed parts of an Office file: looked over before any is unpacked, so that no bomb goes off."""

from __future__ import annotations

import posixpath
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import IO, Final
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipInfo

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring, iterparse

from knowledge.parse.document import ParseLimits, Unreadable
from knowledge.parse.zipped import opened

MOST_PARTS: Final = 10_000
_ENCRYPTED = 0x1 | 0x40
_PATCHED = 0x20
"""Bits of an entry's flags.  Source  APPNOTE 4.4.4."""
DAMAGED: Final = "the file is damaged or was cut short; save it again in the program that made it"
_DECLARES: Final = "its XML declares entities or a document type, which no Office program writes"
_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """Where one part of a package points to another; what points outside of it is left out."""

    kind: str
    """The last word of its type, as in "styles"."""
    part: str
    """The name of the part."""
    id: str = ""
    """By which the part that points there names it."""


class Package:
    """An Office file's parts by name.

    Raises  Unreadable, from the constructor: no archive, protected, or more than `limits` once unpacked. The sizes that
            the archive declares are also those that unpacking stops at.
    """

    def __init__(self, content: bytes, limits: ParseLimits) -> None:
        self._archive = opened(content, DAMAGED)
        _look_over(self._archive.infolist(), limits)

    def xml(self, name: str) -> Element | None:
        """The root of a part; None: there is no such part.

        Raises  Unreadable: it is damaged, or declares entities.
        """
        try:
            return fromstring(self._archive.read(name), forbid_dtd=True)
        except KeyError:
            return None
        except (BadZipFile, zlib.error, EOFError, ParseError, ValueError) as damaged:
            reason = _DECLARES if isinstance(damaged, DefusedXmlException) else DAMAGED
            raise Unreadable(reason) from damaged

    def elements(self, name: str, tags: Collection[str]) -> Iterator[Element]:
        """Elements of a part with these local names, each whole and forgotten when the next one comes; none: no part.

        Raises  Unreadable: as `xml`.
        """
        try:
            with self._archive.open(name) as part:
                yield from _elements(part, tags)
        except KeyError:
            return
        except (BadZipFile, zlib.error, EOFError, ParseError, DefusedXmlException) as damaged:
            reason = _DECLARES if isinstance(damaged, DefusedXmlException) else DAMAGED
            raise Unreadable(reason) from damaged

    def relationships(self, name: str) -> list[Relationship]:
        """Where the part of this name points to within the package; the empty name stands for the package itself."""
        folder, file = posixpath.split(name)
        root = self.xml(posixpath.join(folder, "_rels", f"{file}.rels"))
        return (
            [] if root is None else [_relationship(folder, each) for each in root.iter(_RELATIONSHIP) if _inside(each)]
        )

    def related(self, name: str, kind: str) -> str | None:
        """The first part that this one points to as `kind`."""
        return next((each.part for each in self.relationships(name) if each.kind == kind), None)


def _elements(part: IO[bytes], tags: Collection[str]) -> Iterator[Element]:
    open_elements: list[Element] = []
    for event, element in iterparse(part, events=("start", "end"), forbid_dtd=True):
        if event == "start":
            open_elements.append(element)
            continue
        open_elements.pop()
        if element.tag.rpartition("}")[2] in tags:
            yield element
            element.clear()
            # The parent's list of emptied children would grow with the sheet.
            if open_elements:
                open_elements[-1].clear()


def _look_over(entries: list[ZipInfo], limits: ParseLimits) -> None:
    if len(entries) > MOST_PARTS:
        raise Unreadable(f"it is packed from {len(entries):,} parts, and at most {MOST_PARTS:,} are read")
    size = sum(entry.file_size for entry in entries)
    if size > limits.unpacked_bytes:
        raise Unreadable(f"unpacked it has {size:,} bytes, and at most {limits.unpacked_bytes:,} are read")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise Unreadable("it is protected by a password")
    if any(entry.flag_bits & _PATCHED or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for entry in entries):
        raise Unreadable("it is packed in a way that no Office program packs")


def _inside(relationship: Element) -> bool:
    """What points to a place outside is never looked at, and so never fetched."""
    return relationship.get("TargetMode", "Internal") == "Internal"


def _relationship(folder: str, element: Element) -> Relationship:
    target = unquote(element.get("Target", ""))
    place = target if target.startswith("/") else posixpath.join("/", folder, target)
    return Relationship(
        kind=element.get("Type", "").rpartition("/")[2],
        part=posixpath.normpath(place).removeprefix("/"),
        id=element.get("Id", ""),
    )
