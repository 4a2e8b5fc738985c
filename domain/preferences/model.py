"""A preference: a person's own words about how the agent is to answer them, and nothing that binds anybody else."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from domain.kernel import CallId, ConversationId, DomainError, NotFound

MOST = 30
"""Preferences of one person in one organization."""
LENGTH = 300
"""Characters of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What one person asked for, in their words, and where they said it last."""

    preference_id: UUID
    words: str
    conversation_id: ConversationId | None
    """None: it was written by hand."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Words that are to be remembered, and the call that they came with."""

    words: str
    call_id: CallId
    conversation_id: ConversationId | None
    now: datetime


class PreferenceNotFound(NotFound):
    """The person has no such preference."""

    code: ClassVar[str] = "preference_not_found"

    def __init__(self) -> None:
        super().__init__("preference_id: there is no such preference of yours")


class InvalidPreference(DomainError):
    """A preference is one line that can be read."""

    code: ClassVar[str] = "invalid_preference"

    def __init__(self) -> None:
        super().__init__(f"words: must be one line of 1 to {LENGTH} printable characters")


class TooManyPreferences(DomainError):
    """The person has as many preferences as there may be."""

    code: ClassVar[str] = "too_many_preferences"

    def __init__(self) -> None:
        super().__init__(f"there are {MOST} preferences, and no room for more: forget one first")
