"""How an erasure is shown."""

from domain.privacy.model import Erasure
from tools.outcomes import Json
from tools.views.values import given


def erasure_json(erasure: Erasure) -> Json:
    """One erasure; `user_id` stands for the person, who is not named any more."""
    return {
        "erasure_id": str(erasure.erasure_id),
        "user_id": str(erasure.user_id),
        "state": erasure.state,
        "requested_by": erasure.requested_by,
        "requested_at": erasure.requested_at.isoformat(),
        "call_id": str(erasure.call_id),
        "removed": dict(erasure.removed),
        **given(finished_at=None if erasure.finished_at is None else erasure.finished_at.isoformat()),
    }
