"""How far a Drive was read: what is kept between two pages, and all that is."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

Phase = Literal["listing", "catching", "following"]


class DriveCursor(BaseModel):
    """A complete listing, the changes that came meanwhile, and from then on whatever changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scope: str
    """What it is a cursor of: for another folder, another account or another drive it says nothing."""
    phase: Phase
    token: str | None
    """Of the next page; of a listing's first there is none."""
    start: str
    """Where the changes begin that the listing may have missed: asked for before its first page."""
    listed_at: datetime
    """When the listing began."""
    until: datetime | None = None
    """When the first of the grants that were met ends, of which Drive will tell no change."""
    drive_id: str | None = None
    """The shared drive that is read; None: what is shown to the account itself."""
    members: str | None = None
    """What tells one membership of the shared drive from another."""
    below: tuple[str, ...] = ()
    """Folders that changed, and those in them: what lies there is still to be looked at."""
    below_token: str | None = None
    """Of the next page of that."""
    below_asked: int = 0
    """Of how many of those folders the page is: Drive knows a token only with the same question."""
    is_told: bool = False
    """The feed has told everything; what is left lies below those folders."""
    again: bool = False
    """Something went away of which Drive does not say what lay in it: only another listing tells."""

    def text(self) -> str:
        """As it is kept."""
        return self.model_dump_json(exclude_defaults=True)


def cursor_of(text: str | None, scope: str) -> DriveCursor | None:
    """The cursor that was kept; None: there is none, or it is not one of this scope."""
    if text is None:
        return None
    try:
        found = DriveCursor.model_validate_json(text)
    except ValidationError:
        return None
    return found if found.scope == scope else None
