"""Takes a message in: checks it, finds or begins its conversation, and stores it together with its run."""

from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID, uuid5

import orjson

from agent.conversations.model import (
    MESSAGE_LENGTH,
    TITLE_LENGTH,
    ClientMessageReused,
    Conversation,
    ConversationNotFound,
    EngagementNotFound,
    History,
    InvalidMessage,
    NewRun,
    NotAMember,
    OpenedRun,
)
from agent.conversations.ports import ConversationStore, Sessions
from agent.orchestrator import Orchestrator
from domain.idempotency.model import Claim, IdempotencyKey
from domain.kernel import Clock, ConversationId, EngagementId, Level, NewId, Principal, RunId

_CONVERSATIONS = UUID("6f2b3c51-5f0e-4c0e-9d53-5b8f6f0c3a77")
"""Namespace of the ids of conversations that begin with a client's own message id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message as a door takes it in."""

    message: str
    conversation_id: ConversationId | None = None
    agent: str | None = None
    engagement_id: EngagementId | None = None
    client_message_id: str | None = None
    idempotency: IdempotencyKey | None = None
    request_id: str | None = None
    trace_id: str | None = None

    def claim(self, principal: Principal) -> Claim | None:
        """The key that the message came under, bound to what it says."""
        said = [self.message, self.conversation_id, self.agent, self.engagement_id, self.client_message_id]
        return None if self.idempotency is None else self.idempotency.claim(principal.mode, said)


class AskedAgain(Exception):
    """The message came before, under the same idempotency key, and began this run."""

    def __init__(self, run_id: RunId, conversation_id: ConversationId) -> None:
        super().__init__(str(run_id))
        self.run_id = run_id
        self.conversation_id = conversation_id


class RunOpener:
    """Stores messages and the runs they begin."""

    def __init__(
        self, orchestrator: Orchestrator, sessions: Sessions, *, clock: Clock, new_id: NewId, history_limit: int
    ) -> None:
        self._orchestrator = orchestrator
        self._sessions = sessions
        self._clock = clock
        self._new_id = new_id
        self._history_limit = history_limit

    async def open(self, principal: Principal, asked: NewMessage) -> OpenedRun:
        """Message, run and, where it is the first message, conversation, in one transaction.

        Raises  InvalidMessage, NotAMember, UnknownAgent, ConversationNotFound, EngagementNotFound.
                ConversationBusy, ConversationTaken: a run is going, or the message came before.
                AskedAgain, KeyMismatch, KeyInProgress: its idempotency key is taken.
        """
        _check(asked)
        claim = asked.claim(principal)
        async with self._sessions.session(principal, read_only=False) as store:
            surroundings = await store.surroundings()
            if surroundings is None:
                raise NotAMember
            if claim is not None:
                _replay(await store.keys.claim(claim))
            conversation = await self._conversation(store, principal, asked)
            run = self._new_run(principal, asked, conversation)
            await store.add_run(run)
            if claim is not None:
                await store.keys.keep(claim, _kept(run))
            history = History()
            if asked.conversation_id is not None:
                history = await store.history(conversation.conversation_id, run.run_id, self._history_limit)
        return OpenedRun(
            run=run,
            conversation=conversation,
            surroundings=surroundings,
            history=history,
            request_id=asked.request_id,
            trace_id=asked.trace_id,
        )

    async def _conversation(self, store: ConversationStore, principal: Principal, asked: NewMessage) -> Conversation:
        if asked.conversation_id is not None:
            found = await store.touch_conversation(asked.conversation_id, self._clock())
            if found is None:
                raise ConversationNotFound(asked.conversation_id)
            if asked.engagement_id not in (None, found.engagement_id):
                raise InvalidMessage("engagement_id: this conversation belongs to another engagement, or to none")
            return found if asked.agent is None else await self._chosen(store, found, asked.agent)
        if asked.engagement_id is not None and not await store.may_see_engagement(asked.engagement_id):
            raise EngagementNotFound(asked.engagement_id)
        begun = self._new_conversation(principal, asked)
        await store.open_conversation(begun)
        return begun

    async def _chosen(self, store: ConversationStore, found: Conversation, agent: str) -> Conversation:
        """The conversation with the persona that a person chose for it, whom no earlier handover holds back."""
        chosen = replace(found, agent=self._orchestrator.persona(agent).name, agent_ceiling=Level.L3)
        if chosen != found:
            await store.assign(found.conversation_id, chosen.agent, chosen.agent_ceiling)
        return chosen

    def _new_conversation(self, principal: Principal, asked: NewMessage) -> Conversation:
        now = self._clock()
        return Conversation(
            conversation_id=self._conversation_id(principal, asked),
            title=title_of(asked.message),
            agent=self._orchestrator.persona(asked.agent).name,
            engagement_id=asked.engagement_id,
            created_at=now,
            updated_at=now,
        )

    def _conversation_id(self, principal: Principal, asked: NewMessage) -> ConversationId:
        """A message that comes twice begins one conversation: its id follows from the client's id for the message."""
        if asked.conversation_id is not None:
            return asked.conversation_id
        if asked.client_message_id is None:
            return ConversationId(self._new_id())
        key = f"{principal.organization_id}/{principal.principal_id}/{asked.client_message_id}/{asked.message}"
        return ConversationId(uuid5(_CONVERSATIONS, key))

    def _new_run(self, principal: Principal, asked: NewMessage, conversation: Conversation) -> NewRun:
        persona = self._orchestrator.persona(conversation.agent)
        return NewRun(
            run_id=RunId(self._new_id()),
            conversation_id=conversation.conversation_id,
            agent=persona.name,
            model=self._orchestrator.model_of(persona).name,
            door=principal.door,
            message_id=self._new_id(),
            message=asked.message,
            client_message_id=asked.client_message_id,
            now=self._clock(),
        )

    async def refuse_again(self, principal: Principal, asked: NewMessage) -> None:
        """Raises  AskedAgain, KeyMismatch: the message's idempotency key is taken."""
        claim = asked.claim(principal)
        if claim is None:
            return
        async with self._sessions.session(principal, read_only=True) as store:
            _replay(await store.keys.found(claim))

    async def asked_before(
        self, principal: Principal, conversation_id: ConversationId, asked: NewMessage
    ) -> RunId | None:
        """The run that this very message began when it came before.

        Raises  ClientMessageReused: its id came before with another message.
        """
        if asked.client_message_id is None:
            return None
        async with self._sessions.session(principal, read_only=True) as store:
            earlier = await store.asked_before(conversation_id, asked.client_message_id)
        if earlier is None:
            return None
        if earlier.message != asked.message:
            raise ClientMessageReused
        return earlier.run_id


def _kept(run: NewRun) -> str:
    return orjson.dumps({"run_id": run.run_id, "conversation_id": run.conversation_id}).decode()


def _replay(kept: str | None) -> None:
    """Raises  AskedAgain: something was kept."""
    if kept is not None:
        begun = cast("dict[str, str]", orjson.loads(kept))
        raise AskedAgain(RunId(UUID(begun["run_id"])), ConversationId(UUID(begun["conversation_id"])))


def title_of(message: str) -> str:
    """A conversation's title: its first message's first line, cut at a word."""
    line = next((line for line in message.splitlines() if line.strip()), message)
    words = " ".join("".join(character for character in line if character.isprintable()).split())
    if len(words) <= TITLE_LENGTH:
        return words or "Conversation"
    cut = words[: TITLE_LENGTH - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[TITLE_LENGTH // 2 :] else cut) + "…"


def _check(asked: NewMessage) -> None:
    if not asked.message.strip():
        raise InvalidMessage("message: it is empty")
    if len(asked.message) > MESSAGE_LENGTH:
        raise InvalidMessage(f"message: longer than {MESSAGE_LENGTH} characters; upload it as a document instead")
    if _unstorable(asked.message):
        raise InvalidMessage("message: holds half of a surrogate pair, which is no character")
    identifier = asked.client_message_id
    if identifier is not None and (not 0 < len(identifier) <= 200 or not identifier.isprintable()):
        raise InvalidMessage("client_message_id: must be 1 to 200 printable characters")


def _unstorable(words: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in words)
