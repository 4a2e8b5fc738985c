"""Giving feedback on one's own answers, taking it back, and reading what was given."""

from dataclasses import dataclass
from datetime import datetime

from domain.feedback.model import AnswerNotFound, Feedback, NewFeedback, Rating
from domain.feedback.ports import FeedbackRepository
from domain.kernel import PrincipalId, RunId
from domain.paging import Page, PageRequest, Position, page_of


@dataclass(frozen=True, slots=True)
class FeedbackService:
    """Feedback of one transaction's organization."""

    feedback: FeedbackRepository

    async def give(
        self, run_id: RunId, rating: Rating | None, comment: str, by: PrincipalId, now: datetime
    ) -> Feedback | None:
        """The feedback as it stands then; without a rating it is taken back, with its comment.

        Raises  AnswerNotFound.
        """
        if rating is None:
            found = await self.feedback.take_back(run_id, by)
        else:
            given = NewFeedback(run_id=run_id, rating=rating, comment=comment.strip(), given_by=by, given_at=now)
            found = await self.feedback.give(given)
        if not found:
            raise AnswerNotFound(run_id)
        return await self.feedback.of(run_id, by)

    async def list(self, page: PageRequest) -> Page[Feedback]:
        """What was given, newest first: one's own, and the organization's for those who read its record."""
        found = await self.feedback.listed(page)
        return page_of(found, page, lambda each: Position(time=each.given_at, id=each.run_id))
