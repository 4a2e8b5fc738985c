"""Documents deleted, restored within their time, and purged: what is left then is the record of the calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Protocol

from domain.kernel import Audience, DomainError, EngagementId, PrincipalId
from domain.paging import Page, PageRequest, Position, page_of
from knowledge.embeddings.ports import EmbeddingStore
from knowledge.model import DocumentId
from knowledge.ports import PartRepository, SearchIndex
from knowledge.versions import VersionRepository

GRACE = timedelta(days=30)
"""How long a deleted document can be restored where nobody says otherwise."""


class NotRestorable(DomainError):
    """The document cannot be brought back, or not like this; the words say what stands in the way."""

    code: ClassVar[str] = "not_restorable"

    def __init__(self, why: str) -> None:
        super().__init__(f"document_id: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedDocument:
    """A document that is found by nobody, and can still be brought back."""

    document_id: DocumentId
    title: str
    media_type: str
    audience: Audience
    engagement_id: EngagementId | None
    size_bytes: int
    uploaded_by: PrincipalId
    uploader: str
    """An e-mail address."""
    deleted_at: datetime
    restorable_until: datetime
    deleted_with: DocumentId
    """Itself, or the one whose deletion took it along."""
    parent_is_gone: bool
    """What it lay inside of is deleted too."""

    def is_over(self, now: datetime) -> bool:
        """Whether its time to be restored is."""
        return self.restorable_until <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedQuery:
    """Which deleted documents."""

    page: PageRequest = PageRequest()
    uploaded_by: PrincipalId | None = None
    """Only this member's; None: everybody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What a purge has removed."""

    documents: int
    digests: tuple[bytes, ...]
    """Of files that no document has any more."""


class RemovalRepository(Protocol):
    """Deleted documents, as far as the transaction's principal may see them."""

    async def delete(
        self, document_ids: Collection[DocumentId], along_with: DocumentId, now: datetime, until: datetime
    ) -> None:
        """From now on seen by nobody; the rows stay until then."""
        ...

    async def find(self, document_id: DocumentId) -> DeletedDocument | None:
        """One that is deleted, held until the transaction ends; None: none is."""
        ...

    async def list(self, query: DeletedQuery, now: datetime) -> Sequence[DeletedDocument]:
        """Those that can be restored, the last deleted first; one more than the page holds where there are more."""
        ...

    async def restore(self, document_id: DocumentId, now: datetime) -> Sequence[DocumentId]:
        """Back with all that was deleted along with it; gives those that are to be indexed to be found."""
        ...

    async def purge(self, document_id: DocumentId) -> Purged:
        """Remove it, what was deleted along with it and what lies inside, with all that the database keeps of them."""
        ...

    async def forget_words(self) -> int:
        """Remove words that no passage of the organization has any more."""
        ...

    async def hurry(self, uploaded_by: PrincipalId, now: datetime) -> Sequence[DocumentId]:
        """From now on none that this member uploaded can be restored; gives those that could be."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalService:
    """Takes documents out, brings them back, and removes them for good."""

    removals: RemovalRepository
    versions: VersionRepository
    parts: PartRepository
    index: SearchIndex
    embeddings: EmbeddingStore

    async def delete(self, document_id: DocumentId, *, now: datetime, until: datetime) -> bool:
        """Takes a document out of every list, read and search at once, with its earlier versions and what lies inside.

        Rows, text, vectors and files stay where nobody sees them until their time is over. False: there is none.

        Effect  writes knowledge_documents, knowledge_chunks, knowledge_postings, knowledge_embeddings,
                knowledge_kept_vectors, knowledge_staged.
        """
        line = await self.versions.lock_line(document_id)
        own = next((each for each in line if each.document_id == document_id), None)
        if own is None:
            return False
        gone = [document_id, *(each.document_id for each in line if each.is_replaced and each.edition < own.edition)]
        for version in tuple(gone):
            gone += [part.document_id for part in await self.parts.known(version)]
        for each in gone:
            await self.embeddings.set_aside(each)
            await self.embeddings.remove(each)
            await self.index.remove(each)
            await self.versions.unstage(each)
        await self.removals.delete(gone, document_id, now, until)
        return True

    async def find(self, document_id: DocumentId) -> DeletedDocument | None:
        """One that is deleted and not purged yet, held with its names until the transaction ends."""
        await self.versions.hold_names(document_id)
        return await self.removals.find(document_id)

    async def list(self, query: DeletedQuery, now: datetime) -> Page[DeletedDocument]:
        """Those that can be restored, the last deleted first."""
        return page_of(await self.removals.list(query, now), query.page, _place)

    async def restore(self, deleted: DeletedDocument, now: datetime) -> Sequence[DocumentId]:
        """Brings a document back with all that was deleted along with it, and says which are to be indexed.

        Effect  writes knowledge_documents.
        Raises  NotRestorable.
        """
        if deleted.deleted_with != deleted.document_id:
            raise NotRestorable(f"it was deleted with document {deleted.deleted_with}; restore that one")
        if deleted.parent_is_gone:
            raise NotRestorable("the upload that it lies in is deleted; restore that first")
        if deleted.is_over(now):
            raise NotRestorable("its time to be restored is over")
        if await self.versions.is_taken(deleted.document_id):
            raise NotRestorable("another document of its name or content is there by now; delete that first")
        return await self.removals.restore(deleted.document_id, now)

    async def purge(self, document_id: DocumentId, now: datetime) -> Purged | None:
        """Removes for good what has been deleted for its time; None: none is due.

        Files that are kept outside of the database are left to whoever learns that no document has them any more.

        Effect  removes knowledge_documents, knowledge_files, knowledge_chunks, knowledge_postings, knowledge_terms,
                knowledge_embeddings, knowledge_kept_vectors, knowledge_staged, document_figures.
        """
        deleted = await self.find(document_id)
        if deleted is None or not deleted.is_over(now):
            return None
        removed = await self.removals.purge(document_id)
        await self.removals.forget_words()
        return removed

    async def hurry(self, uploaded_by: PrincipalId, now: datetime) -> Sequence[DocumentId]:
        """Lets what a member uploaded and somebody deleted be purged now, and gives it.

        Effect  writes knowledge_documents.
        """
        return await self.removals.hurry(uploaded_by, now)


def _place(deleted: DeletedDocument) -> Position:
    return Position(time=deleted.deleted_at, id=deleted.document_id)
