"""What every parser gives: the canonical text of a document, its blocks in reading order, and why one is unreadable."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from domain.kernel import DomainError

BlockKind = Literal["heading", "paragraph", "table", "list_item", "code"]
MediaType = Literal[
    "text/plain",
    "text/markdown",
    "text/html",
    "text/csv",
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "message/rfc822",
    "application/vnd.ms-outlook",
    "application/zip",
]
DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX: Final = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
EML: Final = "message/rfc822"
MSG: Final = "application/vnd.ms-outlook"
MAIL: Final = frozenset({EML, MSG})
ZIP: Final = "application/zip"
LEFT_OUT: Final = "…"
"""Stands for the beginning of a path that is too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One structural piece of a document; blocks neither overlap nor leave out any text but blanks."""

    kind: BlockKind
    start: int
    end: int
    """Offsets into the canonical text, in Unicode code points; `end` is exclusive."""
    path: tuple[str, ...] = ()
    """The headings above, outermost first; a heading's own words are the last of its path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file inside of another that becomes a document of its own."""

    path: str
    """Where it lies inside, folders first, parted by slashes; no two parts of a document share one."""
    media_type: MediaType
    content: bytes


def is_of_mail(path: str, media_type: str, messages: Collection[str]) -> bool:
    """Whether a file inside of another is a message, or came with one; `messages`: the paths of those beside it.

    A path whose beginning is left out does not say where the file lies: it counts as a message's.
    """
    if media_type in MAIL:
        return True
    folders = (path[:end] for end, letter in enumerate(path) if letter == "/")
    return bool(messages) and (path.startswith(LEFT_OUT) or any(folder in messages for folder in folders))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedDocument:
    """A document as it is stored, searched and cited.

    Shape   text: what offsets count; PostgreSQL can store it (no NUL, no lone surrogate), lines end with a newline.
            page_starts: the offset at which each page begins; empty where the format has no pages.
    """

    media_type: MediaType
    text: str
    blocks: tuple[Block, ...]
    title: str | None = None
    page_starts: tuple[int, ...] = ()
    note: str | None = None
    """What of the file is not in the text, in words for people; it ends a sentence, without a full stop."""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseLimits:
    """How large a document may be; the time it may take is held by the process that parses it (knowledge.isolate)."""

    size_bytes: int = 50 * 1024 * 1024
    """No door takes in more: what is kept can be read, as far as its size goes."""
    unpacked_bytes: int = 200_000_000
    """Of all that an Office file packs together."""
    pages: int = 2_000
    rows: int = 100_000
    """Of all the sheets of a workbook together, or of a CSV file."""
    columns: int = 500
    characters: int = 10_000_000
    parts: int = 1_000
    """Files inside of one upload, however they are nested."""
    parts_bytes: int = 100_000_000
    """Of all that is unpacked of one upload, archives within it included."""


DEFAULT_LIMITS = ParseLimits()


class Unreadable(DomainError):
    """The document cannot be read; `reason` ends the sentence "The document could not be read: ..."."""

    code: ClassVar[str] = "unreadable_document"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The document could not be read: {reason}.")
        self.reason = reason


class UnsupportedFormat(Unreadable):
    """The document is of a kind that no parser here reads."""

    code: ClassVar[str] = "unsupported_format"


@dataclass(slots=True)
class Outline:
    """The headings that stand above the place a parser has reached."""

    _open: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    @property
    def path(self) -> tuple[str, ...]:
        """Their words, outermost first."""
        return tuple(title for _, title in self._open)

    def enter(self, level: int, title: str) -> None:
        """Closes the headings of this level and below, and opens this one."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, heading_words(title)))


def heading_words(title: str) -> str:
    """A heading on one line, short enough to stand in a citation."""
    words = " ".join(title.split())
    return words if len(words) <= 120 else words[:119].rstrip() + "…"


def first_heading(blocks: Sequence[Block]) -> str | None:
    """The words of the first heading, as a title for a document that names none."""
    return next((block.path[-1] for block in blocks if block.kind == "heading" and block.path), None)
