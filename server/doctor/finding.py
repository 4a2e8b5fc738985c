"""What an examination finds of one part of an installation."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One part of the installation; `note` is nothing wrong, but worth knowing."""

    part: str
    state: State
    says: str
    mend: str | None = None
    """What to do about it; only of what is wrong."""


def wrong(part: str, says: str, mend: str) -> Finding:
    """What is wrong with a part, and how to mend it."""
    return Finding(part=part, state="wrong", says=says, mend=mend)
