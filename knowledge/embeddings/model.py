"""A model's space of vectors, a vector in it, and why there may be none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from domain.kernel import DomainError
from knowledge.model import ChunkId

KNOWN_DIMENSIONS: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
"""Of OpenAI's own models; what another model gives is learned from its first answer."""

MOST_DIMENSIONS: Final = 4000
"""What an HNSW index over halfvec takes.  Source  pgvector's README."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The vectors of one model, which are comparable with one another and with no other's.

    Shape   model_id: the model's name; where the name alone does not settle how many numbers its vectors have, that
            follows it ("bge-m3@1024"), so that two servers behind one name cannot be mixed.
    """

    model_id: str
    dimensions: int


def known_space(model: str) -> Space | None:
    """The space of a model whose dimensions are known without asking; None: ask."""
    dimensions = KNOWN_DIMENSIONS.get(model)
    return None if dimensions is None else Space(model_id=model, dimensions=dimensions)


def learned_space(model: str, dimensions: int) -> Space:
    """The space of any other model, by what it answered."""
    return Space(model_id=f"{model}@{dimensions}", dimensions=dimensions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """How a model's order is fused with that by words, where the operator does not say.

    Units   weight: what it counts, where words count 1. constant: what is added to each place before it is divided by;
            the smaller, the more the first places count beside those behind them.
    """

    weight: float = 1.0
    constant: float = 60.0


UNMEASURED: Final = Fusion()
"""Of models that nobody has measured here: as much as words.  Source  Cormack, Clarke and Buettcher, SIGIR 2009: 60."""
MEASURED: Final = {"wordllama-l2-supercat@256": Fusion(weight=0.15, constant=2.0)}
"""By a model's id.  Source  `glow eval weights` over judged sets (docs/evaluation.md)."""


def fusion_of(space: Space) -> Fusion:
    """What was measured of a model, else what is usual."""
    return MEASURED.get(space.model_id, UNMEASURED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """Where a text lies in a space; of length 1."""

    space: Space
    values: tuple[float, ...]


def unit(values: Sequence[float]) -> tuple[float, ...] | None:
    """The same direction with length 1, which half precision holds well; None: it has none, or is not finite."""
    length = math.hypot(*values)
    return tuple(value / length for value in values) if 0 < length < math.inf else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingChunk:
    """A passage that has no vector yet, and what is embedded of it: the title and headings above it, and its text."""

    chunk_id: ChunkId
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Vectors for some passages of one document."""

    space: Space
    chunk_ids: tuple[ChunkId, ...]
    vectors: tuple[tuple[float, ...], ...]
    refused: int = 0
    """Passages beside these that the server would not embed."""


@dataclass(slots=True, kw_only=True)
class TokensUsed:
    """What an embedding server has read for one asker, by its own word."""

    told: int = 0
    untold: int = 0
    """Requests that it may have worked on, and of which it told no tokens."""


class EmbeddingsUnavailable(DomainError):
    """The embedding server is away or busy: the same may succeed later."""

    code: ClassVar[str] = "embeddings_unavailable"

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"The embedding server does not answer now: {reason}.")
        self.reason = reason
        self.retry_after_s = retry_after_s


class EmbeddingsRefused(DomainError):
    """The embedding server will not give what is asked for, however often it is asked; `reason` is for people."""

    code: ClassVar[str] = "embeddings_refused"

    def __init__(self, reason: str, *, of_texts: bool = False) -> None:
        """`of_texts`: these texts were refused, or so many of them at once; others may be taken."""
        super().__init__(f"The embedding server gave no vectors: {reason}.")
        self.reason = reason
        self.of_texts = of_texts
