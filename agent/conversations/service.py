"""Reading, renaming and deleting one's own conversations; a run (agent/runs.py) is what adds to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import TypeAdapter

from agent.conversations.model import TITLE_LENGTH, Conversation, Found, Said, Summary
from agent.conversations.ports import ConversationStore, Sessions
from agent.conversations.refusals import ConversationBusy, ConversationNotFound, RunNotFound
from agent.conversations.searching import terms_of
from agent.conversations.tree import Tree
from domain.idempotency.model import IdempotencyKey
from domain.kernel import Clock, ConversationId, DomainError, Principal, RunId
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

    async def search(self, principal: Principal, words: str, page: PageRequest) -> Page[Found]:
        """Those that say all of these words, or longer ones that begin so, in their title or in one message."""
        terms = terms_of(words)
        if not terms:
            return Page(items=(), next_cursor=None)
        async with self._sessions.session(principal, read_only=True) as store:
            found = await store.search(terms, page)
        return page_of(
            found, page, lambda each: Position(time=each.conversation.updated_at, id=each.conversation.conversation_id)
        )

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

    async def summaries(self, principal: Principal, conversation_id: ConversationId) -> Sequence[Summary]:
        """What stood or stands for its oldest turns in requests to a model, the newest first.

        Raises  ConversationNotFound.
        """
        async with self._sessions.session(principal, read_only=True) as store:
            _present(await store.conversation(conversation_id), conversation_id)
            return await store.summaries(conversation_id)

    async def messages(
        self,
        principal: Principal,
        conversation_id: ConversationId,
        page: PageRequest,
        branch: RunId | None = None,
    ) -> Page[Said]:
        """In the order they were said, oldest first: the active path, or the newest through the run `branch`.

        Raises  ConversationNotFound. RunNotFound: the conversation has no such run.
        """
        async with self._sessions.session(principal, read_only=True) as store:
            talk = _present(await store.conversation(conversation_id), conversation_id)
            leaf = talk.active_run_id if branch is None else await _newest_below(store, talk, branch)
            after = page.after.id if page.after else None
            found = () if leaf is None else await store.messages(conversation_id, leaf, after, page.limit)
            tree = Tree(await store.versions(conversation_id)) if talk.branched else None
        shown = [_with_versions(each, tree) for each in found]
        return page_of(shown, page, lambda each: Position(time=each.created_at, id=each.message_id))

    async def choose(self, principal: Principal, conversation_id: ConversationId, run_id: RunId) -> Conversation:
        """Have the conversation go on with the version that this run is of, behind what was said last of it.

        Raises  ConversationNotFound. RunNotFound: the conversation has no such run. ConversationBusy: a run is going.
        """
        async with self._sessions.session(principal, read_only=False) as store:
            talk = _present(await store.conversation(conversation_id), conversation_id)
            chosen = await store.activate(conversation_id, await _newest_below(store, talk, run_id))
        if chosen is None:
            raise ConversationBusy(conversation_id)
        return chosen


async def _newest_below(store: ConversationStore, talk: Conversation, run_id: RunId) -> RunId:
    found = await store.newest_below(talk.conversation_id, run_id)
    if found is None:
        raise RunNotFound(run_id)
    return found


def _with_versions(said: Said, tree: Tree | None) -> Said:
    return replace(said, versions=(said.run_id,) if tree is None else tree.versions(said.run_id, said.role))


def _present(found: Conversation | None, conversation_id: ConversationId) -> Conversation:
    if found is None:
        raise ConversationNotFound(conversation_id)
    return found
