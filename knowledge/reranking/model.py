"""What a second stage says of a search's first passages, and why it may say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from domain.kernel import DomainError
from knowledge.embeddings.model import TokensUsed


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRules:
    """How far the second stage goes, as the operator says.

    Units   timeout_s: seconds that a search waits for it. candidates: passages; 0: it is not asked.
    """

    candidates: int = 30
    timeout_s: float = 1.5


class RerankFailed(DomainError):
    """There are no scores; `reason` is for people, and names no address and no key."""

    code: ClassVar[str] = "rerank_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The rerank server gave no scores: {reason}.")
        self.reason = reason


class Reranker(Protocol):
    """A model that reads a question together with each passage, and says how well the one answers the other."""

    @property
    def model(self) -> str:
        """Its name, as the settings give it."""
        ...

    async def scores(self, question: str, texts: Sequence[str], used: TokensUsed) -> Sequence[float]:
        """A score for each text, in their order; a higher one answers better, and that is all it says.

        Raises  RerankFailed.
        """
        ...
