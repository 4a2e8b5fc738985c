"""What knowledge needs of the database and of the place where files lie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from domain.kernel import EngagementId
from knowledge.embeddings.model import Vector
from knowledge.languages import Language
from knowledge.model import (
    ChunkId,
    Document,
    DocumentId,
    DocumentQuery,
    FileKey,
    KnownPart,
    MatchedTerm,
    NewDocument,
    Passage,
    SearchFilters,
    StoredRange,
    TextMap,
)
from knowledge.parse.document import Part
from knowledge.prepare import PreparedDocument
from knowledge.reanalysis import AnalysedDocument, AnalysedPassage, StoredPassages
from knowledge.terms import QueryTerm


class Storage(Protocol):
    """A place outside the database that keeps files by what they hold: an organization's same content once.

    Each method raises  an Unavailable where the place does not answer as it should.
    """

    @property
    def place(self) -> str:
        """Where it is, in words for operators."""
        ...

    async def put(self, key: FileKey, content: bytes) -> None:
        """Keep the bytes, whole or not at all; what was there under the key is the same."""
        ...

    async def get(self, key: FileKey) -> bytes | None:
        """The bytes; None: none are kept."""
        ...

    async def has(self, key: FileKey) -> bool:
        """Whether any are."""
        ...

    async def delete(self, key: FileKey) -> None:
        """Keep them no more."""
        ...

    def older(self, than: datetime) -> AsyncIterator[FileKey]:
        """All that were last put before that."""
        ...


class FileStore(Protocol):
    """The original bytes of documents, by the document's id."""

    async def hold(self, digests: Collection[bytes]) -> None:
        """Let none of these contents be discarded until the transaction ends: documents are about to have them."""
        ...

    async def put(self, document_id: DocumentId, content: bytes) -> None:
        """Keep the bytes of a new document; outside of the database they are there already (knowledge.keeping), but for
        those that were discarded since."""
        ...

    async def get(self, document_id: DocumentId) -> bytes | None:
        """The bytes; None: none are kept."""
        ...


class DocumentRepository(Protocol):
    """The documents that the transaction's principal may see; a deleted one is seen by nobody."""

    async def add(self, document: NewDocument, *, uri: str) -> None:
        """A new row, `queued`; its bytes go to the FileStore."""
        ...

    async def list(self, query: DocumentQuery) -> Sequence[Document]:
        """Newest first; one more than the page holds where there are more."""
        ...

    async def get(self, document_id: DocumentId) -> Document | None:
        """One document, without its text."""
        ...

    async def language_said(self, document_id: DocumentId) -> Language | None:
        """What whoever uploaded it says it is written in."""
        ...

    async def text_map(self, document_id: DocumentId) -> TextMap | None:
        """How long its text is and where its pages begin."""
        ...

    async def ranges(self, wanted: Sequence[tuple[DocumentId, int, int]]) -> Sequence[StoredRange | None]:
        """What stands in each of these ranges; None: no such document, or none with a text."""
        ...

    async def text(self, document_id: DocumentId, start: int, end: int) -> str:
        """The characters from `start` up to `end`."""
        ...

    async def texts(self, ranges: Sequence[tuple[DocumentId, int, int]]) -> Sequence[str]:
        """The characters of each range, in step."""
        ...

    async def engagements(self, name: str) -> Sequence[EngagementId]:
        """Those that are called so, or whose client is, in part or in whole, or that have this id."""
        ...

    async def lock(self, document_id: DocumentId) -> bool:
        """Hold the document until the transaction ends, so that two indexings do not meet; False: there is none."""
        ...

    async def finish(
        self, document_id: DocumentId, prepared: PreparedDocument, then: Literal["embedding", "ready"], now: datetime
    ) -> None:
        """Its text, pages and counts; from now on it is `then`."""
        ...

    async def passages(self, document_id: DocumentId) -> StoredPassages | None:
        """All its passages, to be analysed again; None: there is no such document."""
        ...

    async def analysed(self, document_id: DocumentId, analysed: AnalysedDocument) -> None:
        """Its language and how many terms it has, by the analysis of today."""
        ...

    async def queue(self, document_id: DocumentId, now: datetime) -> None:
        """From now on it waits to be read."""
        ...

    async def embedding(self, document_id: DocumentId, now: datetime) -> None:
        """Some of its passages have no vector yet."""
        ...

    async def embedded(self, document_id: DocumentId, model_id: str | None, failure: str | None, now: datetime) -> None:
        """From now on `ready`, as far as this model goes; `failure`: why some of its passages have no vector."""
        ...

    async def fail(self, document_id: DocumentId, reason: str, now: datetime) -> None:
        """From now on `failed`, without a text."""
        ...


class PartRepository(Protocol):
    """Documents that came inside of another, and what is said of a document beside its text."""

    async def add(
        self, parent_id: DocumentId, document_id: DocumentId, part: Part, *, of_mail: bool, uri: str, now: datetime
    ) -> None:
        """A new row, `queued`, for the same people as its parent; nothing where that is gone or a part itself.

        `of_mail`: others wrote it, whoever packed it; else it is trusted like its parent.
        """
        ...

    async def known(self, parent_id: DocumentId) -> Sequence[KnownPart]:
        """Those of a parent, deleted ones left out."""
        ...

    async def note(self, document_id: DocumentId, note: str | None) -> None:
        """What of the file is not in its text, in words for people; None: nothing."""
        ...


class SearchIndex(Protocol):
    """Passages, and what finds them: postings for their words, vectors for their meaning."""

    async def search(self, terms: Sequence[QueryTerm], limit: int, filters: SearchFilters) -> Sequence[Passage]:
        """Exact BM25 over what the principal may see, best first."""
        ...

    async def search_near(
        self, terms: Sequence[QueryTerm], vector: Vector, limit: int, filters: SearchFilters
    ) -> Sequence[Passage]:
        """By words and by meaning, the two orders fused; by meaning alone without terms. Empty without any vector."""
        ...

    async def matched(
        self, terms: Sequence[QueryTerm], chunk_ids: Sequence[ChunkId]
    ) -> Mapping[ChunkId, Sequence[MatchedTerm]]:
        """Which words of a question some passages have, the weightiest first."""
        ...

    async def write(self, document_id: DocumentId, prepared: PreparedDocument, chunk_ids: Sequence[ChunkId]) -> None:
        """Store the passages under these ids, and the postings that find them."""
        ...

    async def rewrite(self, document_id: DocumentId, passages: Mapping[ChunkId, AnalysedPassage]) -> bool:
        """Postings of these terms in place of those that its passages have; False: they are others by now."""
        ...

    async def remove(self, document_id: DocumentId) -> None:
        """Take out all that finds the document; nothing happens where nothing does."""
        ...
