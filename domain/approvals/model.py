"""An approval: a durable question to a person about one exact call."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.approvals.subjects import BoundSubjects
from domain.kernel import (
    ApprovalId,
    CallId,
    ConversationId,
    Door,
    EngagementId,
    Level,
    Mode,
    OrganizationId,
    PrincipalId,
    PrincipalKind,
    Role,
    RunId,
    TaskRunId,
)
from domain.paging import FIRST_PAGE, PageRequest

ApprovalState = Literal["pending", "approved", "rejected", "expired", "cancelled", "executing", "executed", "failed"]
ApprovalAnswer = Literal["approve", "reject"]
RunEnd = Literal["failed", "cancelled"]
"""How a run has ended without what it asked for."""

MAY_BECOME: Mapping[ApprovalState, frozenset[ApprovalState]] = {
    "pending": frozenset({"approved", "rejected", "expired", "cancelled"}),
    "approved": frozenset({"executing", "failed"}),
    "executing": frozenset({"executed", "failed"}),
    "rejected": frozenset(),
    "expired": frozenset(),
    "cancelled": frozenset(),
    "executed": frozenset(),
    "failed": frozenset(),
}
"""What state follows which; the database holds every writer to it (migrations/0042)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Bound to one call: tool, manifest digest, exact arguments, conversation, requester.

    Source  domain.md, Approvals; migrations/0004.
    """

    organization_id: OrganizationId
    approval_id: ApprovalId
    call_id: CallId
    tool: str
    manifest_digest: bytes
    policy_digest: bytes
    arguments: str
    """Canonical JSON, exactly as the call carried it."""
    arguments_digest: bytes
    reasons: tuple[str, ...]
    requested_by: PrincipalId
    requested_kind: PrincipalKind
    requested_mode: Mode
    requested_door: Door
    requested_scheduled: bool
    agent_ceiling: Level
    engagement_id: EngagementId | None
    conversation_id: ConversationId | None
    run_id: RunId | None
    task_run_id: TaskRunId | None
    needs_role: Role
    four_eyes: bool
    state: ApprovalState
    created_at: datetime
    expires_at: datetime
    subjects: BoundSubjects | None = None
    """What it names, as it stood when it was asked about; None: asked before this was kept, or erased."""
    decided_by: PrincipalId | None = None
    decided_at: datetime | None = None
    comment: str | None = None
    decided_for: PrincipalId | None = None
    """In whose stead, where the decider had no right of their own to decide."""
    reminded_at: datetime | None = None
    """When whoever may decide was reminded that nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalItem:
    """An approval with the people it names, as a list shows it."""

    approval: Approval
    requested_by: str
    """The requester's e-mail address."""
    decided_by: str | None
    """The decider's e-mail address."""
    decided_for: str | None = None
    """The e-mail address of whom the decider stood in for."""
    set_up_by: tuple[str, ...] = ()
    """Who stands behind it where a schedule led to it: whoever made that and whoever changed it last; addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Somebody who may decide a question that waits, by e-mail address."""

    email: str
    decides_for: str | None
    """In whose stead; None: by a role of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalQuery:
    """Which approvals; None leaves a filter out."""

    page: PageRequest = FIRST_PAGE
    state: ApprovalState | None = None
    requested_by: PrincipalId | None = None
