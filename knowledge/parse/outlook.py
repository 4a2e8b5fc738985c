"""MSG: a message as Outlook saves it, a compound file of properties, brought into the form of other messages."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTPUTF8
from io import BytesIO
from typing import Any, Final, cast

from knowledge.parse.archive import entry_path
from knowledge.parse.decode import storable
from knowledge.parse.document import Unreadable
from knowledge.parse.mail import Attachment, Mail

DAMAGED: Final = "the message is damaged or was cut short"
_STREAM: Final = "__substg1.0_"
_PROPERTIES: Final = "__properties_version1.0"
_ATTACHED: Final = "__attach_version1.0_"
_UNICODE: Final = "001F"
_NARROW: Final = "001E"
_BINARY: Final = "0102"
_OBJECT: Final = "000D"
"""Types of properties.  Source  MS-OXCDATA 2.11.1."""
_SUBJECT, _SENDER, _SENDER_ADDRESS, _SMTP = "0037", "0C1A", "0C1F", "5D01"
_TO, _CC, _BODY, _HTML = "0E04", "0E03", "1000", "1013"
_SUBMITTED, _DELIVERED, _CODE_PAGE = 0x0039, 0x0E06, 0x3FDE
_DATA, _LONG_NAME, _SHORT_NAME, _TYPE = "3701", "3707", "3704", "370E"
"""Tags of properties.  Source  MS-OXPROPS."""
_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)
_DEEPEST: Final = 4

Place = tuple[str, ...]


def read_msg(content: bytes) -> Mail:
    """A message of Outlook's own.

    Raises  Unreadable: it is damaged.
    """
    try:
        return _Message(_streams(content), (), 1).read()
    except (Unreadable, MemoryError):
        raise
    # olefile follows whatever a broken file makes of its sectors: nearly any exception type comes out of it.
    except Exception as error:
        raise Unreadable(DAMAGED) from error


def _streams(content: bytes) -> dict[Place, bytes]:
    """The streams of a compound file by their path; together they are never larger than the file."""
    from olefile import OleFileIO

    left, streams = len(content), dict[Place, bytes]()
    file = cast(Any, OleFileIO)(BytesIO(content))
    for path in cast(list[list[str]], file.listdir()):
        with file.openstream(path) as stream:
            read = cast(bytes, stream.read())
        left -= len(read)
        if left < 0:
            raise Unreadable(DAMAGED)
        streams[tuple(path)] = read
    return streams


class _Message:
    """One message in the file: the outermost, or one that is attached to another."""

    def __init__(self, streams: Mapping[Place, bytes], place: Place, depth: int) -> None:
        self._streams = streams
        self._place = place
        self._depth = depth
        head = 32 if not place else 24
        self._fixed = _fixed(self._stream(_PROPERTIES), head)
        self._encoding = _encoding(self._fixed.get(_CODE_PAGE, b""))

    def read(self) -> Mail:
        sender, address = self._text(_SENDER), self._text(_SMTP) or self._text(_SENDER_ADDRESS)
        named = f"{sender} <{address}>" if sender and "@" in address and address != sender else sender or address
        values = {"From": named, "To": self._text(_TO), "Cc": self._text(_CC), "Date": self._date()}
        text, html = self._text(_BODY), self._stream(_STREAM + _HTML + _BINARY)
        return Mail(
            subject=self._text(_SUBJECT),
            headers=tuple((name, value) for name, value in values.items() if value),
            text=text or None,
            html=html.decode(self._encoding, "replace") if html else self._text(_HTML) or None,
            attachments=tuple(self._attachments()),
        )

    def _attachments(self) -> list[Attachment]:
        depth = len(self._place)
        below = (path for path in self._streams if path[:depth] == self._place and len(path) > depth)
        storages = sorted({path[depth] for path in below if path[depth].startswith(_ATTACHED)})
        return [self._attachment(storage, number) for number, storage in enumerate(storages, 1)]

    def _attachment(self, storage: str, number: int) -> Attachment:
        named = self._text(_LONG_NAME, storage) or self._text(_SHORT_NAME, storage)
        name = entry_path(named).replace("/", "-") or f"attachment {number}"
        embedded = (*self._place, storage, _STREAM + _DATA + _OBJECT)
        if (*embedded, _PROPERTIES) not in self._streams:
            declared = self._text(_TYPE, storage)
            content = self._stream(_STREAM + _DATA + _BINARY, storage)
            return Attachment(name=name, content=content, declared=declared or None)
        if self._depth >= _DEEPEST:
            raise Unreadable("the message is nested too deeply")
        inner = _Message(self._streams, embedded, self._depth + 1).read()
        title = entry_path(inner.subject or named).replace("/", "-")[:100] or f"message {number}"
        return Attachment(name=f"{title}.eml", content=as_eml(inner), declared="message/rfc822")

    def _date(self) -> str:
        ticks = self._fixed.get(_SUBMITTED) or self._fixed.get(_DELIVERED) or b""
        if len(ticks) != 8:
            return ""
        try:
            sent = _EPOCH + timedelta(microseconds=struct.unpack("<Q", ticks)[0] // 10)
        except OverflowError:
            return ""
        return sent.strftime("%a, %d %b %Y %H:%M:%S +0000")

    def _text(self, tag: str, *below: str) -> str:
        wide = self._stream(_STREAM + tag + _UNICODE, *below)
        if wide:
            return wide.decode("utf-16-le", "replace").rstrip("\x00")
        return self._stream(_STREAM + tag + _NARROW, *below).decode(self._encoding, "replace").rstrip("\x00")

    def _stream(self, name: str, *below: str) -> bytes:
        return self._streams.get((*self._place, *below, name), b"")


def as_eml(mail: Mail) -> bytes:
    """A message in the form of the Internet, for one that has no bytes of its own."""
    message = EmailMessage(policy=SMTPUTF8)
    for name, value in (("Subject", mail.subject), *mail.headers):
        message[name] = " ".join(storable(value).split())
    if mail.text is not None or mail.html is None:
        message.set_content(mail.text or "")
    else:
        message.set_content(mail.html, subtype="html")
    for each in mail.attachments:
        main, _, sub = (each.declared or "").partition("/")
        if not sub or main in ("message", "multipart"):
            main, sub = "application", "octet-stream"
        message.add_attachment(each.content, maintype=main, subtype=sub, filename=each.name)
    return message.as_bytes()


def _fixed(properties: bytes, head: int) -> dict[int, bytes]:
    """Properties of a fixed size by tag, each of eight bytes.  Source  MS-OXMSG 2.4."""
    return {
        struct.unpack_from("<H", properties, at + 2)[0]: properties[at + 8 : at + 16]
        for at in range(head, len(properties) - 15, 16)
    }


def _encoding(code_page: bytes) -> str:
    """The name of an encoding for Windows' number of it."""
    number = struct.unpack_from("<I", code_page)[0] if len(code_page) >= 4 else 0
    name = {65001: "utf-8", 20127: "cp1252", 28591: "latin-1", 0: "cp1252"}.get(number, f"cp{number}")
    try:
        "".encode(name)
    except LookupError:
        return "cp1252"
    return name
