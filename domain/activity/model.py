"""One activity event and its payload, whose fields are the table's final columns."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.kernel import (
    ApprovalId,
    CallId,
    ConversationId,
    Decision,
    Door,
    Effect,
    EngagementId,
    EventId,
    Level,
    Mode,
    OrganizationId,
    Outcome,
    PrincipalId,
    PrincipalKind,
    Role,
    RunId,
    TaskRunId,
)
from domain.paging import FIRST_PAGE, PageRequest
from domain.taint import NOTHING, Taint

EventKind = Literal[
    "tool.allowed",
    "tool.completed",
    "tool.failed",
    "tool.cancelled",
    "tool.denied",
    "tool.invalid",
    "tool.waiting",
    "tool.previewed",
    "tool.rejected",
    "tool.expired",
]


SALT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a call carried, kept beside its event so that it can be erased; both are canonical JSON text."""

    salt: bytes
    """Of SALT_BYTES: a digest is over salt and text without anything between, so nothing else tells the two apart."""
    arguments: str | None = None
    result: str | None = None


def digest(salt: bytes, text: str | None) -> bytes | None:
    """SHA-256 of salt and text; the salt goes with the payload, so that an erased value cannot be guessed back."""
    return None if text is None else hashlib.sha256(salt + text.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityEvent:
    """One row of `activity_events`, with its payload where it has one.

    Source  domain.md, What an event says; migrations/0002.
    """

    organization_id: OrganizationId
    event_id: EventId
    kind: EventKind
    opens: bool
    """The first event of its call."""
    occurred_at: datetime
    call_id: CallId
    tool: str
    effect: Effect | None
    writes: tuple[str, ...]
    door: Door
    principal_id: PrincipalId
    principal_kind: PrincipalKind
    role: Role | None
    mode: Mode
    attended: bool
    level: Level | None
    engagement_id: EngagementId | None
    facts: str
    decision: Decision | None
    reasons: tuple[str, ...]
    approval_id: ApprovalId | None
    manifest_digest: bytes | None
    policy_digest: bytes | None
    outcome: Outcome | None
    error_code: str | None
    error_reference: str | None
    duration_ms: float | None
    cost_micros: int | None
    """Millionths of a US dollar that the call has cost at models. None: nobody knows, or it has not ended."""
    conversation_id: ConversationId | None
    run_id: RunId | None
    task_run_id: TaskRunId | None
    request_id: str | None
    trace_id: str | None
    payload: Payload | None
    taint: Taint = NOTHING
    """What its result told; kept beside it, and no part of what is sealed."""

    @property
    def arguments_digest(self) -> bytes | None:
        return None if self.payload is None else digest(self.payload.salt, self.payload.arguments)

    @property
    def result_digest(self) -> bytes | None:
        return None if self.payload is None else digest(self.payload.salt, self.payload.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityItem:
    """One call, folded from its events.

    Decision and reasons are those of its first event, so that a call that had to be asked for shows as such whatever
    became of it; the outcome is the newest event's.
    Source  domain.md, What an event says.
    """

    event_id: EventId
    """The event that opened the call: what lists are paged by."""
    call_id: CallId
    time: datetime
    tool: str
    door: Door
    mode: Mode
    principal: str
    """The principal's e-mail address."""
    role: Role | None
    """None: no membership."""
    decision: Decision | None
    """None: no verdict was reached, since the tool was unknown or its arguments could not be read."""
    reasons: tuple[str, ...]
    outcome: Outcome | None
    """None: allowed, and under way."""
    error_code: str | None
    approval_id: ApprovalId | None
    conversation_id: ConversationId | None
    run_id: RunId | None
    duration_ms: float | None
    cost_micros: int | None
    """Of its newest event."""
    arguments: str | None
    """JSON text; None where it was erased."""
    result: str | None
    """JSON text; lists leave it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityStep:
    """One event of a call, as far as it tells more than the call itself."""

    kind: EventKind
    time: datetime
    decision: Decision | None
    reasons: tuple[str, ...]
    outcome: Outcome | None
    error_code: str | None
    error_reference: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityCall:
    """One call with its events, oldest first."""

    item: ActivityItem
    steps: tuple[ActivityStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityQuery:
    """Which calls; None leaves a filter out."""

    page: PageRequest = FIRST_PAGE
    tool: str | None = None
    door: Door | None = None
    decision: Decision | None = None
    outcome: Outcome | None = None
    principal: str | None = None
    """An e-mail address, or a principal's id."""
    conversation_id: ConversationId | None = None
    since: datetime | None = None
    """The earliest moment, included."""
    until: datetime | None = None
    """The latest moment, excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedVerdict:
    """What was decided of a call at one moment, and from what: at first, and again once a person had approved it."""

    event_id: EventId
    call_id: CallId
    time: datetime
    opens: bool
    """False: decided again, when the call was to be executed."""
    tool: str
    door: Door
    mode: Mode
    role: Role | None
    decision: Decision | None
    """None: no verdict was reached."""
    reasons: tuple[str, ...]
    facts: str
    """What policy saw, as canonical JSON; `{}` where it was not asked."""
    policy_digest: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when to when; None: from the beginning, and to the end."""

    since: datetime | None = None
    """The earliest moment, included."""
    until: datetime | None = None
    """The latest moment, excluded."""
