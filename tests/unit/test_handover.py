"""Who speaks in a run may change by a call that the gate let through, and never so that the agent may do more."""

from itertools import permutations
from uuid import UUID

import pytest

from agent.calling import Caller
from agent.handover import HANDOVER, ActiveAgent
from agent.json_values import mapping
from agent.model import ToolOffer
from agent.personas import load_personas
from domain.kernel import CallId, Level, Principal
from domain.resources import resource_folder
from tests.support.scripted_gate import Answer, ScriptedGate, denied, done, invalid
from tests.support.turns import PRINCIPAL
from tools.outcomes import Allow, CallOutcome, CallRequest, CutOff

PERSONAS = load_personas(resource_folder("manifests"))
NAMES = tuple(each.name for each in PERSONAS.all())


class Log:
    """Satisfies HandoverLog."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, Level]] = []

    def hand_over(self, agent: str, ceiling: Level) -> None:
        self.noted.append((agent, ceiling))


def active_agent(gate: Caller, log: Log, *, first: str = "assistant", ceiling: Level = Level.L3) -> ActiveAgent:
    return ActiveAgent(gate=gate, personas=PERSONAS, first=PERSONAS.get(first), ceiling=ceiling, handover_log=log)


def to(agent: str) -> CallRequest:
    return CallRequest(call_id=CallId(UUID(int=7)), tool=HANDOVER, arguments={"agent": agent})


def goes_on(request: CallRequest) -> CallOutcome:
    """As the tool answers."""
    return done({"agent": mapping(request.arguments)["agent"]})(request)


@pytest.mark.parametrize("chain", tuple(permutations(NAMES, 3)))
async def test_the_ceiling_is_the_lowest_of_the_chain_however_it_goes(chain: tuple[str, ...]) -> None:
    log = Log()
    active = active_agent(ScriptedGate(agent_handover=goes_on), log, first=chain[0])
    for name in chain[1:]:
        await active.call(to(name), PRINCIPAL)
    lowest = min(PERSONAS.get(name).autonomy_ceiling for name in chain)
    assert (active.speaker.name, active.ceiling) == (chain[-1], lowest)
    assert log.noted[-1] == (chain[-1], lowest)


async def test_an_earlier_runs_ceiling_holds_on() -> None:
    active = active_agent(ScriptedGate(agent_handover=goes_on), Log(), ceiling=Level.L1)
    await active.call(to("operations"), PRINCIPAL)
    assert active.ceiling == Level.L1


@pytest.mark.parametrize("answer", [denied, invalid])
async def test_a_handover_that_the_gate_did_not_let_through_changes_nothing(answer: Answer) -> None:
    log = Log()
    active = active_agent(ScriptedGate(agent_handover=answer), log)
    await active.call(to("librarian"), PRINCIPAL)
    assert (active.speaker.name, active.ceiling, log.noted) == ("assistant", Level.L3, [])


async def test_another_tools_result_that_speaks_of_an_agent_changes_nothing() -> None:
    active = active_agent(ScriptedGate(task_get=done({"agent": "librarian"})), Log())
    request = CallRequest(call_id=CallId(UUID(int=7)), tool="task_get", arguments={})
    await active.call(request, PRINCIPAL)
    assert active.speaker.name == "assistant"


class CutShort:
    """A gate whose call was recorded as done when its caller was cancelled."""

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        verdict = Allow(reasons=("within_role",))
        result: dict[str, object] = {"agent": "librarian"}
        raise CutOff(
            CallOutcome(call_id=request.call_id, tool=request.tool, outcome="done", verdict=verdict, result=result)
        )


async def test_a_handover_that_was_done_when_the_run_was_cancelled_holds() -> None:
    log = Log()
    active = active_agent(CutShort(), log)
    with pytest.raises(CutOff):
        await active.call(to("librarian"), PRINCIPAL)
    assert log.noted == [("librarian", Level.L1)]


async def test_the_choice_that_is_offered_leaves_out_whoever_speaks() -> None:
    parameters: dict[str, object] = {"type": "object", "properties": {"agent": {"type": "string"}, "reason": {}}}
    offers = [ToolOffer(name=HANDOVER, description="", parameters=parameters)]
    active = active_agent(ScriptedGate(agent_handover=goes_on), Log())
    assert choice_of(active, offers) == sorted(set(NAMES) - {"assistant"})
    await active.call(to("tax"), PRINCIPAL)
    assert choice_of(active, offers) == [name for name in NAMES if name != "tax"]


def choice_of(active: ActiveAgent, offers: list[ToolOffer]) -> object:
    (offer,) = active.offers(offers)
    return mapping(mapping(offer.parameters["properties"])["agent"])["enum"]
