"""An intent: a call that was allowed to act outside, and of which nobody has said yet how it ended."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from domain.kernel import (
    ApprovalId,
    CallId,
    ConversationId,
    DomainError,
    EngagementId,
    Level,
    Principal,
    Role,
    RunId,
    TaskRunId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The exact call, so that any process can ask the outside what became of it and say so in its name."""

    call_id: CallId
    principal: Principal
    tool: str
    arguments: str
    """Canonical JSON."""
    manifest_digest: bytes | None
    """Of the tool as it was when the call was allowed; None: written before that was kept."""
    approval_id: ApprovalId | None
    conversation_id: ConversationId | None
    run_id: RunId | None
    task_run_id: TaskRunId | None
    engagement_id: EngagementId | None
    agent_ceiling: Level
    begun_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """A call that is under way outside or was left there, as a list shows it."""

    call_id: CallId
    tool: str
    begun_at: datetime
    asked_by: str
    """An e-mail address."""
    needs_role: Role
    """Who may say how it ended, where nobody can find out: this role or one above."""
    four_eyes: bool
    """Not whoever asked for it."""
    approval_id: ApprovalId | None
    conversation_id: ConversationId | None
    run_id: RunId | None
    task_run_id: TaskRunId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What a person says of how a call ended."""

    happened: bool
    statement: str
    """From where it is known, or what the outside's reference is."""


class CallHasEnded(DomainError):
    """It is known how the call ended: by the outside, or by a person who was quicker."""

    code: ClassVar[str] = "call_has_ended"

    def __init__(self) -> None:
        super().__init__("call_id: it is recorded how this call ended; nothing is left to be said of that")


class CallUnderWay(DomainError):
    """Whoever makes the call may be at it still."""

    code: ClassVar[str] = "call_under_way"

    def __init__(self, until: datetime) -> None:
        super().__init__(f"call_id: this call may be under way still; say how it ended after {until.isoformat()}")
