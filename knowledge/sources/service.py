"""Brings the documents to what a source has: each step is one call's transaction, and says if more is to be done.

A step takes in what was read outside of it (knowledge.sources.reading). What is kept of a source, and of each of its
items, says what comes next, so that whoever goes on after a crash does no step twice and leaves none out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import PurePosixPath
from typing import ClassVar, assert_never, cast

from domain.kernel import DomainError, NewId, NotFound, PrincipalId, TaskRunId
from domain.paging import Page, Position, page_of
from knowledge.model import DocumentId, NewDocument
from knowledge.parse.decode import storable
from knowledge.parse.document import MAIL, MediaType
from knowledge.service import DocumentNotFound, KnowledgeService, document_title
from knowledge.sources.model import (
    Away,
    ChangeKind,
    ChangeQuery,
    Contents,
    Fetched,
    ItemChange,
    Listed,
    NewSource,
    PendingItem,
    Read,
    Refused,
    Report,
    SourceChange,
    SourceId,
    SourceQuery,
    StepDone,
    StoredSource,
    SyncState,
)
from knowledge.sources.port import Changes, Content, Everyone, Found, Gone, Readers
from knowledge.sources.ports import SourceRepository, SyncRepository

MOST_SOURCES = 200
BATCH = 100
"""Items of one step that need no content."""
KEPT_CHANGES = 10_000
"""Lines of a source's report."""
MOST_FAILURES = 8
"""In a row, before a run gives a source up; the next run tries anew."""
FIRST_REST = timedelta(seconds=5)
LONGEST_REST = timedelta(minutes=15)
LONGEST_ASKED = timedelta(hours=1)
"""A source that asks to be left alone for longer is asked again after this."""
TOO_MANY_TO_LOSE = 20
"""Documents; a source that had so many and names nothing any more is taken to be unmounted, not emptied."""
AGAIN_AFTER = (timedelta(0), timedelta(0), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))
"""What may be read later is tried again by a sync so long after its first failure, its second ...: each as the last."""
MOST_NAMED = 20
"""Groups and notes that a report names."""
KEY_LENGTH = 500
PATH_LENGTH = 4_000


class SourceNotFound(NotFound):
    """No such source that this principal may see."""

    code: ClassVar[str] = "source_not_found"

    def __init__(self, source_id: SourceId) -> None:
        super().__init__(f"source_id: no source {source_id}")


class TooManySources(DomainError):
    """The organization has as many sources as are kept in order."""

    code: ClassVar[str] = "too_many_sources"

    def __init__(self) -> None:
        super().__init__(f"there are {MOST_SOURCES} sources already: remove one that is no longer needed")


class SourceNotRead(DomainError):
    """The source refused to be read, in this run more than once."""

    code: ClassVar[str] = "source_refused"


class SourceKeptAway(DomainError):
    """The source could not be read, however often it was tried in this run."""

    code: ClassVar[str] = "source_unavailable"


@dataclass(frozen=True, slots=True)
class SourceService:
    """The sources of one organization."""

    sources: SourceRepository
    syncs: SyncRepository
    knowledge: KnowledgeService

    async def add(self, new: NewSource) -> StoredSource:
        """A new source; nothing is read of it yet.

        Effect  writes knowledge_sources.
        Raises  TooManySources.
        """
        if await self.sources.count() >= MOST_SOURCES:
            raise TooManySources
        await self.sources.add(new)
        return await self.get(new.source_id)

    async def list(self, query: SourceQuery) -> Page[StoredSource]:
        """A page of sources, newest first."""
        return page_of(await self.sources.list(query), query.page, _place)

    async def get(self, source_id: SourceId, *, lock: bool = False) -> StoredSource:
        """One source; `lock`: nobody else changes or syncs it until the transaction ends.

        Raises  SourceNotFound.
        """
        found = await self.sources.get(source_id, lock=lock)
        if found is None:
            raise SourceNotFound(source_id)
        return found

    async def change(self, change: SourceChange) -> StoredSource:
        """The source as it is from now on; what it no more reads goes with the next sync.

        Effect  writes knowledge_sources; with another name knowledge_documents.
        Raises  SourceNotFound.
        """
        before = await self.get(change.source_id, lock=True)
        await self.sources.change(change)
        if change.name != before.name:
            named, renamed = (storable(f"{name}/") for name in (before.name, change.name))
            await self.sources.readdress(change.source_id, named, renamed, change.changed_at)
        return await self.get(change.source_id)

    async def changes(self, query: ChangeQuery) -> tuple[Sequence[ItemChange], int | None]:
        """What became of items that one may see, newest first, and where the next page begins.

        Raises  SourceNotFound.
        """
        await self.get(query.source_id)
        found = await self.sources.changes(query)
        page = found[: query.limit]
        return page, page[-1].change_id if len(found) > query.limit else None

    async def remove(self, source_id: SourceId, *, now: datetime) -> StoredSource:
        """The source as it was; its documents are deleted by the next steps of its sync.

        Effect  writes knowledge_sources, knowledge_source_items.
        Raises  SourceNotFound.
        """
        source = await self.get(source_id)
        await self.sources.remove(source_id, now)
        return source

    async def state(self, source_id: SourceId) -> SyncState:
        """Where a sync stands.

        Raises  SourceNotFound.
        """
        return self._there(source_id, await self.syncs.state(source_id, BATCH))

    async def organization(self) -> str:
        """The slug of the organization."""
        return await self.syncs.organization()

    async def keeper(self) -> PrincipalId | None:
        """Who has taken in what comes from sources; None: nobody is there to."""
        return await self.syncs.keeper()

    async def step(
        self,
        source_id: SourceId,
        revision: int,
        read: Read,
        run: TaskRunId | None,
        *,
        new_id: NewId,
        by: PrincipalId,
        now: datetime,
        until: datetime,
    ) -> tuple[StepDone, Sequence[DocumentId]]:
        """One step of a sync with what was read for it, and the documents that are to be indexed then.

        `revision`: of the state for which it was read; a step that another made meanwhile makes it worthless.
        `until`: as long what is gone there can be restored here.
        Effect  writes all of a document's tables, knowledge_sources, knowledge_source_items, knowledge_source_changes,
                knowledge_reader_sets, knowledge_readers.
        Raises  SourceNotFound, SourceNotRead, SourceKeptAway.
        """
        state = self._there(source_id, await self.syncs.state(source_id, BATCH, lock=True))
        if state.revision != revision:
            return StepDone(more=True, message="another step came first"), ()
        match read:
            case Listed():
                return await self._listed(state, read, run, now), ()
            case Contents():
                applying = _Applying(self, state, run, new_id=new_id, by=by, now=now, until=until)
                return await applying.step(read), applying.to_index
            case Refused():
                return await self._refused(state, read, run), ()
            case Away():
                return await self._away(state, read, run, now), ()
            case _:
                assert_never(read)

    # What changed -------------------------------------------------------------------------------------------------

    async def _listed(self, state: SyncState, read: Listed, run: TaskRunId | None, now: datetime) -> StepDone:
        source_id = state.source.source_id
        report = state.source.report
        if state.source.phase == "idle":
            report = Report(failing=report.failing)
        listing, is_listing, cursor, complete = state.listing, state.is_listing, state.cursor, False
        for page in read.pages:
            if page.is_full and not is_listing:
                listing, is_listing = listing + 1, True
            report = await self._page(state, listing, page, report)
            cursor, complete = page.cursor, page.is_last
        if complete and is_listing:
            report = await self._complete(state.source, listing, report)
            is_listing = False
        if complete:
            await self.syncs.carry_over(source_id)
            await self.syncs.try_again(source_id, now)
            report = replace(report, unknown_readers=await self.syncs.unknown_readers(source_id))
        await self.syncs.advance(
            source_id,
            phase="applying" if complete else "listing",
            cursor=cursor,
            listing=listing,
            is_listing=is_listing,
            task_run_id=run,
            listed_in=run,
            report=report,
            synced_at=None,
        )
        named = sum(len(page.items) for page in read.pages)
        return StepDone(more=True, message=f"{named} items looked at")

    async def _page(self, state: SyncState, listing: int, page: Changes, report: Report) -> Report:
        source_id = state.source.source_id
        latest = {item.key: item for item in page.items}
        found = [_storable(item) for item in latest.values() if isinstance(item, Found) and _fits(item)]
        known = {readers: await self._audience(state, readers) for readers in {item.readers for item in found}}
        audiences = [known[item.readers] for item in found]
        await self.syncs.found(source_id, listing, found, audiences)
        await self.syncs.gone(source_id, [item.key for item in latest.values() if isinstance(item, Gone)])
        unexpanded = {name for item in found for name in item.unexpanded}
        misfits = [
            f"{_named(item)} is passed over: its name is too long"
            for item in latest.values()
            if isinstance(item, Found) and not _fits(item)
        ]
        notes = [*report.notes, *([page.note] if page.note else []), *misfits]
        return replace(
            report,
            unexpanded=tuple(sorted({*report.unexpanded, *unexpanded})[:MOST_NAMED]),
            notes=tuple(dict.fromkeys(notes))[:MOST_NAMED],
        )

    async def _audience(self, state: SyncState, readers: Readers) -> str:
        """Whom rows of an item are for: a set of readers is never wider than the firm's own people."""
        if isinstance(readers, Everyone):
            return state.source.audience
        addresses = frozenset(address.strip().lower() for address in readers)
        return f"readers:{await self.syncs.reader_set(addresses)}"

    async def _complete(self, source: StoredSource, listing: int, report: Report) -> Report:
        """What a complete listing did not name is gone; one that names nothing where there was much is not believed.

        But of a drive: that says itself whether what is read is there.
        """
        source_id = source.source_id
        named, held = await self.syncs.listed(source_id, listing)
        if not named and held >= TOO_MANY_TO_LOSE and source.kind != "google_drive":
            note = "The source names nothing any more: nothing was removed here. Remove the source if that is meant."
            return replace(report, notes=(note, *report.notes)[:MOST_NAMED])
        await self.syncs.unlisted_gone(source_id, listing)
        return report

    # What stands in its way ---------------------------------------------------------------------------------------

    async def _refused(self, state: SyncState, read: Refused, run: TaskRunId | None) -> StepDone:
        if run is not None and state.failed_in == run:
            raise SourceNotRead(f"source_id: {read.why}")
        await self.syncs.stumble(
            state.source.source_id,
            failure=read.why,
            failures=1,
            failed_in=run,
            task_run_id=run,
            rests_until=None,
        )
        return StepDone(more=True, message=read.why)

    async def _away(self, state: SyncState, read: Away, run: TaskRunId | None, now: datetime) -> StepDone:
        failures = state.failures + 1 if state.failed_in == run else 1
        if failures > MOST_FAILURES:
            raise SourceKeptAway(f"source_id: {read.why}")
        rest = min(FIRST_REST * 2 ** (failures - 1), LONGEST_REST)
        if read.retry_after is not None:
            rest = max(rest, min(read.retry_after, LONGEST_ASKED))
        await self.syncs.stumble(
            state.source.source_id,
            failure=read.why,
            failures=failures,
            failed_in=run,
            task_run_id=run,
            rests_until=now + rest,
        )
        return StepDone(more=True, message=f"{read.why}; it is asked again", rest=rest)

    def _there(self, source_id: SourceId, state: SyncState | None) -> SyncState:
        if state is None:
            raise SourceNotFound(source_id)
        return state


class _Applying:
    """One step of bringing what changed into the documents."""

    def __init__(
        self,
        service: SourceService,
        state: SyncState,
        run: TaskRunId | None,
        *,
        new_id: NewId,
        by: PrincipalId,
        now: datetime,
        until: datetime,
    ) -> None:
        self._syncs = service.syncs
        self._knowledge = service.knowledge
        self._state = state
        self._source_id = state.source.source_id
        self._run = run
        self._new_id = new_id
        self._by = by
        self._now = now
        self._until = until
        self._counts = dict(state.source.report.counts)
        self.to_index: list[DocumentId] = []

    async def step(self, read: Contents) -> StepDone:
        """All of the batch that needs no content, or what was read of the rest."""
        fetched = {(each.key, each.version): each for each in read.items}
        contents = [each.content.content for each in read.items if each.content is not None]
        await self._knowledge.files.hold([sha256(content).digest() for content in contents])
        for item in self._state.batch:
            if item.is_gone:
                await self._gone(item)
            elif item.needs_readers:
                await self._readers(item)
            elif not item.needs_content:
                await self._held(item, await self._as_found(item))
            elif (content := fetched.get((item.found.key, item.found.version))) is not None:
                await self._content(item, content)
        left = await self._syncs.is_pending(self._source_id)
        # What an earlier run had listed is brought in first: this one has still to ask what changed since.
        ask = not left and self._run is not None and self._state.listed_in != self._run and not self._state.is_removed
        failing = await self._syncs.failing(self._source_id)
        report = replace(self._state.source.report, counts=self._counts, failing=failing)
        await self._syncs.advance(
            self._source_id,
            phase="applying" if left else "idle",
            cursor=self._state.cursor,
            listing=self._state.listing,
            is_listing=self._state.is_listing,
            task_run_id=self._run if left or ask else None,
            listed_in=self._state.listed_in,
            report=report,
            synced_at=None if left else self._now,
        )
        if not left:
            await self._syncs.prune(self._source_id, KEPT_CHANGES)
        return StepDone(more=left or ask, message=said(self._counts))

    async def _gone(self, item: PendingItem) -> None:
        deleted = False
        if item.document_id is not None:
            for document_id in await self._syncs.line(item.document_id):
                # An earlier version may have gone with a later one.
                with suppress(DocumentNotFound):
                    await self._knowledge.delete(document_id, now=self._now, until=self._until)
                deleted = True
        if deleted:
            await self._tell("removed", item)
        await self._syncs.forget(self._source_id, item.found.key)

    async def _readers(self, item: PendingItem) -> None:
        """Who may read the document, also while it lies deleted: restored, it is for whom the item is by then.

        With its name: who reads it only now hears of no other that it had.
        """
        document_id = cast(DocumentId, item.document_id)
        await self._syncs.show_to(document_id, item.audience)
        if await self._syncs.namesake(document_id) is not None:
            await self._tell("permissions", item)
        await self._as_found(item)
        await self._syncs.held_for(self._source_id, item)

    async def _as_found(self, item: PendingItem) -> DocumentId | None:
        """What of a document changes without its content: what it is called, also while it lies deleted."""
        document_id = item.document_id
        if document_id is None or item.held_path == item.found.path:
            return document_id
        await self._syncs.rename(document_id, _title(item), self._uri(item), self._now)
        if await self._syncs.namesake(document_id) is not None:
            self.to_index.append(document_id)
            await self._tell("renamed", item)
        return document_id

    async def _failed(self, item: PendingItem, fetched: Fetched) -> None:
        """It counts as held as it is now: nobody asks for it again before it changes, or it is to be tried again."""
        await self._as_found(item)
        await self._tell("failed", item, fetched.why)
        # Without a held version it is new, or one that is tried again.
        failures = 1 if item.held_version is not None else item.failures + 1
        rest = AGAIN_AFTER[min(failures, len(AGAIN_AFTER)) - 1]
        failed = replace(item, failures=failures, retry_at=self._now + rest if fetched.may_pass else None)
        await self._held(failed, item.document_id)

    async def _content(self, item: PendingItem, fetched: Fetched) -> None:
        if fetched.is_gone:
            # Nothing is remembered of it: it could come back just as it was before the source is asked again.
            await self._gone(item)
            return
        if fetched.content is None or fetched.media_type is None:
            await self._failed(item, fetched)
            return
        item = replace(item, failures=0, retry_at=None)
        held = None if item.document_id is None else await self._syncs.namesake(item.document_id)
        if item.document_id is not None and held is None:
            await self._tell("kept_out", item, "it was deleted here")
            await self._held(item, item.document_id)
            return
        new = self._new(item, fetched.content, fetched.media_type)
        if held is not None and held.content_sha256 == new.content_sha256:
            await self._held(item, await self._as_found(item))
            return
        await self._knowledge.documents.add(new, uri=self._uri(item))
        if held is not None:
            await self._knowledge.versions.versions.join(new.document_id, held)
            if item.held_path != item.found.path:
                await self._syncs.rename(held.document_id, new.title, self._uri(item), self._now)
        await self._knowledge.files.put(new.document_id, new.content)
        self.to_index.append(new.document_id)
        taken_in = replace(item, document_id=new.document_id)
        await self._tell("added" if held is None else "replaced", taken_in)
        await self._held(item, new.document_id)

    def _new(self, item: PendingItem, content: Content, media_type: MediaType) -> NewDocument:
        source = self._state.source
        return NewDocument(
            document_id=DocumentId(self._new_id()),
            title=_title(item),
            media_type=media_type,
            content=content.content,
            audience=source.audience,
            engagement_id=source.engagement_id,
            trust="external" if media_type in MAIL else source.trust,
            uploaded_by=self._by,
            created_at=self._now,
            source_id=self._source_id,
            readers=item.audience if item.audience.startswith("readers:") else None,
        )

    def _uri(self, item: PendingItem) -> str:
        return item.found.url or storable(f"{self._state.source.name}/{item.found.path}")

    async def _held(self, item: PendingItem, document_id: DocumentId | None) -> None:
        await self._syncs.held(self._source_id, item, document_id)

    async def _tell(self, kind: ChangeKind, item: PendingItem, why: str | None = None) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        await self._syncs.write(self._source_id, kind, item, why=why, now=self._now)


def said(counts: Mapping[str, int]) -> str:
    """What a sync has done, in words."""
    words = {"permissions": "permissions changed", "kept_out": "kept out"}
    done = [f"{count} {words.get(kind, kind)}" for kind, count in counts.items() if count]
    return ", ".join(done) or "nothing has changed"


def _title(item: PendingItem) -> str:
    return document_title(None, PurePosixPath(item.found.path).name)


def _named(item: Found) -> str:
    """As everybody of the firm may hear of it."""
    return repr(item.path[:100]) if isinstance(item.readers, Everyone) else "an item that not everybody reads"


def _fits(item: Found) -> bool:
    return 0 < len(item.key) <= KEY_LENGTH and 0 < len(item.path) <= PATH_LENGTH


def _storable(item: Found) -> Found:
    return replace(item, path=storable(item.path), url=None if item.url is None else storable(item.url)[:2000])


def _place(source: StoredSource) -> Position:
    return Position(time=source.created_at, id=source.source_id)
