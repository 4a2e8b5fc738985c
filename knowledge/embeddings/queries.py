"""The vectors of questions: kept for some minutes, so that a repeated one costs no request, and given up on quickly."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from domain.kernel import OrganizationId
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable, TokensUsed, Vector
from knowledge.embeddings.ports import Embedder

MOST_KEPT: Final = 1_000
KEPT_S: Final = 600.0
PATIENCE_S: Final = 5.0
"""How long a question waits for its vector; then its words alone are searched."""
REST_S: Final = 15.0
"""How long no question asks again once the server did not answer one."""


class QueryVectors:
    """Asks an embedder for questions; an organization's are kept apart, so that no timing tells of another's."""

    def __init__(self, embedder: Embedder, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._embedder = embedder
        self._monotonic = monotonic
        self._kept: OrderedDict[tuple[OrganizationId, str], tuple[float, Vector]] = OrderedDict()
        self._away_until = 0.0

    @property
    def model(self) -> str:
        """The embedder's."""
        return self._embedder.model

    async def vector(self, organization_id: OrganizationId, question: str, used: TokensUsed | None = None) -> Vector:
        """Where a question lies; nothing is added to `used` where that is still known.

        Raises  EmbeddingsUnavailable: also at once, for a while after the server did not answer. EmbeddingsRefused.
        """
        key = (organization_id, question)
        if (found := self._find(key)) is not None:
            return found
        if self._monotonic() < self._away_until:
            raise EmbeddingsUnavailable("it did not answer a moment ago")
        try:
            async with asyncio.timeout(PATIENCE_S):
                vector = await self._asked(question, used)
        except (TimeoutError, EmbeddingsUnavailable, EmbeddingsRefused) as fault:
            # A question that the server will not have says nothing of anybody's next.
            if not (isinstance(fault, EmbeddingsRefused) and fault.of_texts):
                self._away_until = self._monotonic() + REST_S
            if isinstance(fault, TimeoutError):
                raise EmbeddingsUnavailable("it took too long") from fault
            raise
        self._keep(key, vector)
        return vector

    async def _asked(self, question: str, used: TokensUsed | None) -> Vector:
        values = await self._embedder.embed_question(question, used)
        return Vector(space=await self._embedder.space(used), values=values)

    def _find(self, key: tuple[OrganizationId, str]) -> Vector | None:
        until, vector = self._kept.get(key, (0.0, None))
        if vector is None or until < self._monotonic():
            return None
        self._kept.move_to_end(key)
        return vector

    def _keep(self, key: tuple[OrganizationId, str], vector: Vector) -> None:
        self._kept[key] = (self._monotonic() + KEPT_S, vector)
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
