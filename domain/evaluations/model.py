"""One evaluation: what was measured, under which conditions, and what came out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.kernel import CallId

EvaluationKind = Literal["retrieval", "answers"]

Figures = Mapping[str, float]
Conditions = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures of one run over a judged set; `call_id` is the call that recorded it."""

    call_id: CallId
    kind: EvaluationKind
    set_name: str
    set_digest: str
    """SHA-256 over questions and judgements, as hex: figures of two sets are never compared."""
    conditions: Conditions
    figures: Figures
    questions: Mapping[str, Figures]
    """By the question's id in the set."""
    measured_at: datetime
