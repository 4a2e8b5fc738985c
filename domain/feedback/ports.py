"""What feedback needs of the database."""

from collections.abc import Sequence
from typing import Protocol

from domain.feedback.model import Feedback, NewFeedback
from domain.kernel import PrincipalId, RunId
from domain.paging import PageRequest


class FeedbackRepository(Protocol):
    """Feedback of the transaction's organization, as far as its principal may see it."""

    async def give(self, feedback: NewFeedback) -> bool:
        """Keep it, in place of earlier feedback; False: the principal has no such run."""
        ...

    async def take_back(self, run_id: RunId, given_by: PrincipalId) -> bool:
        """Remove it, where there is any; False: the principal has no such run."""
        ...

    async def of(self, run_id: RunId, given_by: PrincipalId) -> Feedback | None: ...

    async def listed(self, page: PageRequest) -> Sequence[Feedback]:
        """Newest first; one more than the page holds where there are more."""
        ...
