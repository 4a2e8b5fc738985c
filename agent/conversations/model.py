"""A conversation as it is kept: turns of a message and the steps that answered it, and the run that each turn was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from agent.events import Citation, Json, RunFailed, RunUsage
from agent.model import ProviderItem
from domain.kernel import (
    CallId,
    ConversationId,
    DomainError,
    Door,
    EngagementId,
    Level,
    NotFound,
    OrganizationId,
    Outcome,
    Role,
    RunId,
)

RunStatus = Literal["running", "completed", "failed", "cancelled"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCall:
    """A call as the record knows it."""

    call_id: CallId
    tool: str
    outcome: Outcome


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
class History:
    """The newest turns of a conversation, oldest first, and what has become of calls that were open when they ended."""

    turns: tuple[Turn, ...] = ()
    later: Mapping[CallId, Json] = field(default_factory=dict[CallId, Json])
    """Envelopes of calls that waited (or were cut off) when their turn ended, as they stand now."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Who is talking, and in which firm."""

    organization: str
    person: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run ready to be stored, together with the message that begins it."""

    run_id: RunId
    conversation_id: ConversationId
    agent: str
    model: str
    door: Door
    message_id: UUID
    message: str
    client_message_id: str | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """A run that is stored and about to be carried: everything its agent knows of what came before."""

    run: NewRun
    conversation: Conversation
    surroundings: Surroundings
    history: History
    request_id: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, as its row says it."""

    status: Literal["completed", "failed", "cancelled"]
    error: RunFailed | None = None
    usage: RunUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as its row and its stored frames say it."""

    run_id: RunId
    conversation_id: ConversationId
    agent: str
    model: str
    status: RunStatus
    error: RunFailed | None
    usage: RunUsage | None
    created_at: datetime
    finished_at: datetime | None
    last_sequence: int
    """Of the frames stored so far; 0: none yet."""
    ended_in_log: bool
    """The last stored frame is the terminal one; False for a moment after the row has ended, or after a crash then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedBefore:
    """The run that a message with the same `client_message_id` began."""

    run_id: RunId
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKey:
    organization_id: OrganizationId
    run_id: RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The answer to a heartbeat."""

    running: frozenset[RunId]
    """Those that are still this process's to carry; the others were ended by somebody else."""
    to_cancel: frozenset[RunId]
    """Those that somebody asked another process to cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A run that was ended because its process is gone, and the number its last frame gets."""

    key: RunKey
    next_sequence: int


class ConversationNotFound(NotFound):
    """No such conversation that this principal may see."""

    def __init__(self, conversation_id: ConversationId) -> None:
        super().__init__("no such conversation")
        self.conversation_id = conversation_id


class RunNotFound(NotFound):
    """No such run that this principal may see."""

    def __init__(self, run_id: RunId) -> None:
        super().__init__("no such run")
        self.run_id = run_id


class EngagementNotFound(NotFound):
    """No such engagement that this principal may see."""

    def __init__(self, engagement_id: EngagementId) -> None:
        super().__init__("no such engagement")
        self.engagement_id = engagement_id


class NotAMember(NotFound):
    """The principal has no membership in the organization it came for."""

    def __init__(self) -> None:
        super().__init__("no such organization")


class UnknownAgent(NotFound):
    """No persona of that name."""

    def __init__(self, agent: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(f"no such agent; there are: {', '.join(known)}")
        self.agent = agent
        self.known = known


class ConversationBusy(DomainError):
    """A run of this conversation is still going."""

    code: ClassVar[str] = "conversation_busy"

    def __init__(self, conversation_id: ConversationId) -> None:
        super().__init__("a run of this conversation is still going: wait for its end or cancel it")
        self.conversation_id = conversation_id


class ConversationTaken(DomainError):
    """The conversation that this message would begin exists: the message came twice."""

    code: ClassVar[str] = "conversation_busy"

    def __init__(self, conversation_id: ConversationId) -> None:
        super().__init__("this message has begun a conversation already")
        self.conversation_id = conversation_id


class ClientMessageReused(DomainError):
    """The `client_message_id` was used before in this conversation, for another message."""

    code: ClassVar[str] = "client_message_reused"

    def __init__(self) -> None:
        super().__init__("client_message_id: used before in this conversation, for another message")


class InvalidMessage(DomainError):
    """The message cannot be taken as it is."""

    code: ClassVar[str] = "invalid_message"
