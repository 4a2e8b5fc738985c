"""Feedback on answers, given by hand."""

from typing import Literal
from uuid import UUID

from domain.kernel import RunId
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.work import CallContext, Handler


class FeedbackGive(Arguments):
    run_id: UUID
    rating: Literal["up", "down", "none"]
    comment: str = ""


async def feedback_give(arguments: FeedbackGive, context: CallContext) -> Json:
    """Effect  writes feedback.

    Raises  AnswerNotFound.
    """
    rating = None if arguments.rating == "none" else arguments.rating
    by, run_id = context.principal.principal_id, RunId(arguments.run_id)
    given = await context.work.feedback.give(run_id, rating, arguments.comment, by, context.now)
    if given is None:
        return {"run_id": str(run_id), "rating": "none", "comment": ""}
    return {
        "run_id": str(run_id),
        "rating": given.rating,
        "comment": given.comment,
        "given_at": given.given_at.isoformat(),
    }


FEEDBACK_GIVE = Handler(arguments=FeedbackGive, work=feedback_give)
