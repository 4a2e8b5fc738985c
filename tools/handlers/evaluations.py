"""What was measured against a judged set, kept and compared; step 7 of the path of a call."""

from typing import Literal

from domain.evaluations.model import Evaluation
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views.evaluations import evaluation_json
from tools.views.values import given
from tools.work import CallContext, Handler


class EvaluationRecord(Arguments):
    kind: Literal["retrieval", "answers"]
    set_name: str
    set_digest: str
    conditions: dict[str, str | int]
    figures: dict[str, float]
    questions: dict[str, dict[str, float]]


async def evaluation_record(arguments: EvaluationRecord, context: CallContext) -> Json:
    """Effect  writes evaluations."""
    evaluation = Evaluation(
        call_id=context.call_id,
        kind=arguments.kind,
        set_name=arguments.set_name,
        set_digest=arguments.set_digest,
        conditions=arguments.conditions,
        figures=arguments.figures,
        questions=arguments.questions,
        measured_at=context.now,
    )
    last = await context.work.evaluations.record(evaluation)
    return {
        "evaluation": evaluation_json(evaluation),
        **given(last=None if last is None else evaluation_json(last)),
    }


EVALUATION_RECORD = Handler(arguments=EvaluationRecord, work=evaluation_record)
