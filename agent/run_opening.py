"""Takes a message in and stores it together with its run; and finds again a run that another process has left."""

from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID, uuid5

import orjson

from agent.conversations.leases import Lease
from agent.conversations.model import MESSAGE_LENGTH, TITLE_LENGTH, Conversation, History
from agent.conversations.ports import ConversationStore, Sessions
from agent.conversations.refusals import (
    ClientMessageReused,
    ConversationNotFound,
    EngagementNotFound,
    InvalidMessage,
    NotAMember,
    RunNotFound,
)
from agent.conversations.runs import AskedTurn, NewRun, OpenedRun
from agent.orchestrator import Orchestrator
from agent.resuming import Resumed, resumed_of
from domain.idempotency.model import Claim, IdempotencyKey
from domain.kernel import (
    Clock,
    ConversationId,
    Door,
    EngagementId,
    Level,
    NewId,
    Principal,
    RunId,
    TaskRunId,
    Trust,
)
from domain.taint import NOTHING, Taint, joined

_CONVERSATIONS = UUID("6f2b3c51-5f0e-4c0e-9d53-5b8f6f0c3a77")
"""Namespace of the ids of conversations that begin with a client's own message id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message as a door takes it in: a new one, or another version of a turn that stands beside the earlier one."""

    message: str
    """Nothing where an earlier one is to be answered again."""
    conversation_id: ConversationId | None = None
    agent: str | None = None
    engagement_id: EngagementId | None = None
    client_message_id: str | None = None
    regenerates: RunId | None = None
    """The run whose message is to be answered again."""
    edits: RunId | None = None
    """The run whose message this one stands in for."""
    after: RunId | None = None
    """The run of the conversation that it follows; None: the one that the conversation ended with."""
    run_id: RunId | None = None
    """Of the run that it begins, where whoever asks must find that again unheard of; None: a new one."""
    idempotency: IdempotencyKey | None = None
    request_id: str | None = None
    trace_id: str | None = None
    taint: Taint = NOTHING
    """Of its words: a person's own, or of a task that the agent is to do."""
    said_at: Door | None = None
    """The door at which an agent says it, whose words are made of what it was told there. None: a person does."""
    task_run_id: TaskRunId | None = None
    """Of the task that the agent is to do: each of its attempts counts in this one's budgets."""

    def claim(self, principal: Principal) -> Claim | None:
        """The key that the message came under, bound to what it says."""
        said = [self.message, self.conversation_id, self.agent, self.engagement_id, self.client_message_id]
        branched = [self.regenerates, self.edits, self.after]
        # Only where there is something to say of it: a key that came before there were versions stays good.
        said += branched if any(branched) else []
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

        Raises  InvalidMessage, NotAMember, UnknownAgent, ConversationNotFound, EngagementNotFound, RunNotFound.
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
            earlier = await self._earlier(store, asked)
            if earlier is not None:
                asked = _anew(asked, earlier)
            conversation = await self._conversation(store, principal, asked, earlier)
            words = await _taint(store, asked)
            run = self._new_run(principal, asked, conversation, earlier, words.trust)
            await store.add_run(run)
            await store.taints.note(words, principal.door, run.conversation_id)
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
        )

    async def reopen(self, principal: Principal, lease: Lease) -> tuple[OpenedRun, Resumed]:
        """A run that another process has left, and where to go on with it.

        Raises  RunNotFound: it is not running (any more). NotAMember: whoever asked has left the organization.
        """
        run_id = lease.key.run_id
        async with self._sessions.session(principal, read_only=True) as store:
            surroundings = await store.surroundings()
            if surroundings is None:
                raise NotAMember
            left = await store.unfinished(run_id)
            if left is None:
                raise RunNotFound(run_id)
            history = await store.history(left.conversation.conversation_id, run_id, self._history_limit)
        opened = OpenedRun(
            run=left.run,
            conversation=left.conversation,
            surroundings=surroundings,
            history=history,
            epoch=lease.epoch,
        )
        return opened, resumed_of(left)

    async def _earlier(self, store: ConversationStore, asked: NewMessage) -> AskedTurn | None:
        """The turn that the message names: to be answered again, to be written anew, or to be followed.

        Raises  RunNotFound: this principal has no such run, or not in the conversation that the message names.
        """
        named = asked.regenerates or asked.edits or asked.after
        if named is None:
            return None
        found = await store.asked_turn(named)
        if found is None or asked.conversation_id not in (None, found.conversation_id):
            raise RunNotFound(named)
        return found

    async def _conversation(
        self, store: ConversationStore, principal: Principal, asked: NewMessage, earlier: AskedTurn | None
    ) -> Conversation:
        if asked.conversation_id is not None:
            found = await store.touch_conversation(asked.conversation_id, self._clock())
            if found is None:
                raise ConversationNotFound(asked.conversation_id)
            if asked.engagement_id not in (None, found.engagement_id):
                raise InvalidMessage("engagement_id: this conversation belongs to another engagement, or to none")
            if asked.agent is not None:
                return await self._chosen(store, found, asked.agent)
            return found if earlier is None or asked.after else await self._begun_by(store, found, earlier.agent)
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

    async def _begun_by(self, store: ConversationStore, found: Conversation, agent: str) -> Conversation:
        """The conversation with who began the turn before; a ceiling that was handed down holds on."""
        if agent == found.agent or all(agent != persona.name for persona in self._orchestrator.personas()):
            return found
        await store.assign(found.conversation_id, agent, found.agent_ceiling)
        return replace(found, agent=agent)

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

    def _new_run(
        self,
        principal: Principal,
        asked: NewMessage,
        conversation: Conversation,
        earlier: AskedTurn | None,
        trust: Trust,
    ) -> NewRun:
        persona = self._orchestrator.persona(conversation.agent)
        parent = _parent(asked, conversation, earlier)
        return NewRun(
            run_id=asked.run_id or RunId(self._new_id()),
            conversation_id=conversation.conversation_id,
            agent=persona.name,
            model=self._orchestrator.model_of(persona).name,
            door=principal.door,
            message_id=self._new_id(),
            message=asked.message,
            client_message_id=asked.client_message_id,
            now=self._clock(),
            parent_run_id=parent,
            origin_run_id=earlier.origin_run_id if earlier is not None and asked.regenerates else None,
            branches=parent != conversation.active_run_id,
            request_id=asked.request_id,
            trace_id=asked.trace_id,
            trust=trust,
            task_run_id=asked.task_run_id,
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


async def _taint(store: ConversationStore, asked: NewMessage) -> Taint:
    """What the message brings into the conversation."""
    if asked.said_at is None:
        return asked.taint
    return joined((asked.taint, await store.taints.of_turn(asked.said_at)))


def _anew(asked: NewMessage, earlier: AskedTurn) -> NewMessage:
    """The message in its conversation; one that is to be answered again in the words it had."""
    words = earlier.message if asked.regenerates else asked.message
    return replace(asked, conversation_id=earlier.conversation_id, message=words)


def _parent(asked: NewMessage, conversation: Conversation, earlier: AskedTurn | None) -> RunId | None:
    if earlier is None:
        return conversation.active_run_id
    return earlier.run_id if asked.after else earlier.parent_run_id


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
    if not asked.message.strip() and asked.regenerates is None:
        raise InvalidMessage("message: it is empty")
    if asked.after is not None and asked.conversation_id is None:
        raise InvalidMessage("after_run_id: it needs the conversation_id beside it")
    if len(asked.message) > MESSAGE_LENGTH:
        raise InvalidMessage(f"message: longer than {MESSAGE_LENGTH} characters; upload it as a document instead")
    if _unstorable(asked.message):
        raise InvalidMessage("message: holds half of a surrogate pair, which is no character")
    identifier = asked.client_message_id
    if identifier is not None and (not 0 < len(identifier) <= 200 or not identifier.isprintable()):
        raise InvalidMessage("client_message_id: must be 1 to 200 printable characters")


def _unstorable(words: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in words)
