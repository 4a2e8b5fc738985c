"""A source as the hub keeps it: what is read, for whom, how far the hub has come with it, and what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NewType
from uuid import UUID

from domain.kernel import Audience, EngagementId, PrincipalId, TaskId, TaskRunId, Trust
from domain.paging import PageRequest
from knowledge.model import DocumentId
from knowledge.parse.document import MediaType
from knowledge.sources.port import Changes, Content, Found, SourceKind

SourceId = NewType("SourceId", UUID)

Phase = Literal["idle", "listing", "applying"]
"""Of a sync: nothing is under way; what changed is asked for; what changed is brought into the documents."""
ChangeKind = Literal["added", "replaced", "renamed", "removed", "permissions", "failed", "kept_out"]
"""`kept_out`: somebody deleted the document here, and it is not taken in again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSource:
    """A source as it is set up."""

    source_id: SourceId
    kind: SourceKind
    name: str
    settings: Mapping[str, object]
    audience: Audience
    engagement_id: EngagementId | None
    trust: Trust
    task_id: TaskId
    """The task whose workflow syncs it."""
    created_by: PrincipalId
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChange:
    """What of a source can be changed, as it is to be."""

    source_id: SourceId
    name: str
    settings: Mapping[str, object]
    task_id: TaskId | None
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the newest sync did, in numbers: what of it one may see, the list of changes says."""

    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    failing: int = 0
    """Items that could not be read when they were tried last, in whichever sync that was."""
    unknown_readers: int = 0
    """Addresses that may read something there and are nobody's of the firm: they give nobody here."""
    unexpanded: tuple[str, ...] = ()
    """Groups that may read something there and whose members are not known: they give nobody here."""
    notes: tuple[str, ...] = ()


NOTHING_YET = Report()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSource:
    """A source, as the firm's own people see it."""

    source_id: SourceId
    kind: SourceKind
    name: str
    settings: Mapping[str, object]
    audience: Audience
    engagement_id: EngagementId | None
    trust: Trust
    task_id: TaskId | None
    created_by: str | None
    """An e-mail address."""
    created_at: datetime
    phase: Phase
    failure: str | None
    """Why it could not be read last, in words for people."""
    rests_until: datetime | None
    """It asked to be left alone until then, or is."""
    synced_at: datetime | None
    """When the documents were last as the source had them."""
    documents: int
    """Of those that one may see."""
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingItem:
    """An item with which the documents are not yet as the source has it."""

    found: Found
    """Its readers are not among it: `audience` is what came of them."""
    audience: str
    """As rows hold it: firm, client, or readers:N."""
    is_gone: bool
    document_id: DocumentId | None
    held_path: str | None
    held_version: str | None
    held_audience: str | None
    failures: int = 0
    """How often in a row it could not be read, as it is now."""
    retry_at: datetime | None = None
    """A sync from then on tries it again; None: it is not tried before it has changed."""

    @property
    def needs_readers(self) -> bool:
        """Its document is still for others than the item is: that comes before all that must be read of a source."""
        return not self.is_gone and self.document_id is not None and self.held_audience != self.audience

    @property
    def needs_content(self) -> bool:
        return not self.is_gone and not self.needs_readers and self.held_version != self.found.version


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How far a sync has come, and what is to be done next."""

    source: StoredSource
    organization: str
    """The organization's slug."""
    cursor: str | None
    listing: int
    """Which complete listing is the newest; an item that it did not name is gone."""
    is_listing: bool
    """That listing is not complete yet."""
    revision: int
    """Grows with each step: what was read before a step that another made is not worked in."""
    task_run_id: TaskRunId | None
    """The run that is at it."""
    listed_in: TaskRunId | None
    """The run that asked last what changed."""
    failed_in: TaskRunId | None
    failures: int
    """How often in a row it could not be read, in that run."""
    is_removed: bool
    batch: tuple[PendingItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a source said has changed."""

    pages: tuple[Changes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What an item holds, or why that cannot be had."""

    key: str
    version: str
    content: Content | None
    media_type: MediaType | None
    why: str | None = None
    is_gone: bool = False
    may_pass: bool = False
    """Why it cannot be had may pass without any change of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What some pending items hold; the rest of the batch needs no content."""

    items: tuple[Fetched, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """The source could not be read this time."""

    why: str
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The source says no."""

    why: str


Read = Listed | Contents | Away | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """One line of the report: what became of an item."""

    change_id: int
    kind: ChangeKind
    path: str
    was: str | None
    """The path that it had."""
    why: str | None
    document_id: DocumentId | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeQuery:
    """Which changes of a source."""

    source_id: SourceId
    kind: ChangeKind | None = None
    before: int | None = None
    """Older than this change."""
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceQuery:
    """Which sources."""

    page: PageRequest = PageRequest()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """What one step of a sync came to."""

    more: bool
    """Another step is to be made."""
    message: str
    rest: timedelta | None = None
    """Not before so long."""
