"""The conversation behind the terminal: whose it is, with whom, and its runs; nothing here prints."""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast
from uuid import UUID

import orjson

from agent.conversations.leases import RunKey
from agent.conversations.model import Conversation, Found, Said
from agent.conversations.refusals import ConversationNotFound
from agent.run_opening import NewMessage
from agent.runs import RunHandle
from domain.feedback.model import Rating
from domain.kernel import CallId, ConversationId, DomainError, Principal, RunId
from domain.paging import PAGE_LIMIT, page_request
from server.cli.deciding import decided, laid_out, seen_approvals
from server.hub import Hub
from tools.outcomes import CallOutcome, CallRequest, Json

SHOWN = 20
"""Conversations and messages that are shown of the past."""
AROUND = 400
"""Characters before and behind a citation that opening it shows."""


class NothingSaid(DomainError):
    """There is no answer yet that could be given again, or rated."""

    code: ClassVar[str] = "nothing_said"

    def __init__(self) -> None:
        super().__init__("nothing was said here yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A conversation that is gone on with, and the end of it."""

    conversation: Conversation
    last: tuple[Said, ...]
    left_out: int
    """Messages before them."""


@dataclass(slots=True)
class Talk:
    """One person's conversation with one agent at a time. `hand`: the same person, acting by its own hand."""

    hub: Hub
    hand: Principal
    conversation_id: ConversationId | None = None
    agent: str | None = None
    """Chosen at this terminal, for every conversation that is begun at it."""
    newly_chosen: bool = False
    """The conversation does not know of the choice yet."""

    @property
    def principal(self) -> Principal:
        """For whom a model acts here."""
        return replace(self.hand, mode="agent")

    @property
    def decides(self) -> bool:
        """A person may answer what waits; a service account never."""
        return self.hand.kind == "person"

    async def begin(self, message: str) -> RunHandle:
        """The run that the message begins.

        Raises  DomainError: it could not be taken; nothing was stored.
        """
        return await self._begin(NewMessage(message=message, conversation_id=self.conversation_id))

    async def again(self) -> RunHandle:
        """The run that answers the last message again, beside the answer that there is.

        Raises  DomainError: it could not be taken, or nothing was said.
        """
        return await self._begin(NewMessage(message="", regenerates=await self._last()))

    async def edit(self, message: str) -> RunHandle:
        """The run that the message begins in the place of the last one.

        Raises  DomainError: it could not be taken, or nothing was said.
        """
        return await self._begin(NewMessage(message=message, edits=await self._last()))

    async def _begin(self, asked: NewMessage) -> RunHandle:
        told = self.agent if self.newly_chosen or self.conversation_id is None else None
        said_at = self.hand.door if self.hand.mode == "agent" else None
        begun = await self.hub.runs.start(self.principal, replace(asked, agent=told, said_at=said_at))
        self.conversation_id, self.newly_chosen = begun.conversation_id, False
        return begun

    async def _last(self) -> RunId:
        """The run that the conversation ended with.

        Raises  NothingSaid.
        """
        if self.conversation_id is None:
            raise NothingSaid
        found = await self.hub.conversations.get(self.principal, self.conversation_id)
        if found.active_run_id is None:
            raise NothingSaid
        return found.active_run_id

    async def events(self, begun: RunHandle, after: int = 0) -> AsyncGenerator[tuple[str, Json]]:
        """Each event of the run above `after`, as its exact JSON text and as a value, to its end or where it waits."""
        async with aclosing(self.hub.runs.follow(self.principal, begun.run_id, after)) as frames:
            async for frame in frames:
                yield frame.data, cast(Json, orjson.loads(frame.data))

    async def go_on(self, begun: RunHandle) -> None:
        """Have a run whose questions were answered go on here, where no worker may be about."""
        await self.hub.runs.go_on(RunKey(organization_id=self.hand.organization_id, run_id=begun.run_id))

    async def waits(self, begun: RunHandle) -> bool:
        """Whether the run still waits for a person."""
        return (await self.hub.runs.find(self.principal, begun.run_id)).status == "waiting"

    async def cancel(self, begun: RunHandle) -> None:
        """End the run early; what it did stands recorded."""
        await self.hub.runs.cancel(self.principal, begun.run_id)

    def choose(self, name: str) -> str:
        """Have that agent answer from the next message on; gives its title.

        Raises  UnknownAgent.
        """
        persona = self.hub.orchestrator.persona(name)
        self.agent, self.newly_chosen = persona.name, True
        return persona.title

    def leave(self) -> None:
        """The next message begins a new conversation."""
        self.conversation_id = None

    async def past(self) -> list[Conversation]:
        """One's own conversations, last touched first."""
        page = await self.hub.conversations.list(self.principal, page_request(limit=SHOWN))
        return list(page.items)

    async def found(self, words: str) -> list[Found]:
        """One's own conversations that say these words."""
        return list((await self.hub.conversations.search(self.principal, words, page_request(limit=SHOWN))).items)

    async def open(self, named: str) -> Opened:
        """Go on with one's own conversation of that id, or whose id alone among the last ones begins so.

        Raises  ConversationNotFound.
        """
        conversation_id = await self._named(named)
        found = await self.hub.conversations.get(self.principal, conversation_id)
        last, said = deque[Said](maxlen=SHOWN), 0
        async for each in self._said(conversation_id):
            last.append(each)
            said += 1
        self.conversation_id = conversation_id
        return Opened(conversation=found, last=tuple(last), left_out=said - len(last))

    async def _said(self, conversation_id: ConversationId) -> AsyncGenerator[Said]:
        """All messages, oldest first."""
        cursor: str | None = None
        while True:
            asked = page_request(cursor, PAGE_LIMIT)
            page = await self.hub.conversations.messages(self.principal, conversation_id, asked)
            for each in page.items:
                yield each
            if (cursor := page.next_cursor) is None:
                return

    async def _named(self, named: str) -> ConversationId:
        try:
            return ConversationId(UUID(named))
        except ValueError:
            near = [each for each in await self.past() if named and str(each.conversation_id).startswith(named)]
            if len(near) != 1:
                raise ConversationNotFound(ConversationId(UUID(int=0))) from None
            return near[0].conversation_id

    async def pending(self) -> list[Json]:
        """What waits that this person asked for or may decide."""
        return await seen_approvals(self.hub, self.hand, "pending")

    async def laid_out(self, approval_id: UUID) -> Json | None:
        """One of them, its arguments beside those of the last like call."""
        return await laid_out(self.hub, self.hand, approval_id)

    async def decide(self, approval_id: UUID, decision: str, comment: str | None) -> CallOutcome:
        """Answer a waiting call, by the person's own hand and through the gate."""
        return await decided(self.hub, self.hand, approval_id, decision, comment)

    async def passage(self, citation: Json) -> CallOutcome:
        """The cited words with what stands around them, read through the gate."""
        start, end = cast(int, citation["start"]), cast(int, citation["end"])
        around = {"start": max(0, start - AROUND), "end": end + AROUND}
        return await self._call("knowledge_read", {"document_id": citation["document_id"], **around})

    async def rate(self, rating: Rating | Literal["none"], comment: str) -> CallOutcome:
        """Say of the last answer whether it was good, by the person's own hand and through the gate.

        Raises  NothingSaid.
        """
        said: Json = {"run_id": str(await self._last()), "rating": rating, "comment": comment}
        return await self._call("feedback_give", said)

    async def tasks(self) -> CallOutcome:
        """The tasks there are."""
        return await self._call("task_list", {"limit": SHOWN})

    async def _call(self, tool: str, arguments: Json) -> CallOutcome:
        request = CallRequest(
            call_id=CallId(self.hub.new_id()),
            tool=tool,
            arguments=arguments,
            conversation_id=self.conversation_id,
        )
        return await self.hub.gate.call(request, self.hand)
