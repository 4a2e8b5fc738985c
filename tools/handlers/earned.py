"""Autonomy earned from the record: reviewed in the background, and raised by a PARTNER's own hand alone."""

from uuid import UUID

from domain.earned.model import ProposalAnswer, ProposalId, Reviewed
from domain.earned.service import Review
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views.earned import proposal_json
from tools.work import CallContext, Handler, Job


class AutonomyReview(Arguments):
    tool: str | None = None


class AutonomyProposalDecide(Arguments):
    proposal_id: UUID
    decision: ProposalAnswer
    comment: str | None = None


async def autonomy_review(arguments: AutonomyReview, context: CallContext) -> Json:
    """Effect  writes autonomy_calls, autonomy_records, autonomy_progress, autonomy_proposals, autonomy_settings."""
    reviewed = await context.work.earned.review(_review(context), arguments.tool)
    if reviewed.more:
        organization_id = context.principal.organization_id
        context.jobs.append(Job(kind="autonomy_review", organization_id=organization_id, subject_id=organization_id))
    return _reviewed_json(reviewed)


async def autonomy_proposal_decide(arguments: AutonomyProposalDecide, context: CallContext) -> Json:
    """Effect  writes autonomy_proposals, autonomy_settings.

    Raises  ProposalNotFound, ProposalDecided, ProposalOutdated.
    """
    proposal_id = ProposalId(arguments.proposal_id)
    earned = context.work.earned
    proposal = await earned.decide(proposal_id, arguments.decision, arguments.comment, _review(context))
    return {"proposal": proposal_json(proposal)}


def _review(context: CallContext) -> Review:
    return Review(by=context.principal.principal_id, now=context.now, new_id=context.new_id)


def _reviewed_json(reviewed: Reviewed) -> Json:
    return {
        "through": reviewed.through,
        "more": reviewed.more,
        "reversed": [{"call_id": str(call_id), "by": str(by)} for call_id, by in reviewed.reversed],
        "lowered": [{"tool": tool, "level": level.name} for tool, level in reviewed.lowered],
        "proposed": [str(each) for each in reviewed.proposed],
        "withdrawn": [str(each) for each in reviewed.withdrawn],
    }


AUTONOMY_REVIEW = Handler(arguments=AutonomyReview, work=autonomy_review)
AUTONOMY_PROPOSAL_DECIDE = Handler(arguments=AutonomyProposalDecide, work=autonomy_proposal_decide)
