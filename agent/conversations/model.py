"""A conversation as it is kept: turns of a message and the steps that answered it, and the run that each turn was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from agent.events import CallUsage, Citation, Json
from agent.model import ProviderItem
from domain.kernel import CallId, ConversationId, EngagementId, Level, Outcome, Role, RunId, Trust
from domain.preferences.model import Preference

RunStatus = Literal["running", "waiting", "completed", "failed", "cancelled"]
GOING: frozenset[RunStatus] = frozenset({"running", "waiting"})
"""A run that has not ended: it is carried, or put down until people have answered."""

TitledBy = Literal["rule", "model", "person"]
"""Who gave a conversation its title; the rule: its first message begins so."""
TITLE_LENGTH = 80
MESSAGE_LENGTH = 100_000
"""Code points of one message; more is a document and belongs into the knowledge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCall:
    """One call that the model asked for, together with its one result: a pair that cannot come apart."""

    call_id: CallId
    provider_id: str
    tool: str
    arguments: str
    """The model's own text, unparsed."""
    outcome: Outcome
    text: str
    """The result as the model was given it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the model said in one go, and the calls it made with it."""

    message_id: UUID
    text: str
    calls: tuple[MadeCall, ...] = ()
    citations: tuple[Citation, ...] = ()
    provider_items: tuple[ProviderItem, ...] = ()
    """What the model's provider wants back with it, in this run and in later ones; shown to nobody."""
    usage: CallUsage | None = field(default=None, compare=False)
    """What the call of the model used that it came of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCall:
    """A call as the record knows it."""

    call_id: CallId
    tool: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A call that changed something, or is about to, in a version of the conversation that was left."""

    call_id: CallId
    tool: str
    outcome: Outcome
    arguments: str
    """Canonical JSON text, as the record has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message of the person's and how it was answered; `unkept` are calls of the record that no step tells of.

    They are left where a process ended between a call and the step it belonged to.
    """

    run_id: RunId
    status: RunStatus
    message: str
    steps: tuple[Step, ...] = ()
    unkept: tuple[LedgerCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """A call of summarised turns that still waited when they were summarised."""

    call_id: CallId
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What stands for the oldest turns of a conversation in requests to a model; the turns themselves are kept."""

    summary_id: UUID
    last_run_id: RunId
    """The last turn that it covers: it holds for every path that leads over it."""
    turns: int
    """How many turns it covers, those of the summary before it among them."""
    text: str
    trust: Trust
    """Of the least trusted thing in it."""
    citations: tuple[Citation, ...]
    """Passages that were cited so far, under their numbers."""
    last_marker: int
    """The highest number that a passage was given."""
    open_calls: tuple[OpenCall, ...]
    model: str
    input_tokens: int
    output_tokens: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The newest turns of a conversation, oldest first, and what has become of calls that were open when they ended."""

    turns: tuple[Turn, ...] = ()
    later: Mapping[CallId, Json] = field(default_factory=dict[CallId, Json])
    """Envelopes of calls that waited (or were cut off) when their turn ended, as they stand now."""
    elsewhere: tuple[Act, ...] = ()
    """What was done in other versions of the conversation, and stands; the newest last."""
    summary: Summary | None = None
    """Stands for the turns before these."""
    unshown: bool = False
    """There are turns before these that nothing here stands for."""
    crowded: bool = False
    """There are so many turns that the oldest will soon not be read any more."""
    again: bool = False
    """The run is another version of a turn: the same place in the conversation was answered before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    conversation_id: ConversationId
    title: str
    agent: str
    """The persona that the next message is for, unless it names another."""
    engagement_id: EngagementId | None
    created_at: datetime
    updated_at: datetime
    agent_ceiling: Level = Level.L3
    """The lowest ceiling of the personas that handed over to one another since a person last chose one."""
    active_run_id: RunId | None = None
    """The end of the path that the next message follows."""
    branched: bool = False
    """Some turn has another version."""
    titled_by: TitledBy = "rule"

    @property
    def may_be_named(self) -> bool:
        """Nobody gave it a title yet, and its first message was the last: a model may still do so."""
        return self.titled_by == "rule" and self.updated_at == self.created_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message as a reader sees it; a step's calls stand with the words that went with them."""

    message_id: UUID
    run_id: RunId
    role: Literal["user", "assistant"]
    text: str
    tool_calls: tuple[MadeCall, ...]
    citations: tuple[Citation, ...]
    created_at: datetime
    parent_id: UUID | None = None
    """The message before it on the path."""
    versions: tuple[RunId, ...] = ()
    """A run of each version of it, oldest first, this one's own among them."""
    rating: str | None = None
    """What its owner said of the run's answer: up or down."""
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A message that a search found."""

    message_id: UUID
    run_id: RunId
    role: Literal["user", "assistant"]
    snippet: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A conversation that a search found, by its title or by some of its messages."""

    conversation: Conversation
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Who is talking, and in which firm."""

    organization: str
    person: str
    role: Role
    budgeted: bool = False
    """A budget of money or tokens is set that the person's runs count in."""
    preferences: tuple[Preference, ...] = ()
    """What the person has had remembered of how to be answered."""
