"""How earned autonomy is shown: the record of each tool, and proposals with their evidence."""

import orjson

from domain.earned.model import Progress, Proposal, ToolRecord
from tools.outcomes import Json
from tools.views.values import given, time_text


def record_json(record: ToolRecord) -> Json:
    """What the record comes to for one tool."""
    tally = record.tally
    return {
        "tool": record.tool,
        "effect": record.effect,
        "approved": tally.approved,
        "rejected": tally.rejected,
        "failed": tally.failed,
        "reversed": tally.reversed,
        "bound": tally.bound,
    }


def records_json(records: tuple[ToolRecord, ...], progress: Progress) -> Json:
    """Every tool's record, with how many events it is counted from."""
    return {
        "items": [record_json(record) for record in records],
        "through": progress.through,
        **given(reviewed_at=time_text(progress.reviewed_at)),
    }


def proposal_json(proposal: Proposal) -> Json:
    """One proposal, with its evidence as it was when it was made."""
    return {
        "proposal_id": str(proposal.proposal_id),
        "tool": proposal.tool,
        "from_level": proposal.from_level.name,
        "to_level": proposal.to_level.name,
        "state": proposal.state,
        "evidence": orjson.loads(proposal.evidence),
        "through": proposal.through,
        "proposed_at": proposal.proposed_at.isoformat(),
        **given(
            decided_by=proposal.decided_by,
            decided_at=None if proposal.state == "withdrawn" else time_text(proposal.decided_at),
            comment=proposal.comment,
        ),
    }
