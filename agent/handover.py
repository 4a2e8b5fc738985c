"""Who speaks in a run: the persona it began with, then each it was handed over to, never with more autonomy."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from agent.calling import Caller
from agent.json_values import mapping, text
from agent.model import ToolOffer
from agent.personas import Persona, Personas
from domain.kernel import Level, Principal
from tools.outcomes import CallOutcome, CallRequest, CutOff

HANDOVER = "agent_handover"


class HandoverLog(Protocol):
    """Where it is remembered with whom the conversation goes on."""

    def hand_over(self, agent: str, ceiling: Level) -> None: ...


class ActiveAgent:
    """The one who speaks, and how far it may go; satisfies agent.calling.Caller, so that no handover escapes it.

    `ceiling`: the lowest of all who spoke. A model that somebody captured gains nothing by handing over.
    """

    def __init__(
        self, *, gate: Caller, personas: Personas, first: Persona, ceiling: Level, handover_log: HandoverLog
    ) -> None:
        self._gate = gate
        self._personas = personas
        self._log = handover_log
        self.speaker = first
        self.ceiling = min(ceiling, first.autonomy_ceiling)

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        """The gate's answer; from a handover that it let through on, the other one speaks."""
        try:
            outcome = await self._gate.call(request, principal)
        except CutOff as cut:
            self._apply_handover(cut.ended)
            raise
        self._apply_handover(outcome)
        return outcome

    def heard(self, outcome: CallOutcome | None) -> CallOutcome | None:
        """The outcome of a call that another process made; a handover among them counts."""
        if outcome is not None:
            self._apply_handover(outcome)
        return outcome

    def offers(self, offers: Sequence[ToolOffer]) -> Sequence[ToolOffer]:
        """The offers, the handover's with those to choose from."""
        return [self._with_choice(offer) if offer.name == HANDOVER else offer for offer in offers]

    def _apply_handover(self, outcome: CallOutcome) -> None:
        if outcome.tool != HANDOVER or outcome.outcome != "done":
            return
        self.speaker = self._personas.get(text(mapping(outcome.result).get("agent")))
        self.ceiling = min(self.ceiling, self.speaker.autonomy_ceiling)
        self._log.hand_over(self.speaker.name, self.ceiling)

    def _with_choice(self, offer: ToolOffer) -> ToolOffer:
        others = [each for each in self._personas.all() if each.name != self.speaker.name]
        properties = mapping(offer.parameters.get("properties"))
        agent = {
            "type": "string",
            "enum": [each.name for each in others],
            "description": " ".join(f"{each.name}: {each.description}" for each in others),
        }
        return replace(offer, parameters={**offer.parameters, "properties": {**properties, "agent": agent}})
