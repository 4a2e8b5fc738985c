"""Reading, renaming and deleting one's own conversations; a run (agent/runs.py) is what adds to them."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import TypeAdapter

from agent.conversations.model import (
    TITLE_LENGTH,
    Conversation,
    ConversationBusy,
    ConversationNotFound,
    Said,
)
from agent.conversations.ports import Sessions
from domain.idempotency.model import IdempotencyKey
from domain.kernel import Clock, ConversationId, DomainError, Principal
from domain.paging import Page, PageRequest, Position, page_of


class InvalidTitle(DomainError):
    """A title must be one line that can be read."""

    code: ClassVar[str] = "invalid_title"

    def __init__(self) -> None:
        super().__init__(f"title: must be 1 to {TITLE_LENGTH} printable characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """A conversation under its new title; `replayed`: it was given before, under the same idempotency key."""

    conversation: Conversation
    replayed: bool = False


_CONVERSATION = TypeAdapter(Conversation)


class ConversationService:
    """A principal's own conversations; nobody sees another's, whatever the role."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def list(self, principal: Principal, page: PageRequest) -> Page[Conversation]:
        """Last touched first."""
        async with self._sessions.session(principal, read_only=True) as store:
            found = await store.conversations(page)
        return page_of(found, page, lambda each: Position(time=each.updated_at, id=each.conversation_id))

    async def get(self, principal: Principal, conversation_id: ConversationId) -> Conversation:
        """Raises  ConversationNotFound."""
        async with self._sessions.session(principal, read_only=True) as store:
            found = await store.conversation(conversation_id)
        return _present(found, conversation_id)

    async def rename(
        self, principal: Principal, conversation_id: ConversationId, title: str, under: IdempotencyKey | None = None
    ) -> Renamed:
        """Raises  ConversationNotFound, InvalidTitle, KeyMismatch, KeyInProgress."""
        words = title.strip()
        if not 0 < len(words) <= TITLE_LENGTH or not words.isprintable():
            raise InvalidTitle
        claim = None if under is None else under.claim(principal.mode, [conversation_id, words])
        async with self._sessions.session(principal, read_only=False) as store:
            kept = None if claim is None else await store.keys.claim(claim)
            if kept is not None:
                return Renamed(conversation=_CONVERSATION.validate_json(kept), replayed=True)
            found = _present(await store.rename(conversation_id, words, self._clock()), conversation_id)
            if claim is not None:
                await store.keys.keep(claim, _CONVERSATION.dump_json(found).decode())
        return Renamed(conversation=found)

    async def delete(self, principal: Principal, conversation_id: ConversationId) -> None:
        """Takes messages and runs with it; the record of its calls stays.

        Raises  ConversationNotFound. ConversationBusy: a run of it is going.
        """
        async with self._sessions.session(principal, read_only=False) as store:
            _present(await store.conversation(conversation_id), conversation_id)
            if not await store.delete(conversation_id):
                raise ConversationBusy(conversation_id)

    async def messages(self, principal: Principal, conversation_id: ConversationId, page: PageRequest) -> Page[Said]:
        """In the order they were said, oldest first.

        Raises  ConversationNotFound.
        """
        async with self._sessions.session(principal, read_only=True) as store:
            _present(await store.conversation(conversation_id), conversation_id)
            found = await store.messages(conversation_id, page.after.id if page.after else None, page.limit)
        return page_of(found, page, lambda each: Position(time=each.created_at, id=each.message_id))


def _present(found: Conversation | None, conversation_id: ConversationId) -> Conversation:
    if found is None:
        raise ConversationNotFound(conversation_id)
    return found
