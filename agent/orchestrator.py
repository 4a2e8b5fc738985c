"""Chooses persona, offers and model for a run and hands them to the loop; the only place that knows them all."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

from agent.budget import Budget
from agent.calling import Caller, CallSetup
from agent.context import Transcript, remembered, system_words
from agent.conversations.model import OpenedRun
from agent.events import AgentEvent
from agent.handover import Cast, HandoverLog
from agent.loop import Journal, Stance, TurnSetup, run_turn
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


class RunBook(Journal, HandoverLog, Protocol):
    """Where a run leaves its steps, and who goes on with its conversation."""


class Orchestrator:
    """Runs messages: many personas, many principals, no state of its own.

    `models`: by name, those that a persona may speak by instead of `model`.
    """

    def __init__(
        self,
        *,
        model: Model,
        models: Mapping[str, Model] | None = None,
        gate: Caller,
        offers: Offers,
        personas: Personas,
        clock: Clock,
        new_id: NewId,
        approval_url: ApprovalUrl = lambda _: None,
        bounded: Bounded = lambda budget: budget,
    ) -> None:
        self._model = model
        self._models = models or {}
        self._gate = gate
        self._offers = offers
        self._personas = personas
        self._clock = clock
        self._new_id = new_id
        self._approval_url = approval_url
        self._bounded = bounded

    def model_of(self, persona: Persona) -> Model:
        """The model that the persona speaks by: the one it wants where there is such, else the default."""
        return self._model if persona.model is None else self._models.get(persona.model, self._model)

    def persona(self, name: str | None) -> Persona:
        """The persona of that name; without one, the default.

        Raises  UnknownAgent.
        """
        return self._personas.get(name)

    def personas(self) -> Sequence[Persona]:
        """Every persona, the default first."""
        return self._personas.all()

    async def run(self, principal: Principal, opened: OpenedRun, book: RunBook) -> AsyncGenerator[AgentEvent, None]:
        """A run's events between its start and its terminal event; see agent.loop.run_turn."""
        first = self.persona(opened.run.agent)
        cast = Cast(
            gate=self._gate,
            personas=self._personas,
            first=first,
            ceiling=opened.conversation.agent_ceiling,
            handover_log=book,
        )
        transcript = Transcript(
            system=self._words(opened, first),
            history=opened.history,
            message=opened.run.message,
            window=_window(self.model_of(first)),
        )
        setup = TurnSetup(
            stance=self._stances(principal, opened, cast, transcript),
            calls=self._calls(principal, opened, cast, first),
            transcript=transcript,
            journal=book,
        )
        async with aclosing(run_turn(setup)) as events:
            async for event in events:
                yield event

    def _stances(
        self, principal: Principal, opened: OpenedRun, cast: Cast, transcript: Transcript
    ) -> Callable[[], Stance]:
        """How whoever speaks stands before the next turn; the transcript takes their words on when they change."""
        heard = cast.speaker

        def stance() -> Stance:
            nonlocal heard
            speaker = cast.speaker
            model = self.model_of(speaker)
            if speaker is not heard:
                transcript.speak_as(self._words(opened, speaker), _window(model))
                heard = speaker
            offers = self._offers.for_principal(principal, opened.surroundings.role, speaker)
            return Stance(model=model, offers=cast.offers(offers))

        return stance

    def _calls(self, principal: Principal, opened: OpenedRun, cast: Cast, first: Persona) -> CallSetup:
        def request(call_id: CallId, tool: str, arguments: object) -> CallRequest:
            return CallRequest(
                call_id=call_id,
                tool=tool,
                arguments=arguments,
                conversation_id=opened.run.conversation_id,
                run_id=opened.run.run_id,
                engagement_id=opened.conversation.engagement_id,
                agent=cast.speaker.name,
                agent_ceiling=cast.ceiling,
                request_id=opened.request_id,
                trace_id=opened.trace_id,
            )

        return CallSetup(
            gate=cast,
            principal=principal,
            request=request,
            trust_of=self._offers.trust_of,
            approval_url=self._approval_url,
            book=remembered(opened.history),
            # The run's, whoever speaks: agents that hand over to and fro use up what the first one was given.
            budget=self._bounded(first.budget),
            new_id=self._new_id,
        )

    def _words(self, opened: OpenedRun, persona: Persona) -> str:
        return system_words(persona.words, opened.surroundings, self._clock().date())


def _window(model: Model) -> Window:
    return Window(model.context_window, lambda words: count_tokens(words, model.name))
