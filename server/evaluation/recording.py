"""Keeps what was measured, by a call, and lays it beside what was measured the last time."""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.evaluations.model import Conditions, EvaluationKind, Figures
from domain.kernel import CallId, Principal, Role
from knowledge.evaluation.judged import JudgedSet
from server.hub import Hub
from tools.outcomes import CallOutcome, CallRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came out, before it is kept."""

    kind: EvaluationKind
    judged: JudgedSet
    conditions: Conditions
    figures: Figures
    questions: Mapping[str, Figures]


async def record(hub: Hub, principal: Principal, role: Role, measured: Measured) -> CallOutcome:
    """The call's outcome; its result has the evaluation, and the last one like it.

    The role is a condition too: who may see less finds less.
    """
    arguments: dict[str, object] = {
        "kind": measured.kind,
        "set_name": measured.judged.name[:200],
        "set_digest": measured.judged.digest,
        "conditions": {**measured.conditions, "role": str(role)},
        "figures": dict(measured.figures),
        "questions": {name: dict(figures) for name, figures in measured.questions.items()},
    }
    request = CallRequest(call_id=CallId(hub.new_id()), tool="evaluation_record", arguments=arguments)
    return await hub.gate.call(request, principal)
