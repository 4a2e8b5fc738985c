"""What evaluations need of the database."""

from typing import Protocol

from domain.evaluations.model import Evaluation


class EvaluationRepository(Protocol):
    """Evaluations of the transaction's organization."""

    async def add(self, evaluation: Evaluation) -> None: ...

    async def last_like(self, evaluation: Evaluation) -> Evaluation | None:
        """The newest of the same kind over the same set under the same conditions, but itself."""
        ...
