"""One run of the loop on a scripted model and gate, without a database: what it told, and what it left to remember."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from agent.budget import Budget
from agent.calling import Caller, CallSetup
from agent.citations import CitationBook
from agent.context import Transcript
from agent.conversations.model import History, Step
from agent.events import (
    AgentEvent,
    Citation,
    MessageCompleted,
    MessageReset,
    MessageStarted,
    RunUsage,
    ToolCalled,
    ToolCompleted,
    ToolProgress,
)
from agent.loop import CheckCitations, TurnContext, TurnSetup, run_turn
from agent.model import Model, ModelFailed, ToolOffer
from agent.window import Window
from domain.kernel import CallId, ConversationId, NewId, OrganizationId, Principal, PrincipalId, RunId
from tools.outcomes import CallRequest
from tools.ports import Unavailable

CONVERSATION = ConversationId(UUID(int=0xC0))
RUN = RunId(UUID(int=0xA0))
PRINCIPAL = Principal(
    organization_id=OrganizationId(UUID(int=0x0F)),
    principal_id=PrincipalId(UUID(int=0x0E)),
    kind="person",
    mode="agent",
    door="chat",
)
OFFERS = (
    ToolOffer(name="knowledge_search", description="Searches.", parameters={"type": "object"}),
    ToolOffer(name="task_create", description="Creates a task.", parameters={"type": "object"}),
)


def numbered() -> NewId:
    """Ids that count: 1, 2, 3 ..."""
    numbers = itertools.count(1)
    return lambda: UUID(int=next(numbers))


def nth(number: int) -> UUID:
    """The id that `numbered` gives as its nth."""
    return UUID(int=number)


@dataclass
class ListJournal:
    """Satisfies agent.loop.Journal: remembers in a list, and what was kept in another."""

    noted: list[Step] = field(default_factory=list[Step])
    kept: list[Step] = field(default_factory=list[Step])
    spent: RunUsage | None = None
    """What the run had spent when a step was last kept."""
    progress: list[ToolProgress] = field(default_factory=list[ToolProgress])

    def note(self, step: Step) -> None:
        self.noted.append(step)

    async def keep(self, usage: RunUsage) -> None:
        self.kept, self.spent = list(self.noted), usage

    async def committed(self) -> None:
        """What is told is remembered by whoever hears it."""

    def tell(self, progress: ToolProgress) -> None:
        self.progress.append(progress)


@dataclass
class Told:
    """What a run told, and how its loop came to its end."""

    journal: ListJournal
    events: list[AgentEvent] = field(default_factory=list[AgentEvent])
    raised: BaseException | None = None


async def all_stand(message_id: str, citations: tuple[Citation, ...]) -> tuple[Citation, ...]:
    """The documents bear every citation out that is not false by itself."""
    del message_id
    return citations


def setup_of(
    model: Model,
    gate: Caller,
    journal: ListJournal,
    *,
    message: str = "Who signs?",
    history: History | None = None,
    budget: Budget | None = None,
    approval_url: str | None = None,
    new_id: NewId | None = None,
    offers: Sequence[ToolOffer] = OFFERS,
    check: CheckCitations = all_stand,
) -> TurnSetup:
    """A run of the loop over the model and gate given; everything else is as plain as can be."""
    earlier = history or History()
    window = Window(model.context_window, len)
    calls = CallSetup(
        gate=gate,
        principal=PRINCIPAL,
        request=_request,
        trust_of=lambda _: "internal",
        approval_url=lambda _: approval_url,
        book=CitationBook(),
        budget=budget or Budget(),
        new_id=new_id or numbered(),
        committed=journal.committed,
        tell=journal.tell,
    )
    transcript = Transcript(system="Be brief.", history=earlier, message=message, window=window)
    return TurnSetup(
        context=lambda: TurnContext(model=model, offers=offers),
        calls=calls,
        transcript=transcript,
        journal=journal,
        check=check,
    )


async def tell(setup: TurnSetup, told: Told) -> None:
    """Run the loop to its end, whatever that is."""
    try:
        async for event in run_turn(setup):
            told.events.append(event)
    except (ModelFailed, Unavailable, asyncio.CancelledError) as raised:
        told.raised = raised


async def told_by(
    model: Model,
    gate: Caller,
    *,
    history: History | None = None,
    budget: Budget | None = None,
    approval_url: str | None = None,
) -> Told:
    """What a run tells from beginning to end."""
    told = Told(ListJournal())
    setup = setup_of(model, gate, told.journal, history=history, budget=budget, approval_url=approval_url)
    await tell(setup, told)
    return told


def begun_and_ended(events: Sequence[AgentEvent]) -> bool:
    """True when each started message and each called tool has exactly one end."""
    started = [event.message_id for event in events if isinstance(event, MessageStarted)]
    ended = [event.message_id for event in events if isinstance(event, MessageCompleted | MessageReset)]
    called = [event.call_id for event in events if isinstance(event, ToolCalled)]
    completed = [event.call_id for event in events if isinstance(event, ToolCompleted)]
    return sorted(started) == sorted(ended) and sorted(called) == sorted(completed)


def _request(call_id: CallId, tool: str, arguments: object) -> CallRequest:
    return CallRequest(call_id=call_id, tool=tool, arguments=arguments, conversation_id=CONVERSATION, run_id=RUN)
