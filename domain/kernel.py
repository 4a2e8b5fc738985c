"""The words every floor shares: ids, roles, levels, effects, the principal, the clock, and the base of errors."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import ClassVar, Literal, NewType, get_args
from uuid import UUID, uuid4

OrganizationId = NewType("OrganizationId", UUID)
PrincipalId = NewType("PrincipalId", UUID)
EngagementId = NewType("EngagementId", UUID)
ConversationId = NewType("ConversationId", UUID)
RunId = NewType("RunId", UUID)
CallId = NewType("CallId", UUID)
EventId = NewType("EventId", UUID)
ApprovalId = NewType("ApprovalId", UUID)
TaskId = NewType("TaskId", UUID)
TaskRunId = NewType("TaskRunId", UUID)

Clock = Callable[[], datetime]
NewId = Callable[[], UUID]

Mode = Literal["person", "agent"]
Door = Literal["chat", "mcp", "slack", "rest", "widget", "cli", "worker"]
Effect = Literal["read", "prepare", "commit", "irreversible"]
Decision = Literal["allow", "deny", "needs_approval"]
Outcome = Literal["done", "denied", "invalid", "waiting", "failed", "cancelled", "expired", "rejected", "dry_run"]
Trust = Literal["internal", "client", "external"]
Audience = Literal["firm", "client"]
PrincipalKind = Literal["person", "service_account"]

DOORS: tuple[Door, ...] = get_args(Door)
EFFECTS: tuple[Effect, ...] = get_args(Effect)
TRUSTS: tuple[Trust, ...] = get_args(Trust)
"""From the most trusted to the least."""


class Role(StrEnum):
    """What a membership lets its principal do; the first five are the ladder, lowest first."""

    READONLY = "READONLY"
    EMPLOYEE = "EMPLOYEE"
    MANAGER = "MANAGER"
    PARTNER = "PARTNER"
    SYSTEM_ADMIN = "SYSTEM_ADMIN"
    CLIENT = "CLIENT"
    SERVICE_ACCOUNT = "SERVICE_ACCOUNT"
    EQR = "EQR"

    @property
    def rank(self) -> int:
        """Height on the ladder, 0 to 4; a role beside the ladder counts as the step it acts as.

        Source  domain.md, Roles: CLIENT meets READONLY, SERVICE_ACCOUNT acts as EMPLOYEE; EQR reads as a PARTNER,
        which the policies grant by name and never by rank.
        """
        return _RANK[self]


_RANK = {
    Role.READONLY: 0,
    Role.CLIENT: 0,
    Role.EQR: 0,
    Role.EMPLOYEE: 1,
    Role.SERVICE_ACCOUNT: 1,
    Role.MANAGER: 2,
    Role.PARTNER: 3,
    Role.SYSTEM_ADMIN: 4,
}


class Level(IntEnum):
    """How far the agent goes without asking: L0 Manual, L1 Suggest, L2 Auto-prepare, L3 Autopilot."""

    L0 = 0
    L1 = 1
    L2 = 2
    L3 = 3


DEFAULT_LEVEL = Level.L2


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is acting now, as the door established it; role and level come from the database with the facts."""

    organization_id: OrganizationId
    principal_id: PrincipalId
    kind: PrincipalKind
    mode: Mode
    door: Door
    scheduled: bool = False
    """Begun by the worker or a schedule rather than by a person who waits for the answer."""

    @property
    def attended(self) -> bool:
        """True when a person stands behind the call and it comes from no worker or schedule."""
        return self.kind == "person" and self.door != "worker" and not self.scheduled


class DomainError(Exception):
    """A refusal by a rule of the firm that the asker can mend; `code` is stable, the words are for people.

    The gate turns it into the outcome `invalid`: its words reach the model and the user, so they hold no secret.
    """

    code: ClassVar[str] = "invalid"


class NotFound(DomainError):
    """No such thing that this principal may see; also the answer for another organization's ids."""

    code: ClassVar[str] = "not_found"


def utc_now() -> datetime:
    """The wall clock, in UTC; the only `Clock` outside tests."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """A random id (version 4); the only `NewId` outside tests."""
    return uuid4()
