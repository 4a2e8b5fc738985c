"""Chooses persona, offers and model for a run and hands them to the loop; the only place that knows them all."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from agent.budget import Budget
from agent.calling import Caller, CallSetup
from agent.context import Transcript, remembered, system_words
from agent.conversations.model import OpenedRun
from agent.events import AgentEvent
from agent.loop import Journal, TurnSetup, run_turn
from agent.model import Model, ToolOffer
from agent.personas import Persona, Personas
from agent.window import Window
from domain.kernel import ApprovalId, CallId, Clock, NewId, Principal, Role, Trust
from knowledge.tokens import count_tokens
from tools.outcomes import CallRequest

ApprovalUrl = Callable[[ApprovalId], str | None]
Bounded = Callable[[Budget], Budget]
"""From a persona's budget to what the operator allows of it now."""


class Offers(Protocol):
    """Which tools a model is shown, and how far what they return is to be trusted."""

    def for_principal(self, principal: Principal, role: Role, persona: Persona) -> Sequence[ToolOffer]:
        """The persona's tools that this principal, in this role, may call at this door; in the persona's order."""
        ...

    def trust_of(self, tool: str) -> Trust:
        """Trust of the tool's results; external for a name that is no tool's."""
        ...


class Orchestrator:
    """Runs messages: one agent, many principals, no state of its own."""

    def __init__(
        self,
        *,
        model: Model,
        gate: Caller,
        offers: Offers,
        personas: Personas,
        clock: Clock,
        new_id: NewId,
        approval_url: ApprovalUrl = lambda _: None,
        bounded: Bounded = lambda budget: budget,
    ) -> None:
        self._model = model
        self._gate = gate
        self._offers = offers
        self._personas = personas
        self._clock = clock
        self._new_id = new_id
        self._approval_url = approval_url
        self._bounded = bounded

    @property
    def model_name(self) -> str:
        """The model that runs are answered by."""
        return self._model.name

    def persona(self, name: str | None) -> Persona:
        """The persona of that name; without one, the default.

        Raises  UnknownAgent.
        """
        return self._personas.get(name)

    async def run(self, principal: Principal, opened: OpenedRun, journal: Journal) -> AsyncGenerator[AgentEvent, None]:
        """A run's events between its start and its terminal event; see agent.loop.run_turn."""
        persona = self.persona(opened.run.agent)
        setup = TurnSetup(
            model=self._model,
            offers=self._offers.for_principal(principal, opened.surroundings.role, persona),
            calls=self._calls(principal, opened, persona),
            transcript=self._transcript(opened, persona),
            journal=journal,
        )
        async with aclosing(run_turn(setup)) as events:
            async for event in events:
                yield event

    def _calls(self, principal: Principal, opened: OpenedRun, persona: Persona) -> CallSetup:
        def request(call_id: CallId, tool: str, arguments: object) -> CallRequest:
            return CallRequest(
                call_id=call_id,
                tool=tool,
                arguments=arguments,
                conversation_id=opened.run.conversation_id,
                run_id=opened.run.run_id,
                engagement_id=opened.conversation.engagement_id,
                agent_ceiling=persona.autonomy_ceiling,
                request_id=opened.request_id,
                trace_id=opened.trace_id,
            )

        return CallSetup(
            gate=self._gate,
            principal=principal,
            request=request,
            trust_of=self._offers.trust_of,
            approval_url=self._approval_url,
            book=remembered(opened.history),
            budget=self._bounded(persona.budget),
            new_id=self._new_id,
        )

    def _transcript(self, opened: OpenedRun, persona: Persona) -> Transcript:
        name = self._model.name
        return Transcript(
            system=system_words(persona.words, opened.surroundings, self._clock().date()),
            history=opened.history,
            message=opened.run.message,
            window=Window(self._model.context_window, lambda words: count_tokens(words, name)),
        )
