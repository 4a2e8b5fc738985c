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


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a call carried, kept beside its event so that it can be erased; both are canonical JSON text."""

    salt: bytes
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
    conversation_id: ConversationId | None
    run_id: RunId | None
    task_run_id: TaskRunId | None
    request_id: str | None
    trace_id: str | None
    payload: Payload | None

    @property
    def arguments_digest(self) -> bytes | None:
        return None if self.payload is None else digest(self.payload.salt, self.payload.arguments)

    @property
    def result_digest(self) -> bytes | None:
        return None if self.payload is None else digest(self.payload.salt, self.payload.result)
