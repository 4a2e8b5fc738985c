"""Keeping what was measured, and finding what it is to be compared with."""

from dataclasses import dataclass

from domain.evaluations.model import Evaluation
from domain.evaluations.ports import EvaluationRepository


@dataclass(frozen=True, slots=True)
class EvaluationService:
    """Evaluations of one transaction's organization."""

    evaluations: EvaluationRepository

    async def record(self, evaluation: Evaluation) -> Evaluation | None:
        """Keeps it, and gives the last one like it; None: it is the first.

        Effect  writes evaluations.
        """
        last = await self.evaluations.last_like(evaluation)
        await self.evaluations.add(evaluation)
        return last
