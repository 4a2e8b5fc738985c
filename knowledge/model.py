"""A document as the firm keeps it, a passage as an answer cites it, and what a search asks and gives."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, NewType
from uuid import UUID

from domain.kernel import Audience, DomainError, EngagementId, NewId, PrincipalId, Trust
from domain.paging import PageRequest
from knowledge.fingerprint import Fingerprint
from knowledge.languages import Language
from knowledge.parse.document import MediaType
from knowledge.questions import Phrase

DocumentId = NewType("DocumentId", UUID)
ChunkId = NewType("ChunkId", UUID)

_RANDOM_BITS = (1 << 76) - 1


def chunk_ids(count: int, new_id: NewId, now: datetime) -> list[ChunkId]:
    """Ids of a document's passages (version 7): what is indexed at one time lies together wherever ids are in order.

    A word's postings are then visited in the order in which their rows lie, in 20 to 30 % less time.
    Source  RFC 9562 5.7 / measured on the corpus of benchmarks/search.
    """
    milliseconds = int(now.timestamp() * 1_000)
    return [ChunkId(UUID(int=milliseconds << 80 | 7 << 76 | new_id().int & _RANDOM_BITS)) for _ in range(count)]


class FileMissing(DomainError):
    """The bytes of a document are not where files are kept."""

    code: ClassVar[str] = "file_missing"

    def __init__(self, document_id: DocumentId) -> None:
        super().__init__(
            f"document_id: the file of document {document_id} is not where files are kept; tell an operator"
        )


DocumentStatus = Literal["queued", "parsing", "embedding", "ready", "failed"]
SearchMode = Literal["hybrid", "lexical", "vector"]


def audience_of(stored: str) -> Audience:
    """Whom a row is for, in the words of the domain: what is for a set of readers (`readers:N`) is the firm's alone."""
    return "client" if stored == "client" else "firm"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    """A document as it was handed in, its kind already known (`media_type_of`)."""

    document_id: DocumentId
    title: str
    media_type: MediaType
    content: bytes
    audience: Audience
    engagement_id: EngagementId | None
    trust: Trust
    uploaded_by: PrincipalId
    created_at: datetime
    uri: str | None = None
    """Where it came from; None: from here, where its content is served."""
    language: Language | None = None
    """What it is said to be written in; None: its words tell."""
    source_id: UUID | None = None
    """The source that it is kept like; None: somebody uploaded it."""
    readers: str | None = None
    """The set of readers that it is for (`readers:N`), of those whom its audience lets; None: all of these."""

    @property
    def content_sha256(self) -> bytes:
        """What it is known again by."""
        return hashlib.sha256(self.content).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document, as its readers see it; its text is read apart."""

    document_id: DocumentId
    title: str
    uri: str
    media_type: MediaType
    audience: Audience
    engagement_id: EngagementId | None
    trust: Trust
    status: DocumentStatus
    failure: str | None
    """Why it is `failed`, in words for people."""
    size_bytes: int
    content_sha256: bytes
    parent_id: DocumentId | None
    """The document inside of which it came: an archive or a message, with which it is deleted."""
    note: str | None
    """What of the file is not in its text, in words for people."""
    page_count: int | None
    token_count: int
    chunk_count: int
    embedded_count: int
    """Passages that have a vector; 0 once nobody waits for any."""
    version: int
    """Grows with each new version of its name, and each time it is indexed anew."""
    replaced_by: DocumentId | None
    """The version that is found in its stead."""
    uploaded_by: str
    """An e-mail address."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentQuery:
    """Which documents; None leaves a filter out."""

    page: PageRequest = PageRequest()
    engagement_id: EngagementId | None = None
    status: DocumentStatus | None = None
    parent_id: DocumentId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKey:
    """What the bytes of a file are kept under: whose they are, and the SHA-256 of what they hold."""

    organization_id: UUID
    digest: bytes

    @property
    def hex(self) -> str:
        return self.digest.hex()

    @property
    def name(self) -> str:
        return f"{self.organization_id}/{self.hex[:2]}/{self.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """The original bytes of a document, and what is needed to hand them out or to parse them."""

    title: str
    media_type: MediaType
    content: bytes
    is_part: bool = False
    """It came inside of another document, with all that it holds itself."""
    language: Language | None = None
    """What it is said to be written in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPart:
    """A document that came inside of another, as far as it tells whether a file is the same."""

    document_id: DocumentId
    path: str
    content_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilters:
    """Which documents a search looks at; None leaves a filter out. What the principal may not see, no filter opens."""

    document_id: DocumentId | None = None
    engagement_ids: tuple[EngagementId, ...] | None = None
    """Of one of these."""
    media_types: tuple[MediaType, ...] | None = None
    """Of one of these kinds."""
    title: str | None = None
    """Words that stand in the title as they are written here, whatever their case."""
    after: datetime | None = None
    """Taken in then or later."""
    before: datetime | None = None
    """Taken in earlier."""
    phrases: tuple[Phrase, ...] = ()
    """Passages that hold all of these."""


NO_FILTERS = SearchFilters()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """A question to the documents."""

    text: str
    limit: int = 10
    mode: SearchMode = "hybrid"
    filters: SearchFilters = NO_FILTERS
    explain: bool = False
    """Whether each passage says which words of the question it matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchWeights:
    """What each order counts where a search fuses them; only their relation matters."""

    lexical: float = 1.0
    vector: float | None = None
    """None: what was measured of the model that gave the vectors (knowledge.embeddings.model.fusion_of)."""
    constant: float | None = None
    """Of reciprocal ranks; None: likewise."""


AS_MEASURED = SearchWeights()


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedTerm:
    """A word of a question as a passage has it.

    Units   weight: how rare the word is (BM25's idf), as often as the question says it. frequency: how often it stands
            there, title and heading counted more than once. score: what it adds to the passage's sum.
    """

    written: str
    term: str
    weight: float
    frequency: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Where a passage stood in the order by words and in that by meaning, from 1; None: not among its first."""

    lexical: int | None
    lexical_score: float | None
    vector: int | None
    similarity: float | None
    """Cosine, -1 to 1."""
    rerank_score: float | None = None
    """What a second stage says of it; None: it was not asked about this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Where else the same is said."""

    document_id: DocumentId
    chunk_id: ChunkId
    title: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One chunk or a few side by side that answer a search, with all that a pinpoint citation needs.

    Units   start, end: code points into the document's text. score: BM25, unitless, comparable within one search only.
    """

    document_id: DocumentId
    chunk_id: ChunkId
    title: str
    text: str
    score: float
    page: int | None
    section: str | None
    start: int
    end: int
    uri: str
    trust: Trust
    audience: Audience
    engagement_id: EngagementId | None
    chunk_ids: tuple[ChunkId, ...]
    """All that it is made of, in the order of the document; `chunk_id` is the best of them."""
    first_ordinal: int
    last_ordinal: int
    fingerprint: Fingerprint | None
    ranks: Ranks
    also_in: tuple[Folded, ...] = ()
    matched: tuple[MatchedTerm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A passage as a second stage reads it: its title, its heading and its text."""

    chunk_id: ChunkId
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranking:
    """What a second stage said of a search's first passages; where it said nothing, why."""

    model: str
    scores: Mapping[ChunkId, float] = field(default_factory=dict[ChunkId, float])
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Passages, best first, the mode that was really used, and what became of the second stage, where there is one."""

    mode: SearchMode
    items: tuple[Passage, ...]
    reranking: Reranking | None = None
    without_phrases: bool = False
    """No passage holds what was quoted; these are found by the words of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRange:
    """Which part of a document to read: a page, or the characters from `start` up to `end`."""

    page: int | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMap:
    """What must be known of a document's text before a part of it is read."""

    title: str
    uri: str
    trust: Trust
    audience: Audience
    engagement_id: EngagementId | None
    status: DocumentStatus
    length: int
    page_starts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRange:
    """A range of a document's text, and where it begins; None: the text does not reach that far."""

    text: str | None
    chunk_id: ChunkId | None
    """The passage in which it begins, where any of the document's does."""
    page: int | None
    section: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentText:
    """A part of a document's text; there is more behind it where `end` is below `length`."""

    document_id: DocumentId
    title: str
    uri: str
    trust: Trust
    audience: Audience
    engagement_id: EngagementId | None
    text: str
    start: int
    end: int
    length: int
    page: int | None
    """The page on which `start` lies."""
    page_count: int | None
