"""EML: a message's words and what is attached to it; other kinds of messages are brought into the same form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage, Message
from email.policy import default
from typing import Final, cast

from knowledge.parse.archive import entry_path
from knowledge.parse.builder import DocumentBuilder
from knowledge.parse.decode import decode_text, storable
from knowledge.parse.document import Outline, Unreadable
from knowledge.parse.html import parse_page
from knowledge.parse.lines import blocks_of_lines

SHOWN: Final = ("From", "To", "Cc", "Date")
_MOST_PIECES: Final = 5_000
_LONGEST_HEADER: Final = 2_000
_TOO_DEEP: Final = "the message is nested too deeply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that came with a message."""

    name: str
    content: bytes
    declared: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message as its reader sees it."""

    subject: str
    headers: tuple[tuple[str, str], ...]
    """Those of SHOWN that it has."""
    text: str | None
    html: str | None
    """Looked at where there is no text."""
    attachments: tuple[Attachment, ...]


def read_eml(content: bytes) -> Mail:
    """A message in the form of the Internet.

    Raises  Unreadable: it has neither headers nor words, or is nested too deeply.
    """
    try:
        message = message_from_bytes(content, policy=default)
        pieces = list(_pieces(message))
    except RecursionError as error:
        raise Unreadable(_TOO_DEEP) from error
    headers = tuple((name, value) for name in SHOWN if (value := _header(message, name)))
    body = [each for each in pieces if not _is_attached(each)]
    text, html = _first(body, "text/plain"), _first(body, "text/html")
    attachments = tuple(_attachments(pieces, (text, html)))
    if not headers and not attachments:
        raise Unreadable("it is called an e-mail message but has no sender, date or attachment")
    return Mail(
        subject=_header(message, "Subject"),
        headers=headers,
        text=None if text is None else _words(text),
        html=None if html is None else _words(html),
        attachments=attachments,
    )


def add_mail(builder: DocumentBuilder, mail: Mail) -> None:
    """Appends the subject as a heading, then who wrote to whom and when, then the words."""
    builder.add_heading(1, _line(mail.subject) or "Message without a subject")
    builder.add("paragraph", "\n".join(f"{name}: {_line(value)}" for name, value in mail.headers))
    if mail.text is not None and not mail.text.isspace():
        text = storable(mail.text)
        for block in blocks_of_lines(text, 0, len(text), Outline()):
            # A line in capitals is no section here: the subject is the only heading that a message has.
            kind = "paragraph" if block.kind == "heading" else block.kind
            builder.add(kind, text[block.start : block.end])
    elif mail.html is not None:
        _add_page(builder, mail.html)


def _add_page(builder: DocumentBuilder, html: str) -> None:
    try:
        page = parse_page(html)
    except Unreadable:
        return
    for block in page.blocks:
        kind = "paragraph" if block.kind == "heading" else block.kind
        builder.add(kind, page.text[block.start : block.end])


def _pieces(message: Message) -> Iterator[Message]:
    """Its leaves, and messages within it whole."""
    waiting, seen = [message], 0
    while waiting:
        piece = waiting.pop()
        seen += 1
        if seen > _MOST_PIECES:
            raise Unreadable(f"the message has more than {_MOST_PIECES:,} pieces")
        held = _held(piece)
        if held and piece.get_content_maintype() == "multipart":
            waiting.extend(reversed(held))
        else:
            yield piece


def _held(piece: Message) -> list[Message]:
    """The messages that it is made of, where it is made of any."""
    payload: object = piece.get_payload()
    held = cast("list[object]", payload) if isinstance(payload, list) else []
    return [cast(Message, each) for each in held if isinstance(each, Message)]


def _header(message: Message, name: str) -> str:
    """One header's words; the parser of a broken one may raise nearly anything."""
    try:
        value = message.get(name, "")
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, AssertionError):
        value = next((raw for key, raw in message.raw_items() if key.casefold() == name.casefold()), "")
    return _line(str(value))[:_LONGEST_HEADER]


def _line(words: str) -> str:
    return " ".join(storable(words).split())


def _is_attached(piece: Message) -> bool:
    return piece.get_content_disposition() == "attachment" or piece.get_content_type() == "message/rfc822"


def _first(pieces: list[Message], content_type: str) -> Message | None:
    return next((each for each in pieces if each.get_content_type() == content_type), None)


def _attachments(pieces: list[Message], body: tuple[Message | None, ...]) -> Iterator[Attachment]:
    """What is attached; pictures that only stand within the words, as of signatures, are none."""
    for number, piece in enumerate(pieces, 1):
        if any(piece is each for each in body):
            continue
        shown = piece.get_content_disposition() == "inline" or piece.get("Content-ID") is not None
        if piece.get_content_maintype() == "image" and shown and not _is_attached(piece):
            continue
        if piece.get_content_maintype() == "multipart":
            continue  # one that is broken: its parts were not found
        declared = piece.get_content_type()
        yield Attachment(
            name=_file_name(piece, number, declared),
            content=_bytes(piece),
            declared=None if declared == "application/octet-stream" else declared,
        )


def _file_name(piece: Message, number: int, declared: str) -> str:
    try:
        named = piece.get_filename()
    except (MessageError, ValueError, LookupError, TypeError, AttributeError):
        named = None
    if declared == "message/rfc822" and not (named or "").lower().endswith(".eml"):
        held = _held(piece)
        subject = _header(held[0], "Subject") if held else ""
        return (entry_path(named or subject).replace("/", "-") or f"message {number}")[:100] + ".eml"
    return entry_path(named or "").replace("/", "-") or f"attachment {number}"


def _bytes(piece: Message) -> bytes:
    held = _held(piece)
    if held:
        try:
            return held[0].as_bytes()
        except RecursionError as error:
            raise Unreadable(_TOO_DEEP) from error
        # A header that cannot be written again: the message is given without it.
        except (MessageError, ValueError, LookupError, TypeError, AttributeError):
            return _rewritten(held[0])
    decoded = piece.get_payload(decode=True)
    return decoded if isinstance(decoded, bytes) else b""


def _rewritten(message: Message) -> bytes:
    plain = EmailMessage()
    for name in (*SHOWN, "Subject"):
        if value := _header(message, name):
            plain[f"X-{name}"] = value.encode("ascii", "replace").decode()
    plain.set_content(_words(message))
    return plain.as_bytes()


def _words(piece: Message) -> str:
    """The text of a leaf in its own encoding, or in the likeliest where it names none that is known."""
    content = _bytes(piece)
    charset = piece.get_content_charset()
    try:
        if charset is not None and charset not in ("utf-8", "us-ascii", "ascii"):
            return content.decode(charset, "replace")
    except (LookupError, UnicodeError):
        pass
    return decode_text(content)
