"""The conversation behind the terminal: whose it is, with whom, and its runs; nothing here prints."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

import orjson

from agent.conversations.model import Conversation, ConversationNotFound, Said
from agent.run_opening import NewMessage
from agent.runs import RunHandle
from domain.kernel import CallId, ConversationId, Principal
from domain.paging import page_request
from server.cli.deciding import decided, seen_approvals
from server.hub import Hub
from tools.outcomes import CallOutcome, CallRequest, Json

SHOWN = 20
"""Conversations and messages that are shown of the past."""
AROUND = 400
"""Characters before and behind a citation that opening it shows."""


@dataclass(slots=True)
class Talk:
    """One person's conversation with one agent at a time. `hand`: the same person, acting by its own hand."""

    hub: Hub
    hand: Principal
    conversation_id: ConversationId | None = None
    agent: str | None = None
    """Chosen for the next message; afterwards the conversation knows it."""

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
        asked = NewMessage(message=message, conversation_id=self.conversation_id, agent=self.agent)
        begun = await self.hub.runs.start(self.principal, asked)
        self.conversation_id, self.agent = begun.conversation_id, None
        return begun

    async def events(self, begun: RunHandle) -> AsyncGenerator[tuple[str, Json]]:
        """Each event of the run as its exact JSON text and as a value, to the terminal one."""
        async with aclosing(self.hub.runs.follow(self.principal, begun.run_id)) as frames:
            async for frame in frames:
                yield frame.data, cast(Json, orjson.loads(frame.data))

    async def cancel(self, begun: RunHandle) -> None:
        """End the run early; what it did stands recorded."""
        await self.hub.runs.cancel(self.principal, begun.run_id)

    def choose(self, name: str) -> str:
        """Have the next message be for that agent; gives its title.

        Raises  UnknownAgent.
        """
        persona = self.hub.orchestrator.persona(name)
        self.agent = persona.name
        return persona.title

    def leave(self) -> None:
        """The next message begins a new conversation."""
        self.conversation_id = None

    async def past(self) -> list[Conversation]:
        """One's own conversations, last touched first."""
        page = await self.hub.conversations.list(self.principal, page_request(limit=SHOWN))
        return list(page.items)

    async def open(self, named: str) -> tuple[Conversation, list[Said]]:
        """Go on with one's own conversation of that id, or whose id alone among the last ones begins so.

        Raises  ConversationNotFound.
        """
        conversation_id = await self._named(named)
        found = await self.hub.conversations.get(self.principal, conversation_id)
        page = await self.hub.conversations.messages(self.principal, conversation_id, page_request(limit=100))
        self.conversation_id = conversation_id
        return found, list(page.items)

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

    async def decide(self, approval_id: UUID, decision: str, comment: str | None) -> CallOutcome:
        """Answer a waiting call, by the person's own hand and through the gate."""
        return await decided(self.hub, self.hand, approval_id, decision, comment)

    async def passage(self, citation: Json) -> CallOutcome:
        """The cited words with what stands around them, read through the gate."""
        start, end = cast(int, citation["start"]), cast(int, citation["end"])
        around = {"start": max(0, start - AROUND), "end": end + AROUND}
        return await self._call("knowledge_read", {"document_id": citation["document_id"], **around})

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
