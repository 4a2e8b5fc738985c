"""Chooses persona, offers and model for a run and hands them to the loop; the only place that knows them all."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from agent.budget import Budget, CostOf, NoBudget, Purse, Spent, no_price
from agent.calling import Caller, CallSetup
from agent.compaction import Compactor, SummaryLog
from agent.context import Transcript, background, past, remembered, system_words
from agent.conversations.model import Step
from agent.conversations.runs import OpenedRun
from agent.events import AgentEvent, Citation
from agent.grounding import StoredTexts, held_to, unchecked
from agent.handover import ActiveAgent, HandoverLog
from agent.loop import CheckCitations, Journal, TurnContext, TurnSetup, run_turn
from agent.model import OFFLINE, Model, SystemMessage, ToolOffer, UserMessage
from agent.personas import Persona, Personas
from agent.repeats import NotAgain, Refuse
from agent.resuming import Resumed
from agent.settling import Ledger, SettlingCaller
from agent.window import Window
from domain.kernel import ApprovalId, CallId, Clock, NewId, Principal, Role, RunId, Trust
from knowledge.tokens import count_tokens, load_encoding
from tools.outcomes import CallOutcome, CallRequest
from tools.ports import Unavailable

ApprovalUrl = Callable[[ApprovalId], str | None]
Bounded = Callable[[Budget], Budget]
"""From a persona's budget to what the operator allows of it now."""
PurseOf = Callable[[Principal, RunId], Purse]
"""Where what the models of a principal's run may use is held of budgets; asked only where one is set."""
WindowOf = Callable[[Model], int]
"""How many tokens a request to that model and its answer may hold together, as is known now."""


class Offers(Protocol):
    """Which tools a model is shown, and how far what they return is to be trusted."""

    def for_principal(self, principal: Principal, role: Role, persona: Persona) -> Sequence[ToolOffer]:
        """The persona's tools that this principal, in this role, may call at this door; in the persona's order."""
        ...

    def trust_of(self, tool: str) -> Trust:
        """Trust of the tool's results; external for a name that is no tool's."""
        ...


class RunBook(Journal, HandoverLog, SummaryLog, Protocol):
    """Where a run leaves its steps, and who goes on with its conversation."""

    @property
    def left(self) -> bool:
        """Whether another process goes on with the run."""
        ...


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
        refuse: Refuse,
        ledger: Ledger,
        stored: StoredTexts,
        offers: Offers,
        personas: Personas,
        clock: Clock,
        new_id: NewId,
        approval_url: ApprovalUrl = lambda _: None,
        bounded: Bounded = lambda budget: budget,
        cost_of: CostOf = no_price,
        window: WindowOf = lambda model: model.context_window,
        purse_of: PurseOf = lambda principal, run_id: NoBudget(),
    ) -> None:
        self._model = model
        self._models = models or {}
        self._gate = gate
        self._refuse = refuse
        self._ledger = ledger
        self._stored = stored
        self._offers = offers
        self._personas = personas
        self._clock = clock
        self._new_id = new_id
        self._approval_url = approval_url
        self._bounded = bounded
        self._cost_of = cost_of
        self._window_of = window
        self._purse_of = purse_of

    def model_of(self, persona: Persona) -> Model:
        """The model that the persona speaks by: the one it wants where there is such, else the default."""
        return self._model if persona.model is None else self._models.get(persona.model, self._model)

    def purse(self, principal: Principal, opened: OpenedRun) -> Purse:
        """What the run's models may use of the firm's budgets."""
        return self._purse_of(principal, opened.run.run_id) if opened.surroundings.budgeted else NoBudget()

    def persona(self, name: str | None) -> Persona:
        """The persona of that name; without one, the default.

        Raises  UnknownAgent.
        """
        return self._personas.get(name)

    def personas(self) -> Sequence[Persona]:
        """Every persona, the default first."""
        return self._personas.all()

    async def run(
        self,
        principal: Principal,
        opened: OpenedRun,
        book: RunBook,
        resumed: Resumed | None = None,
        *,
        closing: bool = False,
    ) -> AsyncGenerator[AgentEvent, None]:
        """A run's events between its start and its terminal event; see agent.loop.run_turn.

        `resumed`: where another process left it; `closing`: what that had begun is ended, and nothing begun any more.
        """
        first = self.persona(opened.run.agent)
        # Whoever the conversation was handed over to goes on.
        speaker = first if resumed is None else self.persona(opened.conversation.agent)
        window, spent = self._window(self.model_of(speaker)), Spent() if resumed is None else resumed.spent
        spent.cost_of, spent.purse = self._cost_of, self.purse(principal, opened)
        cut_off = None
        if resumed is not None:
            await spent.purse.taken_over()
        try:
            if not closing:
                opened = await self._shortened(principal, opened, speaker, window, book, spent)
        except asyncio.CancelledError as cancelled:
            if resumed is None:
                raise
            # Nothing is begun any more; what another process had begun gets its end.
            closing, cut_off = True, cancelled
        gate = self._gate_behind(opened)
        settling = None if resumed is None else SettlingCaller(gate, self._ledger, resumed, closing=closing)
        active = ActiveAgent(
            gate=settling or gate,
            personas=self._personas,
            first=speaker,
            ceiling=opened.conversation.agent_ceiling,
            handover_log=book,
        )
        transcript = Transcript(
            system=self._words(opened, speaker),
            history=opened.history,
            message=opened.run.message,
            window=window,
            preferences=opened.surroundings.preferences,
            cache_key=_cache_key(principal, opened),
        )
        steps = () if resumed is None else resumed.steps
        for step in steps:
            transcript.add(step, resumed and resumed.later)
        setup = TurnSetup(
            context=self._turn_contexts(principal, opened, active, transcript),
            calls=self._calls(principal, opened, active, first, steps, book, settling),
            transcript=transcript,
            journal=book,
            check=self._check(principal),
            model=opened.run.model,
            cost_of=self._cost_of,
            resumed=resumed,
            closing=closing,
            before=spent,
        )
        async with aclosing(run_turn(setup)) as events:
            async for event in events:
                yield event
        if cut_off is not None:
            raise cut_off

    def _check(self, principal: Principal) -> CheckCitations:
        async def check(message_id: str, citations: tuple[Citation, ...]) -> tuple[Citation, ...]:
            try:
                return held_to(citations, await self._stored.parts(principal, citations))
            except Unavailable:
                return unchecked(citations)

        return check

    def _gate_behind(self, opened: OpenedRun) -> Caller:
        """The gate, behind what a run must not do again."""
        past = opened.history
        return NotAgain(self._gate, self._refuse, past.elsewhere) if past.again else self._gate

    async def _shortened(
        self, principal: Principal, opened: OpenedRun, speaker: Persona, window: Window, book: RunBook, spent: Spent
    ) -> OpenedRun:
        """The run with its oldest turns summarised, where its model could hardly hold them all."""
        model = self.model_of(speaker)
        if len(opened.history.turns) < 2 or model.name == OFFLINE:
            return opened
        compactor = Compactor(model=model, window=window, summaries=book, clock=self._clock, new_id=self._new_id)
        head = [
            SystemMessage(text=self._words(opened, speaker)),
            *background(opened.surroundings.preferences),
            *past(opened.history),
            UserMessage(text=opened.run.message),
        ]
        offers = self._offers.for_principal(principal, opened.surroundings.role, speaker)
        return replace(opened, history=await compactor.compacted(opened.history, head, offers, spent))

    def _turn_contexts(
        self, principal: Principal, opened: OpenedRun, active: ActiveAgent, transcript: Transcript
    ) -> Callable[[], TurnContext]:
        """How whoever speaks stands before the next turn; the transcript takes their words on when they change."""
        heard = active.speaker

        def context() -> TurnContext:
            nonlocal heard
            speaker = active.speaker
            model = self.model_of(speaker)
            if speaker is not heard:
                transcript.speak_as(self._words(opened, speaker), self._window(model))
                heard = speaker
            offers = self._offers.for_principal(principal, opened.surroundings.role, speaker)
            return TurnContext(model=model, offers=active.offers(offers))

        return context

    def _calls(
        self,
        principal: Principal,
        opened: OpenedRun,
        active: ActiveAgent,
        first: Persona,
        steps: Sequence[Step],
        book: RunBook,
        settling: SettlingCaller | None,
    ) -> CallSetup:
        def request(call_id: CallId, tool: str, arguments: object) -> CallRequest:
            return CallRequest(
                call_id=call_id,
                tool=tool,
                arguments=arguments,
                conversation_id=opened.run.conversation_id,
                run_id=opened.run.run_id,
                engagement_id=opened.conversation.engagement_id,
                agent=active.speaker.name,
                agent_ceiling=active.ceiling,
                request_id=opened.run.request_id,
                trace_id=opened.run.trace_id,
                left=lambda: book.left,
            )

        async def settled(request: CallRequest) -> CallOutcome | None:
            """Asked only as the run ends, or its time does; of a run that is left, whoever goes on with it asks."""
            if settling is None or book.left:
                return None
            return active.heard(await settling.made(request, principal, ending=True))

        return CallSetup(
            gate=active,
            principal=principal,
            request=request,
            trust_of=self._offers.trust_of,
            approval_url=self._approval_url,
            book=remembered(opened.history, steps),
            # The run's, whoever speaks: agents that hand over to and fro use up what the first one was given.
            budget=self._bounded(first.budget),
            new_id=self._new_id,
            committed=book.committed,
            tell=book.tell,
            settled=settled,
        )

    def _words(self, opened: OpenedRun, persona: Persona) -> str:
        return system_words(persona.words, opened.surroundings, self._clock().date())

    def _window(self, model: Model) -> Window:
        return Window(
            self._window_of(model),
            lambda words: count_tokens(words, model.name),
            lambda: load_encoding(model.name),
        )


def _cache_key(principal: Principal, opened: OpenedRun) -> str:
    """The same for all requests of a conversation; nobody outside learns an id of ours by it."""
    told = f"glow prompt cache {principal.organization_id} {opened.run.conversation_id}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]
