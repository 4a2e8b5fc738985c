"""Reading, renaming and deleting one's own conversations; a run (agent/runs.py) is what adds to them."""

from typing import ClassVar

from agent.conversations.model import (
    TITLE_LENGTH,
    Conversation,
    ConversationBusy,
    ConversationNotFound,
    Said,
)
from agent.conversations.ports import Sessions
from domain.kernel import Clock, ConversationId, DomainError, Principal
from domain.paging import Page, PageRequest, Position, page_of


class InvalidTitle(DomainError):
    """A title must be one line that can be read."""

    code: ClassVar[str] = "invalid_title"

    def __init__(self) -> None:
        super().__init__(f"title: must be 1 to {TITLE_LENGTH} printable characters")


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

    async def rename(self, principal: Principal, conversation_id: ConversationId, title: str) -> Conversation:
        """Raises  ConversationNotFound, InvalidTitle."""
        words = title.strip()
        if not 0 < len(words) <= TITLE_LENGTH or not words.isprintable():
            raise InvalidTitle
        async with self._sessions.session(principal, read_only=False) as store:
            found = await store.rename(conversation_id, words, self._clock())
        return _present(found, conversation_id)

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
