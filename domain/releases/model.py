"""Release controls, the sign-offs they rest on, and releases: a control's state is computed, never typed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType
from uuid import UUID

from domain.kernel import CallId, EngagementId, PrincipalId, Role

SignOffId = NewType("SignOffId", UUID)
ReleaseId = NewType("ReleaseId", UUID)

ControlName = Literal["plan_freeze", "period_lock", "report_release", "filings_submit"]
ControlState = Literal["satisfied", "pending", "changes_required", "not_applicable"]
SignOffDecision = Literal["accept", "reject"]

SIGNED_BY: Mapping[str, Role] = {
    "PLAN_REVIEW": Role.PARTNER,
    "REPORT_FINAL": Role.PARTNER,
    "EQR_REVIEW": Role.EQR,
}
"""Who signs a kind, as people are told; every other is a MANAGER's. What holds is the policies' word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOff:
    """A person's statement about one version of one thing."""

    sign_off_id: SignOffId
    engagement_id: EngagementId
    kind: str
    decision: SignOffDecision
    subject: str
    version: str
    comment: str
    signed_by: str
    """An e-mail address."""
    signed_role: str
    signed_at: datetime
    holds: bool
    """It is about the newest version that is known of its subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSignOff:
    """A statement ready to be stored."""

    sign_off_id: SignOffId
    engagement_id: EngagementId
    kind: str
    decision: SignOffDecision
    subject: str
    version: str
    comment: str
    signed_by: PrincipalId
    signed_role: Role
    signed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseState:
    """What a control asks for, as it stands.

    Source  domain.md, Release controls; glow.release_state in migrations/0012.
    """

    control: ControlName
    engagement_id: EngagementId
    state: ControlState
    needs: tuple[str, ...]
    """Kinds of sign-off."""
    missing: tuple[str, ...]
    """Of these, the kinds that are not there: nobody signed, rejected, or signed for an older version."""
    sign_offs: tuple[SignOff, ...]
    """The last word of each kind on each subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseControl:
    """A control as the organization has set it; without needs it has not."""

    name: ControlName
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is released, in the version that leaves."""

    subject: str
    version: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRelease:
    """A release ready to be stored."""

    release_id: ReleaseId
    state: ReleaseState
    evidence: tuple[Evidence, ...]
    call_id: CallId
    released_by: PrincipalId
    released_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What was released, on whose word."""

    release_id: ReleaseId
    control: ControlName
    engagement_id: EngagementId
    state: ControlState
    evidence: tuple[Evidence, ...]
    sign_off_ids: tuple[SignOffId, ...]
    call_id: CallId
    released_by: str
    """E-mail addresses, as the next."""
    approved_by: str | None
    released_at: datetime
