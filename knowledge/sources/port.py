"""What a source of documents is to the hub: a place that says what changed, and gives what an item holds.

A source keeps nothing between two calls. Whoever syncs keeps the cursor of each page once the page is worked in, and
opens the source anew to go on there: in another process, after a crash, or a day later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, Final, Literal, Protocol

SourceKind = Literal["folder", "google_drive", "web"]


class Everyone:
    """Whoever the source's own audience lets."""

    def __repr__(self) -> str:
        return "EVERYONE"


EVERYONE: Final = Everyone()

Readers = frozenset[str] | Everyone
"""Lower-cased e-mail addresses of those who may read an item, `@example.com` for everybody there; empty: nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An item as the source has it now."""

    key: str
    """Its id there, at most 500 characters: stays when it is renamed or moved, where the source has such ids."""
    path: str
    """The name shown, with its folders, `/` between them."""
    version: str
    """Opaque; differs when the content differs."""
    media_type: str | None
    """What the source says it is; None: it does not say."""
    size: int | None
    """Bytes; None: not known before it is read."""
    readers: Readers
    unexpanded: tuple[str, ...] = ()
    """Groups and the like that may read it there, of unknown members: they give nobody here, which is told."""
    url: str | None = None
    """Where a person opens it; None: its path is all that is told of where it came from."""
    identity: str | None = None
    """Of a source without lasting ids: what the same item with the same content has under another key too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """An item that is not there any more, or not for whom the source is read."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A page of what changed since a cursor."""

    items: tuple[Found | Gone, ...]
    cursor: str
    """Opaque; kept after the page was worked in: the next read goes on there."""
    is_full: bool
    """The page is of one complete listing: what such a listing, once it is complete, did not name is gone."""
    is_last: bool
    """Nothing is left for now: of a listing, it is complete."""
    note: str | None = None
    """What of the source was passed over and why, in words for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an item holds, as an upload would have it."""

    content: bytes = field(repr=False)
    file_name: str
    declared_type: str | None


class Source(Protocol):
    """One place that is read, opened for the length of one call."""

    def changes(self, cursor: str | None) -> AsyncIterator[Changes]:
        """Page after page from a cursor on, to one that `is_last`; None: everything, from the beginning.

        Whoever asks may stop after any page. A cursor that the source knows no more begins a complete listing.
        Raises  SourceUnavailable, SourceRefused.
        """
        ...

    async def read(self, item: Found, most_bytes: int) -> Content:
        """What the item holds now, which may be newer than `item.version`.

        Raises  ItemUnreadable: larger than `most_bytes`, or of a kind that cannot be had. ItemUnavailable, ItemGone.
                SourceUnavailable, SourceRefused.
        """
        ...


class OpenSource(Protocol):
    """How sources of one kind are opened; the composition root holds one for each kind."""

    lasting: ClassVar[frozenset[str]]
    """Members of the settings that say which place it is, and by whose eyes: with another one it is another source."""

    def check(self, settings: Mapping[str, object], organization: str) -> Mapping[str, object]:
        """The settings as they are kept, with nothing secret in them. `organization`: whose source it is, by its slug.

        Raises  SourceRefused: they make no sense, or name what the operator does not let be read.
        """
        ...

    def __call__(self, settings: Mapping[str, object], organization: str) -> AbstractAsyncContextManager[Source]:
        """The source for the length of the block.

        Raises  SourceUnavailable, SourceRefused.
        """
        ...


class SourceUnavailable(Exception):
    """It does not answer, or not now; the words are for people and hold no secret."""

    def __init__(self, why: str, retry_after: timedelta | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after
        """How long it asks to be left alone; None: it does not say."""


class SourceRefused(Exception):
    """The source, its settings or its credentials say no: trying again changes nothing. The words are for people."""


class ItemUnreadable(Exception):
    """One item cannot be had, for what it is, until it changes: it costs that item alone. The words are for people."""


class ItemUnavailable(ItemUnreadable):
    """One item cannot be had now, for a reason that may pass without any change of it: it is tried again."""


class ItemGone(ItemUnreadable):
    """The item is not there any more: should it come back as it was, that is told anew."""
