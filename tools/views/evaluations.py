"""How it is shown what an evaluation measured; the single questions are left out."""

from domain.evaluations.model import Evaluation
from tools.outcomes import Json


def evaluation_json(evaluation: Evaluation) -> Json:
    """One evaluation."""
    return {
        "call_id": str(evaluation.call_id),
        "kind": evaluation.kind,
        "set_name": evaluation.set_name,
        "set_digest": evaluation.set_digest,
        "conditions": dict(evaluation.conditions),
        "figures": dict(evaluation.figures),
        "measured_at": evaluation.measured_at.isoformat(),
    }
