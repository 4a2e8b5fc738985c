"""Remembers a person's preferences, changes and forgets them; they are data of that person's own and lift no rule."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from domain.kernel import NewId
from domain.preferences.model import (
    LENGTH,
    MOST,
    InvalidPreference,
    Preference,
    PreferenceNotFound,
    Statement,
    TooManyPreferences,
)
from domain.preferences.ports import PreferenceRepository


@dataclass(frozen=True, slots=True)
class PreferenceService:
    """The preferences of one principal in one organization; nobody else sees them, whatever the role."""

    preferences: PreferenceRepository

    async def all(self) -> Sequence[Preference]:
        """In the order in which they were first said, at most MOST."""
        return await self.preferences.all()

    async def remember(self, statement: Statement, new_id: NewId) -> Preference:
        """Said again in the same words, it is the one that there is.

        Raises  InvalidPreference, TooManyPreferences.
        """
        _check(statement.words)
        await self.preferences.hold()
        there = await self.preferences.all()
        same = next((each for each in there if each.words.casefold() == statement.words.casefold()), None)
        if same is not None:
            return await self._said_again(same, statement)
        if len(there) >= MOST:
            raise TooManyPreferences
        return await self.preferences.add(new_id(), statement)

    async def _said_again(self, there: Preference, statement: Statement) -> Preference:
        """It stays as it is, but for the call whose payload holds its words: that is the newest one alone."""
        said = replace(statement, words=there.words, conversation_id=there.conversation_id, now=there.updated_at)
        return await self.reword(there.preference_id, said)

    async def reword(self, preference_id: UUID, statement: Statement) -> Preference:
        """The same preference in other words; the earlier ones are erased.

        Raises  InvalidPreference, PreferenceNotFound.
        """
        _check(statement.words)
        earlier = await self.preferences.change(preference_id, statement)
        if earlier is None:
            raise PreferenceNotFound
        await self.preferences.erase(earlier)
        return next(each for each in await self.preferences.all() if each.preference_id == preference_id)

    async def forget(self, preference_id: UUID) -> None:
        """The words are erased; that there was something, the record's events still say.

        Raises  PreferenceNotFound.
        """
        call_id = await self.preferences.delete(preference_id)
        if call_id is None:
            raise PreferenceNotFound
        await self.preferences.erase(call_id)


def _check(words: str) -> None:
    if not 0 < len(words) <= LENGTH or not words.isprintable() or not words.strip():
        raise InvalidPreference
