"""How it is shown who decides in whose stead."""

from datetime import datetime

from domain.delegations.model import Delegation
from tools.outcomes import Json
from tools.views.values import given, time_text


def delegation_json(delegation: Delegation, now: datetime) -> Json:
    """One delegation, and whether it holds at `now`."""
    return {
        "delegation_id": str(delegation.delegation_id),
        "delegator": delegation.delegator,
        "delegate": delegation.delegate,
        "starts_at": delegation.starts_at.isoformat(),
        "ends_at": delegation.ends_at.isoformat(),
        "reason": delegation.reason,
        "given_at": delegation.given_at.isoformat(),
        "stands": delegation.stands_at(now),
        **given(revoked_at=time_text(delegation.revoked_at), revoked_by=delegation.revoked_by),
    }
