"""Feedback on an answer: one of a person's on a run of their own, which may change and be taken back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.kernel import EngagementId, NotFound, PrincipalId, RunId

Rating = Literal["up", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a person says of a run's answer. The comment is given to the firm: those who read its record read it."""

    run_id: RunId
    rating: Rating
    comment: str
    given_by: str
    """An e-mail address."""
    given_at: datetime
    agent: str
    model: str
    engagement_id: EngagementId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFeedback:
    """Feedback as it is given, in place of what the same person gave before."""

    run_id: RunId
    rating: Rating
    comment: str
    given_by: PrincipalId
    given_at: datetime


class AnswerNotFound(NotFound):
    """No such run that this principal may see."""

    def __init__(self, run_id: RunId) -> None:
        super().__init__("no such run")
        self.run_id = run_id
