"""How far a site was gone through, and what its pages were last: packed, since all of it is kept with each step."""

from __future__ import annotations

import zlib
from base64 import b85decode, b85encode
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_MOST_BYTES: Final = 16 * 1024 * 1024


class Known(BaseModel):
    """A page as it was when it was asked for last."""

    model_config = ConfigDict(extra="forbid")

    depth: int
    """Links from a first page to it."""
    digest: str = ""
    """Of its content; empty: it was never had, and is tried again."""
    media_type: str | None = None
    size: int = 0
    etag: str | None = None
    last_modified: str | None = None


class WebCursor(BaseModel):
    """One going through a site, and the memory of the last."""

    model_config = ConfigDict(extra="forbid")

    form: Literal[1] = 1
    scope: str
    began_at: datetime
    waiting: list[tuple[str, int]] = Field(default_factory=list[tuple[str, int]])
    """Addresses that are still to be asked for, and their depths; empty: it is through."""
    met: set[str] = Field(default_factory=set[str])
    """Addresses that are waiting, or were asked for."""
    known: dict[str, Known] = Field(default_factory=dict[str, Known])
    taken: int = 0
    taken_bytes: int = 0
    was_cut: bool = False
    """The last time some of the site was left out: it is asked for whole, for links that nobody remembers."""
    cuts: bool = False
    """The same of this time."""

    def text(self) -> str:
        """As it is kept."""
        return b85encode(zlib.compress(self.model_dump_json(exclude_defaults=True).encode(), 6)).decode()


def cursor_of(text: str | None, scope: str) -> WebCursor | None:
    """The cursor that was kept; None: there is none, or it is not one of this scope."""
    if text is None:
        return None
    try:
        unpacker = zlib.decompressobj()
        document = unpacker.decompress(b85decode(text), _MOST_BYTES)
        found = WebCursor.model_validate_json(document)
    except (ValueError, zlib.error, ValidationError):
        return None
    return found if found.scope == scope else None
