"""What is needed of an embedding server and of the place where vectors are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from knowledge.embeddings.model import Embedded, PendingChunk, Space, TokensUsed
from knowledge.model import DocumentId


class Embedder(Protocol):
    """A model that turns texts into vectors; a double stands beside the real one in the tests.

    `used`: what was used on the way is added to it, also where it ends in an exception; None: nobody reckons it up.
    """

    @property
    def model(self) -> str:
        """Its name, as the settings give it."""
        ...

    async def space(self, used: TokensUsed | None = None) -> Space:
        """The space its vectors lie in; asks the server where that is not known yet.

        Raises  EmbeddingsUnavailable, EmbeddingsRefused.
        """
        ...

    async def embed(self, texts: Sequence[str], used: TokensUsed | None = None) -> Sequence[tuple[float, ...] | None]:
        """One vector a text, in their order; None: the server refuses this text, and takes others.

        Raises  EmbeddingsUnavailable, EmbeddingsRefused.
        """
        ...

    async def embed_question(self, text: str, used: TokensUsed | None = None) -> tuple[float, ...]:
        """The vector of one text, for which no other texts are waited.

        Raises  EmbeddingsUnavailable, EmbeddingsRefused.
        """
        ...


class EmbeddingStore(Protocol):
    """The vectors that the transaction's principal may see."""

    async def pending(self, document_id: DocumentId, model_id: str, limit: int) -> Sequence[PendingChunk]:
        """Passages of the document without a vector of this model, in their order, at most `limit`."""
        ...

    async def add(self, embedded: Embedded) -> int:
        """Keep the vectors of the passages that are still there, and say how many were new."""
        ...

    async def reuse(self, document_id: DocumentId) -> int:
        """Give the document's passages the vectors that the same texts have already, and say how many were new."""
        ...

    async def known(self, model_id: str, digests: Collection[bytes]) -> Collection[bytes]:
        """Of these texts, by their SHA-256, those that have a vector of this model."""
        ...

    async def keep(self, document_id: DocumentId, model_id: str, vectors: Mapping[bytes, Sequence[float]]) -> None:
        """Keep vectors by the SHA-256 of their texts, for passages that are not found yet."""
        ...

    async def set_aside(self, document_id: DocumentId) -> None:
        """Keep the vectors of the document's passages beside, before they are removed."""
        ...

    async def forget(self, document_id: DocumentId) -> None:
        """Keep none of the document's vectors beside."""
        ...

    async def has_any(self, model_id: str) -> bool:
        """Whether any passage has a vector of this model."""
        ...

    async def remove(self, document_id: DocumentId) -> None:
        """Keep none of the document's vectors, of whatever model."""
        ...
