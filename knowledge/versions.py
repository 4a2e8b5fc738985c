"""Versions of a document: the next is prepared beside the one that is found, and put in its place at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from domain.kernel import NewId, PrincipalId, Trust
from knowledge.embeddings.ports import EmbeddingStore
from knowledge.model import DocumentId, NewDocument, chunk_ids
from knowledge.ports import DocumentRepository, SearchIndex
from knowledge.prepare import PreparedDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class Namesake:
    """The newest document of a name, or one with the same content."""

    document_id: DocumentId
    line_id: DocumentId
    """The first version."""
    edition: int
    uploaded_by: PrincipalId
    content_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One document of a line."""

    document_id: DocumentId
    edition: int
    has_text: bool
    is_replaced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What was prepared of a document and is not found yet, as it crosses between processes."""

    title: str
    prepared: bytes
    waited: timedelta
    """Since it was prepared, or since the last of its vectors came."""
    is_new: bool
    """Nothing is found of the document itself yet: an earlier version is, or it is prepared for the first time."""


class VersionRepository(Protocol):
    """Lines of versions, and what is staged of them."""

    async def named(self, new: NewDocument, uri: str) -> Namesake | None:
        """The newest document of this name in the same place, its name held until the transaction ends; None: none."""
        ...

    async def alike(self, new: NewDocument, digest: bytes) -> Namesake | None:
        """A document of the same title and content in the same place, neither failed nor replaced."""
        ...

    async def hold_names(self, document_id: DocumentId) -> None:
        """Hold names and contents of all versions of the document's line, deleted ones too, until the transaction ends.

        Before any of their rows: whoever uploads holds a name first, too.
        """
        ...

    async def is_taken(self, document_id: DocumentId, trust: Trust | None = None) -> bool:
        """Whether another document has its name, or its title and content, in the same place, once both are held.

        `trust`: as if it were trusted like that.
        """
        ...

    async def join(self, document_id: DocumentId, earlier: Namesake) -> None:
        """Make the document the next version of an earlier one."""
        ...

    async def parts(self, document_ids: Sequence[DocumentId]) -> Sequence[DocumentId]:
        """The documents that came inside of these, held until the transaction ends."""
        ...

    async def lock_line(self, document_id: DocumentId) -> Sequence[Version]:
        """All versions of the document's line, in their order, held until the transaction ends; empty: none."""
        ...

    async def stage(self, document_id: DocumentId, prepared: bytes, of: PreparedDocument, now: datetime) -> None:
        """Keep what was prepared, in place of what was before."""
        ...

    async def staged(self, document_id: DocumentId) -> Staged | None:
        """What is staged of it."""
        ...

    async def count(self, document_id: DocumentId, embedded: int, now: datetime) -> None:
        """So many of the staged passages have their vectors; from now on it waits for the others."""
        ...

    async def unstage(self, document_id: DocumentId) -> None:
        """Keep nothing staged of it."""
        ...

    async def replace(self, document_ids: Sequence[DocumentId], by: DocumentId, now: datetime) -> None:
        """From now on another is found in their stead."""
        ...

    async def prepared_as(self, document_id: DocumentId, prepared_as: str) -> None:
        """What is found of it counts as prepared like this."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionService:
    """Takes the next version in, and switches to it."""

    documents: DocumentRepository
    index: SearchIndex
    embeddings: EmbeddingStore
    versions: VersionRepository

    async def earlier(self, new: NewDocument, uri: str) -> Namesake | None:
        """What is there already of a document's name, or without one of its title and content; its name is held."""
        if uri:
            return await self.versions.named(new, uri)
        return await self.versions.alike(new, new.content_sha256)

    async def stands_alone(self, document_id: DocumentId) -> bool:
        """Whether nothing is found that the document would take the place of."""
        line = await self.versions.lock_line(document_id)
        return not any(each.has_text or each.document_id != document_id for each in line)

    async def stage(self, document_id: DocumentId, prepared: PreparedDocument, sent: bytes, *, now: datetime) -> None:
        """Keep what was prepared until it has its vectors; what is found stays found.

        Effect  writes knowledge_staged, knowledge_documents.
        """
        own = _own(await self.versions.lock_line(document_id), document_id)
        if own is None:
            return
        await self.versions.stage(document_id, sent, prepared, now)
        if not own.has_text:
            await self.documents.embedding(document_id, now)

    async def known(self, model_id: str, digests: Collection[bytes]) -> frozenset[bytes]:
        """Of these texts, by their SHA-256, those whose vectors the organization has already."""
        return frozenset(await self.embeddings.known(model_id, digests))

    async def keep(
        self,
        document_id: DocumentId,
        model_id: str,
        vectors: Mapping[bytes, Sequence[float]],
        embedded: int,
        *,
        now: datetime,
    ) -> None:
        """Keep vectors of staged passages, by the SHA-256 of what was embedded; `embedded`: of how many by now.

        Effect  writes knowledge_kept_vectors, knowledge_staged.
        """
        await self.embeddings.keep(document_id, model_id, vectors)
        await self.versions.count(document_id, embedded, now)

    async def publish(
        self,
        document_id: DocumentId,
        prepared: PreparedDocument,
        model_id: str | None,
        failure: str | None,
        *,
        new_id: NewId,
        now: datetime,
        then: Literal["embedding", "ready"] = "ready",
    ) -> None:
        """Find the document by what was prepared of it, in place of what was found of it and of earlier versions.

        A version that is ready only after a later one is kept to be read, and found by nobody. `then`: `embedding`
        where vectors are still waited for.

        Effect  writes knowledge_documents, knowledge_chunks, knowledge_terms, knowledge_postings, knowledge_embeddings,
                knowledge_kept_vectors, knowledge_staged.
        """
        line = await self.versions.lock_line(document_id)
        own = _own(line, document_id)
        if own is None:
            return
        await self.embeddings.set_aside(document_id)
        await self._remove(document_id)
        later = [each for each in line if each.edition > own.edition and each.has_text and not each.is_replaced]
        await self.documents.finish(document_id, prepared, "ready", now)
        if later:
            await self.versions.replace([document_id], later[-1].document_id, now)
        else:
            await self.index.write(document_id, prepared, chunk_ids(len(prepared.chunks), new_id, now))
            await self.embeddings.reuse(document_id)
            await self._replace_earlier(line, own, now)
        await self.versions.unstage(document_id)
        if not later:
            await self.embeddings.forget(document_id)
        await self.documents.embedded(document_id, model_id, failure, now)
        if then == "embedding" and not later:
            await self.documents.embedding(document_id, now)

    async def start_anew(self, document_id: DocumentId, *, now: datetime) -> None:
        """Forgets what was staged, which is then prepared again.

        Effect  writes knowledge_staged, knowledge_kept_vectors, knowledge_documents.
        """
        own = _own(await self.versions.lock_line(document_id), document_id)
        await self.versions.unstage(document_id)
        if own is not None and not own.has_text:
            await self.documents.queue(document_id, now)

    async def keep_as_it_is(self, document_id: DocumentId, prepared_as: str) -> bool:
        """Leaves what is found of a document that cannot be read anew; False: nothing is found of it.

        Effect  writes knowledge_documents.
        """
        own = _own(await self.versions.lock_line(document_id), document_id)
        if own is None or not own.has_text:
            return False
        await self.versions.prepared_as(document_id, prepared_as)
        return True

    async def _replace_earlier(self, line: Sequence[Version], own: Version, now: datetime) -> None:
        earlier = [each.document_id for each in line if each.edition < own.edition and not each.is_replaced]
        earlier += await self.versions.parts(earlier)
        for document_id in earlier:
            await self.embeddings.set_aside(document_id)
            await self._remove(document_id)
            await self.versions.unstage(document_id)
        await self.versions.replace(earlier, own.document_id, now)

    async def _remove(self, document_id: DocumentId) -> None:
        await self.embeddings.remove(document_id)
        await self.index.remove(document_id)


def _own(line: Sequence[Version], document_id: DocumentId) -> Version | None:
    return next((each for each in line if each.document_id == document_id), None)
