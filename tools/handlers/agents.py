"""Handing a conversation over to another agent: the call says who goes on, and the run that made it heeds that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from domain.kernel import DomainError
from domain.taint import NOTHING
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.work import CallContext, Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """An agent, as the others and people know it."""

    title: str
    description: str


class NoSuchAgent(DomainError):
    """Nobody of that name could go on."""

    code: ClassVar[str] = "unknown_agent"

    def __init__(self, known: Mapping[str, Introduction]) -> None:
        super().__init__(f"there is no such agent; there are: {', '.join(sorted(known))}")


class SameAgent(DomainError):
    """The agent that speaks already."""

    code: ClassVar[str] = "same_agent"

    def __init__(self) -> None:
        super().__init__("this is the agent that is speaking already")


class AgentHandover(Arguments):
    agent: str
    reason: str = ""


def agent_handlers(known: Mapping[str, Introduction]) -> Mapping[str, Handler[Any]]:
    """The handlers of the tools that speak of agents; `known`: the agents of this installation, by name."""

    async def agent_handover(arguments: AgentHandover, context: CallContext) -> Json:
        """Who goes on; nothing is written here, the conversation's row is the run's to keep."""
        found = known.get(arguments.agent)
        if found is None:
            raise NoSuchAgent(known)
        if arguments.agent == context.agent:
            raise SameAgent
        # Who the agents are is told to everybody.
        context.told.add(NOTHING)
        return {"agent": arguments.agent, "title": found.title, "description": found.description}

    return {"agent_handover": Handler(arguments=AgentHandover, work=agent_handover)}
