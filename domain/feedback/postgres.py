"""Feedback in PostgreSQL: given on one's own run, read by its giver and by those who read the organization's record."""

from collections.abc import Sequence

from domain.feedback.model import Feedback, NewFeedback
from domain.kernel import EngagementId, PrincipalId, RunId
from domain.paging import PageRequest
from domain.storage.postgres import Connection, Row

# The run is seen by its owner alone; what a report tells of it is kept here, since the run's own row is no reader's.
GIVE = """
INSERT INTO feedback (organization_id, run_id, given_by, rating, comment, given_at, agent, model, engagement_id)
SELECT r.organization_id, r.run_id, $2, $3, $4, $5, r.agent, r.model, c.engagement_id
FROM runs r JOIN conversations c USING (organization_id, conversation_id)
WHERE r.run_id = $1 AND r.owner_id = $2
ON CONFLICT (organization_id, run_id, given_by)
    DO UPDATE SET rating = excluded.rating, comment = excluded.comment, given_at = excluded.given_at
RETURNING run_id
"""

TAKE_BACK = "DELETE FROM feedback WHERE run_id = $1 AND given_by = $2"

HAS_RUN = "SELECT EXISTS (SELECT FROM runs WHERE run_id = $1 AND owner_id = $2)"

_FEEDBACK = """
SELECT f.run_id, f.rating, f.comment, u.email, f.given_at, f.agent, f.model, f.engagement_id
FROM feedback f JOIN users u ON u.user_id = f.given_by
"""

OF = f"{_FEEDBACK} WHERE f.run_id = $1 AND f.given_by = $2"

LISTED = f"""{_FEEDBACK}
WHERE f.organization_id = glow.organization_id()
    AND ($1::timestamptz IS NULL OR (f.given_at, f.run_id) < ($1, $2::uuid))
ORDER BY f.given_at DESC, f.run_id DESC LIMIT $3
"""


class PostgresFeedback:
    """FeedbackRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def give(self, feedback: NewFeedback) -> bool:
        """Keep it, in place of earlier feedback; False: the principal has no such run."""
        given = await self._connection.fetchval(
            GIVE, feedback.run_id, feedback.given_by, feedback.rating, feedback.comment, feedback.given_at
        )
        return given is not None

    async def take_back(self, run_id: RunId, given_by: PrincipalId) -> bool:
        """Remove it, where there is any; False: the principal has no such run."""
        await self._connection.execute(TAKE_BACK, run_id, given_by)
        return bool(await self._connection.fetchval(HAS_RUN, run_id, given_by))

    async def of(self, run_id: RunId, given_by: PrincipalId) -> Feedback | None:
        """What that person gave on that run."""
        row = await self._connection.fetchrow(OF, run_id, given_by)
        return None if row is None else _feedback_of(row)

    async def listed(self, page: PageRequest) -> Sequence[Feedback]:
        """Newest first; one more than the page holds where there are more."""
        rows = await self._connection.fetch(LISTED, *page.behind, page.limit + 1)
        return [_feedback_of(row) for row in rows]


def _feedback_of(row: Row) -> Feedback:
    return Feedback(
        run_id=RunId(row["run_id"]),
        rating=row["rating"],
        comment=row["comment"],
        given_by=row["email"],
        given_at=row["given_at"],
        agent=row["agent"],
        model=row["model"],
        engagement_id=None if row["engagement_id"] is None else EngagementId(row["engagement_id"]),
    )
