"""Searches, reads, takes in, indexes and deletes documents: step 7 of the path, below its handlers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import ClassVar, Literal

from domain.kernel import DomainError, NewId, NotFound
from domain.paging import Page, Position, page_of
from knowledge.embeddings.model import Embedded, PendingChunk, Vector
from knowledge.embeddings.ports import EmbeddingStore
from knowledge.model import (
    Candidate,
    Document,
    DocumentId,
    DocumentQuery,
    DocumentStatus,
    DocumentText,
    NewDocument,
    Reranking,
    SearchQuery,
    SearchResult,
    StoredFile,
    StoredRange,
    TextMap,
    TextRange,
    chunk_ids,
)
from knowledge.parse.decode import name_words, storable
from knowledge.parse.document import MAIL, Part, is_of_mail
from knowledge.ports import DocumentRepository, FileStore, PartRepository, SearchIndex
from knowledge.prepare import PreparedDocument
from knowledge.reanalysis import AnalysedDocument, StoredPassages
from knowledge.removal import GRACE, RemovalService
from knowledge.searching import KnowledgeSearch
from knowledge.trust import TrustService
from knowledge.versions import VersionService

TITLE_LENGTH = 300
READABLE: frozenset[DocumentStatus] = frozenset({"embedding", "ready"})
"""Its text stands, and its words find it."""
READ_LIMIT = 20_000
"""Characters that one read gives at most: about what a model takes in at once beside a conversation."""


class DocumentNotFound(NotFound):
    """No such document that this principal may see."""

    code: ClassVar[str] = "document_not_found"

    def __init__(self, document_id: DocumentId) -> None:
        super().__init__(f"document_id: no document {document_id}")
        self.document_id = document_id


class DocumentNotReady(DomainError):
    """The document has no text yet, or could not be read."""

    code: ClassVar[str] = "document_not_ready"

    def __init__(self, document_id: DocumentId, status: DocumentStatus) -> None:
        super().__init__(f"document_id: the document has no text to read, it is {status}")
        self.document_id = document_id
        self.status = status


class NoSuchPart(DomainError):
    """The page or range lies outside the document, or is both or neither at once."""

    code: ClassVar[str] = "no_such_part"


class NotYourVersion(DomainError):
    """Somebody else's document has this name, and it takes a MANAGER to replace it."""

    code: ClassVar[str] = "not_your_document"

    def __init__(self) -> None:
        super().__init__("uri: somebody else uploaded the document of this name; it takes a MANAGER to replace it")


@dataclass(frozen=True, slots=True)
class KnowledgeService:
    """The documents of one organization, as far as the principal may see them."""

    documents: DocumentRepository
    index: SearchIndex
    files: FileStore
    embeddings: EmbeddingStore
    parts: PartRepository
    versions: VersionService
    removals: RemovalService
    trust: TrustService

    async def search(
        self, query: SearchQuery, vector: Vector | None = None, reranking: Reranking | None = None
    ) -> SearchResult:
        """The passages that answer a question, best first. `vector`: where the question lies; None: nobody knows.

        Shape   `hybrid` is answered as `lexical` where nothing that the filters leave can be compared by meaning, and
                the result says so; a search by words finds nothing where the question holds only common ones.
                Phrases and filters in the question are understood (docs/search.md). Near-duplicates are folded, and
                neighbours joined. `reranking`: what a second stage said of the first; it orders what is found, and
                shows nothing that is not.
        Raises  NoEmbeddings; InvalidLimit; InvalidFilter.
        """
        return await KnowledgeSearch(self.documents, self.index, self.embeddings).search(query, vector, reranking)

    async def candidates(self, query: SearchQuery, vector: Vector | None, most: int) -> Sequence[Candidate]:
        """The first passages of a search, for a second stage to read; near-duplicates folded, neighbours apart.

        Raises  as `search`.
        """
        return await KnowledgeSearch(self.documents, self.index, self.embeddings).candidates(query, vector, most)

    async def read(self, document_id: DocumentId, part: TextRange) -> DocumentText:
        """A page, or a range of characters, of a document's text; at most 20,000 characters at once.

        Raises  DocumentNotFound, DocumentNotReady, NoSuchPart.
        """
        found = await self.documents.text_map(document_id)
        if found is None:
            raise DocumentNotFound(document_id)
        if found.status not in READABLE:
            raise DocumentNotReady(document_id, found.status)
        start, end = _bounds(part, found)
        return DocumentText(
            document_id=document_id,
            title=found.title,
            uri=found.uri,
            trust=found.trust,
            audience=found.audience,
            engagement_id=found.engagement_id,
            text=await self.documents.text(document_id, start, end),
            start=start,
            end=end,
            length=found.length,
            page=_page_at(found, start),
            page_count=len(found.page_starts) or None,
        )

    async def ranges(self, wanted: Sequence[tuple[DocumentId, int, int]]) -> Sequence[StoredRange | None]:
        """What stands in each of these ranges of characters; None: no such document."""
        return await self.documents.ranges(wanted)

    async def page_starts(self, document_id: DocumentId) -> tuple[int, ...]:
        """Where the pages of a document's text begin; empty where it has none."""
        found = await self.documents.text_map(document_id)
        return () if found is None else found.page_starts

    async def list(self, query: DocumentQuery) -> Page[Document]:
        """A page of documents, newest first."""
        return page_of(await self.documents.list(query), query.page, _place)

    async def get(self, document_id: DocumentId) -> Document:
        """One document, without its text.

        Raises  DocumentNotFound.
        """
        document = await self.documents.get(document_id)
        if document is None:
            raise DocumentNotFound(document_id)
        return document

    async def file(self, document_id: DocumentId) -> StoredFile:
        """The original bytes.

        Raises  DocumentNotFound.
        """
        document = await self.get(document_id)
        content = await self.files.get(document_id)
        if content is None:
            raise DocumentNotFound(document_id)
        return StoredFile(
            title=document.title,
            media_type=document.media_type,
            content=content,
            is_part=document.parent_id is not None,
            language=await self.documents.language_said(document_id),
        )

    async def add(self, new: NewDocument, *, may_replace: bool = True) -> Document:
        """A new document, queued to be indexed: of a name that is there already its next version.

        Shape   another document's id says that the same content was there already, and nothing was stored.
                `may_replace`: also what somebody else uploaded.
        Effect  writes knowledge_documents, knowledge_files.
        Raises  NotYourVersion.
        """
        new = replace(new, title=document_title(new.title, None))
        named = storable(new.uri or "")
        earlier = await self.versions.earlier(new, named)
        if earlier is not None and earlier.content_sha256 == new.content_sha256:
            return await self.get(earlier.document_id)
        if earlier is not None and not may_replace and earlier.uploaded_by != new.uploaded_by:
            raise NotYourVersion
        uri = named or _content_uri(new.document_id)
        await self.documents.add(new, uri=uri)
        if earlier is not None:
            await self.versions.versions.join(new.document_id, earlier)
        await self.files.put(new.document_id, new.content)
        return await self.get(new.document_id)

    async def store(
        self,
        document_id: DocumentId,
        prepared: PreparedDocument,
        *,
        new_id: NewId,
        now: datetime,
        then: Literal["embedding", "ready"] = "ready",
    ) -> Document:
        """Makes a prepared document ready to be found by its words, in place of what was indexed of it before.

        Effect  writes knowledge_documents, knowledge_chunks, knowledge_terms, knowledge_postings, knowledge_embeddings,
                knowledge_kept_vectors.
        Raises  DocumentNotFound: none, or deleted meanwhile.
        """
        if not await self.documents.lock(document_id):
            raise DocumentNotFound(document_id)
        await self._remove(document_id)
        await self.index.write(document_id, prepared, chunk_ids(len(prepared.chunks), new_id, now))
        await self.embeddings.reuse(document_id)
        await self.embeddings.forget(document_id)
        await self.documents.finish(document_id, prepared, then, now)
        await self.parts.note(document_id, prepared.note)
        return await self.get(document_id)

    async def keep_parts(
        self, document_id: DocumentId, parts: Sequence[Part], *, new_id: NewId, now: datetime
    ) -> list[DocumentId]:
        """Makes documents of the files inside of one, and says which are new and wait to be indexed.

        A file that lay in the same place before stays the document that it is; those of files that have
        gone are deleted.

        Effect  writes knowledge_documents, knowledge_files, knowledge_chunks, knowledge_postings, knowledge_embeddings,
                knowledge_kept_vectors, knowledge_staged.
        """
        known = {(each.path, each.content_sha256): each.document_id for each in await self.parts.known(document_id)}
        added: list[DocumentId] = []
        messages = frozenset(part.path for part in parts if part.media_type in MAIL)
        await self.files.hold([sha256(part.content).digest() for part in parts])
        for part in parts:
            if known.pop((part.path, sha256(part.content).digest()), None) is None:
                part_id = DocumentId(new_id())
                of_mail = is_of_mail(part.path, part.media_type, messages)
                uri = _content_uri(part_id)
                await self.parts.add(document_id, part_id, part, of_mail=of_mail, uri=uri, now=now)
                await self.files.put(part_id, part.content)
                added.append(part_id)
        for gone in known.values():
            await self.delete(gone, now=now)
        return added

    async def passages(self, document_id: DocumentId) -> StoredPassages:
        """All passages of a document, to be analysed again.

        Raises  DocumentNotFound.
        """
        stored = await self.documents.passages(document_id)
        if stored is None:
            raise DocumentNotFound(document_id)
        return stored

    async def reanalyse(self, document_id: DocumentId, analysed: AnalysedDocument) -> Document:
        """Lets a document be found by the terms of today, all at once; one that was indexed anew meanwhile has them.

        Effect  writes knowledge_documents, knowledge_chunks, knowledge_terms, knowledge_postings.
        Raises  DocumentNotFound: none, or deleted meanwhile.
        """
        if not await self.documents.lock(document_id):
            raise DocumentNotFound(document_id)
        if await self.index.rewrite(document_id, analysed.passages):
            await self.documents.analysed(document_id, analysed)
        return await self.get(document_id)

    async def unembedded(self, document_id: DocumentId, model_id: str, limit: int) -> list[PendingChunk]:
        """Passages of a document that have no vector of this model yet, at most `limit`; none of one that is gone."""
        return list(await self.embeddings.pending(document_id, model_id, limit))

    async def embed(self, document_id: DocumentId, embedded: Embedded, *, now: datetime) -> tuple[int, Document]:
        """Keeps vectors, and says how many were new; the document is ready once none of its passages lacks one.

        Those that the server refuses are left to be found by their words, once nothing but them is left.

        Effect  writes knowledge_embeddings, knowledge_documents.
        Raises  DocumentNotFound: none, or deleted meanwhile. DocumentNotReady: it has no passages.
        """
        await self._lock_readable(document_id)
        written = await self.embeddings.add(embedded) + await self.embeddings.reuse(document_id)
        left = await self.embeddings.pending(document_id, embedded.space.model_id, 1)
        only_refused = embedded.refused > 0 and not embedded.chunk_ids
        if left and not only_refused:
            await self.documents.embedding(document_id, now)
        else:
            failure = f"The embedding server refuses {embedded.refused} of its passages: they are found by their words."
            model_id = embedded.space.model_id
            await self.documents.embedded(document_id, model_id, failure if left else None, now)
        return written, await self.get(document_id)

    async def give_up_embedding(
        self, document_id: DocumentId, model_id: str | None, reason: str | None, *, now: datetime
    ) -> Document:
        """Leaves a document to be found by its words alone; `reason` is shown to people, None where nobody asked.

        Effect  writes knowledge_documents.
        Raises  DocumentNotFound, DocumentNotReady.
        """
        await self._lock_readable(document_id)
        failure = None if reason is None else f"It is found by its words, and not by their meaning: {reason}."
        await self.documents.embedded(document_id, model_id, failure, now)
        return await self.get(document_id)

    async def fail(self, document_id: DocumentId, reason: str, *, now: datetime) -> Document:
        """Marks a document that could not be read; `reason` is shown to people.

        Effect  writes knowledge_documents, knowledge_chunks, knowledge_postings, knowledge_embeddings.
        Raises  DocumentNotFound.
        """
        if not await self.documents.lock(document_id):
            raise DocumentNotFound(document_id)
        await self._remove(document_id)
        await self.documents.fail(document_id, reason, now)
        return await self.get(document_id)

    async def delete(self, document_id: DocumentId, *, now: datetime, until: datetime | None = None) -> None:
        """Takes a document out of every list, read and search at once, with its earlier versions and what lies inside.

        `until`: as long it can be restored; None: as usual. Then it is removed for good (RemovalService.purge).

        Effect  writes knowledge_documents, knowledge_chunks, knowledge_postings, knowledge_embeddings,
                knowledge_kept_vectors, knowledge_staged.
        Raises  DocumentNotFound.
        """
        if not await self.removals.delete(document_id, now=now, until=until or now + GRACE):
            raise DocumentNotFound(document_id)

    async def _remove(self, document_id: DocumentId) -> None:
        """All that finds the document."""
        await self.embeddings.remove(document_id)
        await self.index.remove(document_id)

    async def _lock_readable(self, document_id: DocumentId) -> None:
        if not await self.documents.lock(document_id):
            raise DocumentNotFound(document_id)
        status = (await self.get(document_id)).status
        if status not in READABLE:
            raise DocumentNotReady(document_id, status)


def document_title(given: str | None, filename: str | None) -> str:
    """The title of a document as it is kept: what was given, else the file's name, on one line and storable."""
    stem = PurePosixPath((filename or "").replace("\\", "/")).stem
    for candidate in (given, stem):
        if title := name_words(candidate or ""):
            return title[:TITLE_LENGTH]
    return "Untitled document"


def _content_uri(document_id: DocumentId) -> str:
    return f"/v1/knowledge/documents/{document_id}/content"


def _bounds(part: TextRange, found: TextMap) -> tuple[int, int]:
    if part.page is not None:
        if part.start is not None or part.end is not None:
            raise NoSuchPart("page: give a page or a range of characters, not both")
        return _page_bounds(part.page, found)
    start, end = part.start or 0, found.length if part.end is None else min(part.end, found.length)
    if not 0 <= start < end:
        raise NoSuchPart(f"start: from {start} to {end} holds nothing; the document has {found.length} characters")
    return start, min(end, start + READ_LIMIT)


def _page_bounds(page: int, found: TextMap) -> tuple[int, int]:
    count = len(found.page_starts)
    if not count:
        raise NoSuchPart("page: this document has no pages; give a range of characters")
    if not 1 <= page <= count:
        raise NoSuchPart(f"page: there is no page {page}; the document has {count}")
    start, end = found.page_starts[page - 1], found.page_starts[page] if page < count else found.length
    return start, min(end, start + READ_LIMIT)


def _page_at(found: TextMap, offset: int) -> int | None:
    return sum(start <= offset for start in found.page_starts) or None


def _place(document: Document) -> Position:
    return Position(time=document.created_at, id=document.document_id)
