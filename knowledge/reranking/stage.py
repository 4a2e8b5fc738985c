"""The second stage as a search has it: within its time or not at all, and left alone for a while when it failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from knowledge.embeddings.model import TokensUsed
from knowledge.model import Candidate, Reranking
from knowledge.reranking.model import Reranker, RerankFailed, RerankRules

REST_S: Final = 15.0
"""How long no search asks again once it got no scores."""


class SecondStage:
    """Asks a reranker about the first passages of a search; never raises, since a search has its order without."""

    def __init__(
        self,
        reranker: Reranker,
        rules: Callable[[], RerankRules] = RerankRules,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rules` is asked at each search: the operator may change them meanwhile."""
        self._reranker = reranker
        self._rules = rules
        self._monotonic = monotonic
        self._away_until = 0.0

    @property
    def model(self) -> str:
        """The reranker's."""
        return self._reranker.model

    @property
    def candidates(self) -> int:
        """Passages that it is asked about now; 0: none."""
        return self._rules().candidates

    def without(self, reason: str) -> Reranking:
        """What a search says that has no scores."""
        return Reranking(model=self.model, failure=reason)

    @property
    def is_resting(self) -> bool:
        """Whether it failed a moment ago."""
        return self._monotonic() < self._away_until

    async def reranking(self, question: str, candidates: Sequence[Candidate], used: TokensUsed) -> Reranking:
        """Its scores, or why there are none."""
        if not candidates:
            return Reranking(model=self.model)
        try:
            async with asyncio.timeout(self._rules().timeout_s):
                scores = await self._reranker.scores(question, [each.text for each in candidates], used)
        except TimeoutError:
            return self._failed("it took too long")
        except RerankFailed as failed:
            return self._failed(failed.reason)
        by_chunk = {each.chunk_id: score for each, score in zip(candidates, scores, strict=True)}
        return Reranking(model=self.model, scores=by_chunk)

    def _failed(self, reason: str) -> Reranking:
        self._away_until = self._monotonic() + REST_S
        return self.without(reason)
