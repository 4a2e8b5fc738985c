"""What holds files inside: its own text with the list of them, and each that can be read as a part of its own."""

from __future__ import annotations

import posixpath
from itertools import groupby
from typing import Final

from knowledge.parse.archive import Allowance, entries
from knowledge.parse.builder import DocumentBuilder
from knowledge.parse.decode import storable
from knowledge.parse.document import (
    EML,
    LEFT_OUT,
    MSG,
    ZIP,
    MediaType,
    ParsedDocument,
    ParseLimits,
    Part,
    Unreadable,
    first_heading,
)
from knowledge.parse.mail import Mail, add_mail, read_eml
from knowledge.parse.media import media_type_of
from knowledge.parse.outlook import read_msg

_DEEPEST: Final = 4
"""Archives and messages within one another, the upload itself included."""
_LONGEST_PATH: Final = 290
_LONGEST_NOTE: Final = 1_500
_TOO_DEEP: Final = f"it lies more than {_DEEPEST} archives or messages deep"


def parse_zip(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """An archive as its list of files, folder by folder; those that are read are its parts, nested ones too.

    Raises  Unreadable: damaged, or nothing in it can be read.
    """
    opened = _Opened(limits)
    opened.open_archive(content, "", 1)
    if not opened.parts:
        raise Unreadable(opened.refusals() or "the archive holds no file")
    builder = DocumentBuilder()
    builder.add("paragraph", f"An archive of {_files(len(opened.told))}.")
    opened.list_in(builder)
    return opened.document(ZIP, builder)


def parse_eml(content: bytes, limits: ParseLimits, *, unpack: bool) -> ParsedDocument:
    """A message: its subject, who wrote to whom and when, its words; `unpack`: its attachments are its parts.

    Raises  Unreadable: it is no message, or is nested too deeply.
    """
    return _parsed_mail(EML, read_eml(content), limits, unpack=unpack)


def parse_msg(content: bytes, limits: ParseLimits, *, unpack: bool) -> ParsedDocument:
    """The same of a message that Outlook saved.

    Raises  Unreadable.
    """
    return _parsed_mail(MSG, read_msg(content), limits, unpack=unpack)


def _parsed_mail(media_type: MediaType, mail: Mail, limits: ParseLimits, *, unpack: bool) -> ParsedDocument:
    opened, builder = _Opened(limits), DocumentBuilder()
    add_mail(builder, mail)
    if unpack:
        opened.open_mail(mail, "", 1)
        opened.list_in(builder)
    elif mail.attachments:
        names = (attachment.name for attachment in mail.attachments)
        builder.add("paragraph", f"Attachments: {storable(', '.join(names))}")
    return opened.document(media_type, builder)


class _Opened:
    """What came out of an upload so far, within one allowance for all of it."""

    def __init__(self, limits: ParseLimits) -> None:
        self.parts: list[Part] = []
        self.told: list[tuple[str, str | None]] = []
        """Each file that was met, with the reason why it is no part, None where it is one."""
        self._allowance = Allowance(limits)
        self._paths: set[str] = set()

    def open_archive(self, content: bytes, path: str, depth: int) -> None:
        """Raises  Unreadable."""
        for entry in entries(content, self._allowance):
            place = posixpath.join(path, entry.path)
            if entry.refused is None:
                self._take(entry.content, place, None, depth)
            else:
                self.told.append((place, entry.refused))

    def open_mail(self, mail: Mail, path: str, depth: int) -> None:
        """Raises  Unreadable."""
        for attachment in mail.attachments:
            self._allowance.take_file()
            place = posixpath.join(path, attachment.name)
            try:
                self._allowance.take_bytes(len(attachment.content))
            except Unreadable as refusal:
                self.told.append((place, refusal.reason))
            else:
                self._take(attachment.content, place, attachment.declared, depth)

    def list_in(self, builder: DocumentBuilder) -> None:
        """Appends what became of each file, below the folder in which it lies."""
        for folder, told in groupby(sorted(self.told, key=_folder), key=_folder):
            builder.add_heading(1, storable(folder) or "Files")
            for path, refused in told:
                outcome = "a document of its own" if refused is None else f"not taken in: {refused}"
                builder.add("list_item", f"- {storable(posixpath.basename(path))} ({outcome})")

    def refusals(self) -> str:
        """Why files are no parts, in one sentence; empty where there is none."""
        said = [f"{storable(path)} ({refused})" for path, refused in self.told if refused is not None]
        if not said:
            return ""
        verb = "was" if len(said) == 1 else "were"
        count = f"{_files(len(said))} in it {verb} not taken in" if self.parts else "nothing in it could be taken in"
        words = f"{count}: {', '.join(said)}"
        return words if len(words) <= _LONGEST_NOTE else words[: _LONGEST_NOTE - 1].rstrip() + "…"

    def document(self, media_type: MediaType, builder: DocumentBuilder) -> ParsedDocument:
        """The upload's own document."""
        blocks = tuple(builder.blocks)
        return ParsedDocument(
            media_type=media_type,
            text=builder.text,
            blocks=blocks,
            title=first_heading(blocks),
            note=self.refusals() or None,
            parts=tuple(self.parts),
        )

    def _take(self, content: bytes, path: str, declared: str | None, depth: int) -> None:
        """One file: a part, or what it holds where it is an archive; a message is a part and holds others."""
        try:
            media_type = media_type_of(content, posixpath.basename(path), declared)
            if media_type in (ZIP, EML, MSG) and depth >= _DEEPEST:
                raise Unreadable(_TOO_DEEP)
            if media_type == ZIP:
                self.open_archive(content, path, depth + 1)
                return
            mail = _mail(content, media_type)
        except Unreadable as refusal:
            self.told.append((path, refusal.reason))
            return
        self.parts.append(Part(path=self._free(path), media_type=media_type, content=content))
        self.told.append((path, None))
        if mail is not None:
            try:
                self.open_mail(mail, path, depth + 1)
            except Unreadable as refusal:
                self.told.append((f"{path}/…", refusal.reason))

    def _free(self, path: str) -> str:
        """The path, its beginning left out where it is too long, and numbered where it is taken."""
        path = path if len(path) <= _LONGEST_PATH else LEFT_OUT + path[-_LONGEST_PATH:]
        stem, suffix = posixpath.splitext(path)
        free, number = path, 1
        while free in self._paths:
            number += 1
            free = f"{stem} ({number}){suffix}"
        self._paths.add(free)
        return free


def _mail(content: bytes, media_type: MediaType) -> Mail | None:
    return read_eml(content) if media_type == EML else read_msg(content) if media_type == MSG else None


def _folder(told: tuple[str, str | None]) -> str:
    return posixpath.dirname(told[0])


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"
