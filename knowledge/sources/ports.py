"""What sources need of the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from domain.kernel import PrincipalId, TaskRunId
from knowledge.model import DocumentId
from knowledge.sources.model import (
    ChangeKind,
    ChangeQuery,
    ItemChange,
    NewSource,
    PendingItem,
    Phase,
    Report,
    SourceChange,
    SourceId,
    SourceQuery,
    StoredSource,
    SyncState,
)
from knowledge.sources.port import Found
from knowledge.versions import Namesake


class SourceRepository(Protocol):
    """The sources of the organization; a CLIENT sees none."""

    async def add(self, new: NewSource) -> None:
        """A new source, of which nothing is known yet."""
        ...

    async def list(self, query: SourceQuery) -> Sequence[StoredSource]:
        """Newest first; one more than the page holds where there are more."""
        ...

    async def get(self, source_id: SourceId, *, lock: bool = False) -> StoredSource | None:
        """One source; `lock`: held until the transaction ends."""
        ...

    async def change(self, change: SourceChange) -> None:
        """The source is so from now on; what was read for a step as it was before is not worked in."""
        ...

    async def readdress(self, source_id: SourceId, before: str, after: str, now: datetime) -> None:
        """The addresses of its documents that begin with a name begin with another, of all their versions."""
        ...

    async def count(self) -> int:
        """How many there are."""
        ...

    async def changes(self, query: ChangeQuery) -> Sequence[ItemChange]:
        """What became of items that one may see, newest first; one more than asked for where there are more."""
        ...

    async def remove(self, source_id: SourceId, now: datetime) -> None:
        """From now on it is listed by nobody, and all its items count as gone."""
        ...


class SyncRepository(Protocol):
    """How far syncs have come; for the tool that syncs, which sees every item and is no reader."""

    async def organization(self) -> str:
        """The slug of the organization."""
        ...

    async def keeper(self) -> PrincipalId | None:
        """Who has taken in what comes from sources: the organization's service account; None: it has none."""
        ...

    async def state(self, source_id: SourceId, batch: int, *, lock: bool = False) -> SyncState | None:
        """Where the sync stands, with at most `batch` items that are pending: first those that need no content.

        `lock`: held until the transaction ends.
        """
        ...

    async def is_pending(self, source_id: SourceId) -> bool:
        """Whether anything is left to be brought into the documents."""
        ...

    async def found(self, source_id: SourceId, listing: int, items: Sequence[Found], audiences: Sequence[str]) -> None:
        """Items as the source has them now, in step with whom they are for."""
        ...

    async def gone(self, source_id: SourceId, keys: Collection[str]) -> None:
        """These items are not there any more."""
        ...

    async def unlisted_gone(self, source_id: SourceId, listing: int) -> None:
        """Items that a complete listing did not name are gone."""
        ...

    async def listed(self, source_id: SourceId, listing: int) -> tuple[int, int]:
        """How many items that listing named, and of how many items there are documents."""
        ...

    async def carry_over(self, source_id: SourceId) -> None:
        """What was found under a new key and is what has gone under another keeps that one's document."""
        ...

    async def try_again(self, source_id: SourceId, now: datetime) -> None:
        """What could not be read, and is to be tried again by now, is pending."""
        ...

    async def failing(self, source_id: SourceId) -> int:
        """How many items could not be read when they were tried last."""
        ...

    async def reader_set(self, addresses: Collection[str]) -> int:
        """The set of these readers, by their e-mail addresses."""
        ...

    async def unknown_readers(self, source_id: SourceId) -> int:
        """How many addresses may read something of the source's and are nobody's of the firm."""
        ...

    async def held(self, source_id: SourceId, item: PendingItem, document_id: DocumentId | None) -> None:
        """From now on the documents hold the item as it was found; or it failed so often, and is tried again then."""
        ...

    async def held_for(self, source_id: SourceId, item: PendingItem) -> None:
        """From now on its document is for whom the item was found to be, and called as it was found."""
        ...

    async def forget(self, source_id: SourceId, key: str) -> None:
        """The item is known no more."""
        ...

    async def write(
        self, source_id: SourceId, kind: ChangeKind, item: PendingItem, *, why: str | None, now: datetime
    ) -> None:
        """A line of the report, for whom the item is: what it was called is told where they knew it by that name."""
        ...

    async def advance(
        self,
        source_id: SourceId,
        *,
        phase: Phase,
        cursor: str | None,
        listing: int,
        is_listing: bool,
        task_run_id: TaskRunId | None,
        listed_in: TaskRunId | None,
        report: Report,
        synced_at: datetime | None,
    ) -> None:
        """Where the sync stands from now on; nothing stands in its way."""
        ...

    async def stumble(
        self,
        source_id: SourceId,
        *,
        failure: str,
        failures: int,
        failed_in: TaskRunId | None,
        task_run_id: TaskRunId | None,
        rests_until: datetime | None,
    ) -> None:
        """The source could not be read; where the sync stands stays as it is."""
        ...

    async def prune(self, source_id: SourceId, most: int) -> None:
        """Keep so many lines of the report, the newest."""
        ...

    async def namesake(self, document_id: DocumentId) -> Namesake | None:
        """The document, held; None: somebody deleted it."""
        ...

    async def line(self, document_id: DocumentId) -> Sequence[DocumentId]:
        """All versions of a document that are not deleted, held; the documents inside of them are not among them."""
        ...

    async def show_to(self, document_id: DocumentId, audience: str) -> None:
        """All versions of a document, what is inside of them and what finds them are for this audience."""
        ...

    async def rename(self, document_id: DocumentId, title: str, uri: str, now: datetime) -> None:
        """All versions of the document are called so, and it is to be read anew for its title to find it."""
        ...
