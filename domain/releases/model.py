"""The state of a release control for an engagement: computed from sign-offs, never typed in."""

from dataclasses import dataclass
from typing import Literal

from domain.kernel import EngagementId

ControlName = Literal["plan_freeze", "period_lock", "report_release", "filings_submit"]
ControlState = Literal["satisfied", "pending", "changes_required", "not_applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseState:
    """What a control asks for, as it stands.

    Source  domain.md, Release controls; glow.release_state in migrations/0007.
    """

    control: ControlName
    engagement_id: EngagementId
    state: ControlState
    missing: tuple[str, ...]
    """Kinds of sign-off that nobody has accepted yet."""
