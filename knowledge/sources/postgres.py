"""Sources in SQL: what is set up, how far their syncs have come, item by item, and whom their documents are for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import cast

import orjson

from domain.kernel import EngagementId, PrincipalId, TaskId, TaskRunId
from domain.storage.postgres import Connection, Row
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
from knowledge.sources.port import EVERYONE, Found
from knowledge.versions import Namesake

_ADD = """
INSERT INTO knowledge_sources (organization_id, source_id, kind, name, settings, audience, engagement_id, trust,
    task_id, created_by, created_at)
VALUES (glow.organization_id(), $1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9, $10)
"""

# Who changes or removes a source does so to all of its documents, and is told of those that one reads oneself.
_SOURCES = """
SELECT s.source_id, s.kind, s.name, s.settings::text AS settings, s.audience, s.engagement_id, s.trust, s.task_id,
       u.email AS created_by, s.created_at, s.phase, s.failure, s.rests_until, s.synced_at, s.report::text AS report,
       (SELECT count(*) FROM knowledge_documents d
        WHERE d.organization_id = s.organization_id AND d.source_id = s.source_id AND d.deleted_at IS NULL
          AND d.replaced_by IS NULL AND d.parent_id IS NULL
          AND (d.audience IN ('firm', 'client') OR d.audience = ANY ((SELECT glow.reader_audiences())::text[]))
       ) AS documents{more}
FROM knowledge_sources s LEFT JOIN users u ON u.user_id = s.created_by
"""

_LIST = (
    _SOURCES.format(more="")
    + """
WHERE s.removed_at IS NULL AND ($1::timestamptz IS NULL OR (s.created_at, s.source_id) < ($1, $2::uuid))
ORDER BY s.created_at DESC, s.source_id DESC
LIMIT $3
"""
)
_GET = _SOURCES.format(more="") + " WHERE s.source_id = $1 AND s.removed_at IS NULL"
_STATE = (
    _SOURCES.format(
        more=""",
       o.slug, s.cursor, s.listing, s.is_listing, s.revision, s.task_run_id, s.listed_in, s.failed_in, s.failures,
       s.removed_at IS NOT NULL AS is_removed"""
    )
    + " JOIN organizations o USING (organization_id) WHERE s.source_id = $1"
)
_LOCK = "SELECT FROM knowledge_sources WHERE source_id = $1 FOR UPDATE"
_COUNT = "SELECT count(*) FROM knowledge_sources WHERE removed_at IS NULL"

_ORGANIZATION = "SELECT slug FROM organizations WHERE organization_id = glow.organization_id()"
_KEEPER = "SELECT glow.resolve_service_account(glow.organization_id())"

_CHANGE = """
UPDATE knowledge_sources SET name = $2, settings = $3::jsonb, task_id = $4, revision = revision + 1 WHERE source_id = $1
"""
# What has an address of its own there is a page of a site or a file of a drive.
_READDRESS = """
UPDATE knowledge_documents SET uri = $3 || substr(uri, length($2) + 1), updated_at = $4
WHERE source_id = $1 AND starts_with(uri, $2) AND uri !~ '^https?://'
"""

_REMOVE = """
UPDATE knowledge_sources
SET removed_at = $2, phase = 'applying', revision = revision + 1, task_run_id = NULL, rests_until = NULL
WHERE source_id = $1
"""
_ALL_GONE = "UPDATE knowledge_source_items SET is_gone = true WHERE source_id = $1"

# As the partial index has it.
_IS_PENDING = """(i.is_gone OR i.held_path IS DISTINCT FROM i.path OR i.held_version IS DISTINCT FROM i.version
       OR i.held_audience IS DISTINCT FROM i.audience)"""
_PENDING = f"""
SELECT i.item_key, i.path, i.version, i.media_type, i.size_bytes, i.url, i.identity, i.audience, i.is_gone,
       i.document_id, i.held_path, i.held_version, i.held_audience, i.failures, i.retry_at
FROM knowledge_source_items i
WHERE i.source_id = $1 AND {_IS_PENDING}
ORDER BY NOT i.is_gone AND i.held_version IS DISTINCT FROM i.version
    AND (i.document_id IS NULL OR i.held_audience IS NOT DISTINCT FROM i.audience), i.item_key
LIMIT $2
"""

_FOUND = """
INSERT INTO knowledge_source_items (organization_id, source_id, item_key, path, version, media_type, size_bytes, url,
    identity, audience, listing)
SELECT glow.organization_id(), $1, n.item_key, n.path, n.version, n.media_type, n.size_bytes, n.url, n.identity,
    n.audience, $2
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::text[], $10::text[])
    AS n (item_key, path, version, media_type, size_bytes, url, identity, audience)
ORDER BY n.item_key
ON CONFLICT (organization_id, source_id, item_key) DO UPDATE
SET path = excluded.path, version = excluded.version, media_type = excluded.media_type,
    size_bytes = excluded.size_bytes, url = excluded.url, identity = excluded.identity, audience = excluded.audience,
    listing = excluded.listing, is_gone = false
"""

_GONE = "UPDATE knowledge_source_items SET is_gone = true WHERE source_id = $1 AND item_key = ANY ($2)"
_UNLISTED_GONE = "UPDATE knowledge_source_items SET is_gone = true WHERE source_id = $1 AND listing < $2"
_LISTED = """
SELECT count(*) FILTER (WHERE listing = $2) AS listed, count(*) FILTER (WHERE document_id IS NOT NULL) AS held
FROM knowledge_source_items WHERE source_id = $1
"""

# Of several that are alike the first by key; each gives its document to one alone.
_CARRY_OVER = """
WITH pairs AS (
    SELECT DISTINCT ON (n.item_key) n.item_key AS new_key, g.item_key AS old_key, g.document_id, g.held_path,
           g.held_version, g.held_audience, g.failures, g.retry_at
    FROM knowledge_source_items n
    JOIN knowledge_source_items g ON g.organization_id = n.organization_id AND g.source_id = n.source_id
        AND g.identity = n.identity AND g.is_gone AND g.document_id IS NOT NULL AND g.held_version = g.version
    WHERE n.source_id = $1 AND n.document_id IS NULL AND NOT n.is_gone AND n.held_version IS NULL
    ORDER BY n.item_key, g.item_key
), once AS (
    SELECT DISTINCT ON (old_key) * FROM pairs ORDER BY old_key, new_key
), kept AS (
    UPDATE knowledge_source_items n
    SET document_id = o.document_id, held_path = o.held_path, held_version = o.held_version,
        held_audience = o.held_audience, failures = o.failures, retry_at = o.retry_at
    FROM once o WHERE n.source_id = $1 AND n.item_key = o.new_key
    RETURNING o.old_key
)
DELETE FROM knowledge_source_items g USING kept k WHERE g.source_id = $1 AND g.item_key = k.old_key
"""

_ADD_SET = """
INSERT INTO knowledge_reader_sets (organization_id, digest) VALUES (glow.organization_id(), $1)
ON CONFLICT (organization_id, digest) DO NOTHING
RETURNING reader_set
"""
_SET = "SELECT reader_set FROM knowledge_reader_sets WHERE digest = $1"
_ADD_READERS = """
INSERT INTO knowledge_readers (organization_id, reader_set, email_sha256)
SELECT glow.organization_id(), $1, n.email FROM unnest($2::bytea[]) AS n (email) ORDER BY n.email
"""
_UNKNOWN_READERS = """
SELECT count(DISTINCT r.email_sha256)
FROM knowledge_readers r
WHERE r.reader_set IN (
    SELECT substring(i.audience FROM '^readers:([0-9]+)$')::bigint FROM knowledge_source_items i
    WHERE i.source_id = $1 AND NOT i.is_gone AND i.audience LIKE 'readers:%')
  AND NOT EXISTS (
    SELECT FROM memberships m JOIN users u USING (user_id)
    WHERE m.role <> 'CLIENT' AND u.kind = 'person'
      AND r.email_sha256 IN (sha256(convert_to(lower(u.email), 'UTF8')),
          sha256(convert_to('@' || split_part(lower(u.email), '@', -1), 'UTF8'))))
"""

_HELD = """
UPDATE knowledge_source_items
SET document_id = $3, held_path = $4, held_version = $5, held_audience = $6, failures = $7, retry_at = $8
WHERE source_id = $1 AND item_key = $2
"""
# As the partial index has it.
_TRY_AGAIN = """
UPDATE knowledge_source_items SET held_version = NULL
WHERE source_id = $1 AND failures > 0 AND retry_at <= $2 AND held_version = version AND NOT is_gone
"""
_FAILING = "SELECT count(*) FROM knowledge_source_items WHERE source_id = $1 AND failures > 0 AND NOT is_gone"
_HELD_FOR = """
UPDATE knowledge_source_items SET held_audience = $3, held_path = $4 WHERE source_id = $1 AND item_key = $2
"""
_FORGET = "DELETE FROM knowledge_source_items WHERE source_id = $1 AND item_key = $2"

_WRITE = """
INSERT INTO knowledge_source_changes (organization_id, source_id, kind, path, was, why, document_id, audience,
    engagement_id, at)
SELECT s.organization_id, s.source_id, $2, $3, $4, $5, $6, $7, s.engagement_id, $8
FROM knowledge_sources s WHERE s.source_id = $1
"""
_CHANGES = """
SELECT change_id, kind, path, was, why, document_id, at FROM knowledge_source_changes
WHERE source_id = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::bigint IS NULL OR change_id < $3)
ORDER BY change_id DESC
LIMIT $4
"""
_PRUNE = """
DELETE FROM knowledge_source_changes
WHERE source_id = $1 AND change_id <= (
    SELECT change_id FROM knowledge_source_changes WHERE source_id = $1 ORDER BY change_id DESC OFFSET $2 LIMIT 1)
"""

_ADVANCE = """
UPDATE knowledge_sources
SET phase = $2, cursor = $3, listing = $4, is_listing = $5, task_run_id = $6, listed_in = $7, report = $8::jsonb,
    synced_at = coalesce($9, synced_at), revision = revision + 1, failure = NULL, failures = 0, failed_in = NULL,
    rests_until = NULL
WHERE source_id = $1
"""
_STUMBLE = """
UPDATE knowledge_sources
SET failure = $2, failures = $3, failed_in = $4, task_run_id = $5, rests_until = $6, revision = revision + 1
WHERE source_id = $1
"""

_NAMESAKE = """
SELECT document_id, coalesce(line_id, document_id) AS line_id, edition, uploaded_by, content_sha256
FROM knowledge_documents WHERE document_id = $1 AND deleted_at IS NULL
FOR UPDATE
"""
_LINE = """
SELECT d.document_id FROM knowledge_documents d
WHERE (d.document_id = $1
       OR d.line_id = (SELECT o.line_id FROM knowledge_documents o WHERE o.document_id = $1))
  AND d.deleted_at IS NULL
ORDER BY d.document_id
FOR UPDATE
"""

# The documents first: whoever indexes one of them meanwhile holds it, and goes by what it says.
_FAMILY = """
WITH line AS MATERIALIZED (
    SELECT d.document_id FROM knowledge_documents d
    WHERE d.document_id = $1
       OR d.line_id = (SELECT o.line_id FROM knowledge_documents o WHERE o.document_id = $1)
)
SELECT document_id FROM knowledge_documents
WHERE document_id IN (SELECT document_id FROM line) OR parent_id IN (SELECT document_id FROM line)
ORDER BY document_id
FOR UPDATE
"""
_SHOW_TO = (
    "UPDATE knowledge_documents SET audience = $2 WHERE document_id = ANY ($1)",
    "UPDATE knowledge_chunks SET audience = $2 WHERE document_id = ANY ($1)",
    """
UPDATE knowledge_postings p SET audience = $2 FROM knowledge_chunks c
WHERE c.document_id = ANY ($1) AND p.organization_id = c.organization_id AND p.chunk_id = c.chunk_id
""",
    """
UPDATE knowledge_embeddings e SET audience = $2 FROM knowledge_chunks c
WHERE c.document_id = ANY ($1) AND e.organization_id = c.organization_id AND e.chunk_id = c.chunk_id
""",
)

# Its passages are found by its title too: what is ready is read anew, by the job or, where that is lost, by the sweep.
# Earlier versions are called so as well: who may read them by now need not have known the item by another name.
_RENAME = """
UPDATE knowledge_documents
SET title = $2, uri = $3, updated_at = $4, prepared_as = CASE WHEN prepared_as IS NOT NULL THEN '' END
WHERE document_id = $1 OR line_id = (SELECT o.line_id FROM knowledge_documents o WHERE o.document_id = $1)
"""


class PostgresSources:
    """SourceRepository and SyncRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, new: NewSource) -> None:
        await self._connection.execute(
            _ADD,
            new.source_id,
            new.kind,
            new.name,
            _json(new.settings),
            new.audience,
            new.engagement_id,
            new.trust,
            new.task_id,
            new.created_by,
            new.created_at,
        )

    async def list(self, query: SourceQuery) -> Sequence[StoredSource]:
        rows = await self._connection.fetch(_LIST, *query.page.behind, query.page.limit + 1)
        return [_source(row) for row in rows]

    async def get(self, source_id: SourceId, *, lock: bool = False) -> StoredSource | None:
        if lock:
            await self._connection.execute(_LOCK, source_id)
        row = await self._connection.fetchrow(_GET, source_id)
        return None if row is None else _source(row)

    async def count(self) -> int:
        return int(await self._connection.fetchval(_COUNT))

    async def changes(self, query: ChangeQuery) -> Sequence[ItemChange]:
        rows = await self._connection.fetch(_CHANGES, query.source_id, query.kind, query.before, query.limit + 1)
        return [_change(row) for row in rows]

    async def change(self, change: SourceChange) -> None:
        await self._connection.execute(_CHANGE, change.source_id, change.name, _json(change.settings), change.task_id)

    async def readdress(self, source_id: SourceId, before: str, after: str, now: datetime) -> None:
        await self._connection.execute(_READDRESS, source_id, before, after, now)

    async def remove(self, source_id: SourceId, now: datetime) -> None:
        await self._connection.execute(_LOCK, source_id)
        await self._connection.execute(_REMOVE, source_id, now)
        await self._connection.execute(_ALL_GONE, source_id)

    async def state(self, source_id: SourceId, batch: int, *, lock: bool = False) -> SyncState | None:
        if lock:
            await self._connection.execute(_LOCK, source_id)
        row = await self._connection.fetchrow(_STATE, source_id)
        if row is None:
            return None
        pending = await self._connection.fetch(_PENDING, source_id, batch)
        return _state(row, tuple(_pending(each) for each in pending))

    async def organization(self) -> str:
        return str(await self._connection.fetchval(_ORGANIZATION))

    async def keeper(self) -> PrincipalId | None:
        return cast("PrincipalId | None", await self._connection.fetchval(_KEEPER))

    async def is_pending(self, source_id: SourceId) -> bool:
        return bool(await self._connection.fetch(_PENDING, source_id, 1))

    async def found(self, source_id: SourceId, listing: int, items: Sequence[Found], audiences: Sequence[str]) -> None:
        await self._connection.execute(
            _FOUND,
            source_id,
            listing,
            [item.key for item in items],
            [item.path for item in items],
            [item.version for item in items],
            [item.media_type for item in items],
            [item.size for item in items],
            [item.url for item in items],
            [item.identity for item in items],
            audiences,
        )

    async def gone(self, source_id: SourceId, keys: Collection[str]) -> None:
        await self._connection.execute(_GONE, source_id, list(keys))

    async def unlisted_gone(self, source_id: SourceId, listing: int) -> None:
        await self._connection.execute(_UNLISTED_GONE, source_id, listing)

    async def listed(self, source_id: SourceId, listing: int) -> tuple[int, int]:
        (row,) = await self._connection.fetch(_LISTED, source_id, listing)
        return row["listed"], row["held"]

    async def carry_over(self, source_id: SourceId) -> None:
        await self._connection.execute(_CARRY_OVER, source_id)

    async def try_again(self, source_id: SourceId, now: datetime) -> None:
        await self._connection.execute(_TRY_AGAIN, source_id, now)

    async def failing(self, source_id: SourceId) -> int:
        return int(await self._connection.fetchval(_FAILING, source_id))

    async def reader_set(self, addresses: Collection[str]) -> int:
        digests = sorted(hashlib.sha256(address.encode()).digest() for address in addresses)
        digest = hashlib.sha256(b"".join(digests)).digest()
        found = await self._connection.fetchval(_SET, digest)
        if found is not None:
            return int(found)
        added = await self._connection.fetchval(_ADD_SET, digest)
        if added is None:  # by another sync, just now
            return int(await self._connection.fetchval(_SET, digest))
        await self._connection.execute(_ADD_READERS, added, digests)
        return int(added)

    async def unknown_readers(self, source_id: SourceId) -> int:
        return int(await self._connection.fetchval(_UNKNOWN_READERS, source_id))

    async def held(self, source_id: SourceId, item: PendingItem, document_id: DocumentId | None) -> None:
        found = item.found
        await self._connection.execute(
            _HELD,
            source_id,
            found.key,
            document_id,
            found.path,
            found.version,
            item.audience,
            item.failures,
            item.retry_at,
        )

    async def held_for(self, source_id: SourceId, item: PendingItem) -> None:
        await self._connection.execute(_HELD_FOR, source_id, item.found.key, item.audience, item.found.path)

    async def forget(self, source_id: SourceId, key: str) -> None:
        await self._connection.execute(_FORGET, source_id, key)

    async def write(
        self, source_id: SourceId, kind: ChangeKind, item: PendingItem, *, why: str | None, now: datetime
    ) -> None:
        # Of what is gone those hear who could read it, by the name that they knew.
        path = item.held_path or item.found.path if item.is_gone else item.found.path
        audience = item.held_audience or item.audience if item.is_gone else item.audience
        was = item.held_path if item.held_path != path and item.held_audience == audience else None
        await self._connection.execute(_WRITE, source_id, kind, path, was, why, item.document_id, audience, now)

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
        await self._connection.execute(
            _ADVANCE,
            source_id,
            phase,
            cursor,
            listing,
            is_listing,
            task_run_id,
            listed_in,
            _json(_report_json(report)),
            synced_at,
        )

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
        await self._connection.execute(_STUMBLE, source_id, failure, failures, failed_in, task_run_id, rests_until)

    async def prune(self, source_id: SourceId, most: int) -> None:
        await self._connection.execute(_PRUNE, source_id, most)

    async def namesake(self, document_id: DocumentId) -> Namesake | None:
        row = await self._connection.fetchrow(_NAMESAKE, document_id)
        if row is None:
            return None
        return Namesake(
            document_id=DocumentId(row["document_id"]),
            line_id=DocumentId(row["line_id"]),
            edition=row["edition"],
            uploaded_by=PrincipalId(row["uploaded_by"]),
            content_sha256=row["content_sha256"],
        )

    async def line(self, document_id: DocumentId) -> Sequence[DocumentId]:
        return [DocumentId(row["document_id"]) for row in await self._connection.fetch(_LINE, document_id)]

    async def show_to(self, document_id: DocumentId, audience: str) -> None:
        family = [row["document_id"] for row in await self._connection.fetch(_FAMILY, document_id)]
        for statement in _SHOW_TO:
            await self._connection.execute(statement, family, audience)

    async def rename(self, document_id: DocumentId, title: str, uri: str, now: datetime) -> None:
        await self._connection.execute(_RENAME, document_id, title, uri, now)


def _json(value: Mapping[str, object]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _report_json(report: Report) -> Mapping[str, object]:
    return {
        "counts": dict(report.counts),
        "failing": report.failing,
        "unknown_readers": report.unknown_readers,
        "unexpanded": list(report.unexpanded),
        "notes": list(report.notes),
    }


def _report(text: str) -> Report:
    held = cast("dict[str, object]", orjson.loads(text))
    return Report(
        counts=cast("dict[str, int]", held.get("counts", {})),
        failing=cast(int, held.get("failing", 0)),
        unknown_readers=cast(int, held.get("unknown_readers", 0)),
        unexpanded=tuple(cast("list[str]", held.get("unexpanded", []))),
        notes=tuple(cast("list[str]", held.get("notes", []))),
    )


def _source(row: Row) -> StoredSource:
    engagement_id, task_id = row["engagement_id"], row["task_id"]
    return StoredSource(
        source_id=SourceId(row["source_id"]),
        kind=row["kind"],
        name=row["name"],
        settings=cast("dict[str, object]", orjson.loads(row["settings"])),
        audience=row["audience"],
        engagement_id=None if engagement_id is None else EngagementId(engagement_id),
        trust=row["trust"],
        task_id=None if task_id is None else TaskId(task_id),
        created_by=row["created_by"],
        created_at=row["created_at"],
        phase=row["phase"],
        failure=row["failure"],
        rests_until=row["rests_until"],
        synced_at=row["synced_at"],
        documents=row["documents"],
        report=_report(row["report"]),
    )


def _state(row: Row, batch: tuple[PendingItem, ...]) -> SyncState:
    return SyncState(
        source=_source(row),
        organization=row["slug"],
        cursor=row["cursor"],
        listing=row["listing"],
        is_listing=row["is_listing"],
        revision=row["revision"],
        task_run_id=_run(row["task_run_id"]),
        listed_in=_run(row["listed_in"]),
        failed_in=_run(row["failed_in"]),
        failures=row["failures"],
        is_removed=row["is_removed"],
        batch=batch,
    )


def _run(value: object) -> TaskRunId | None:
    return None if value is None else cast(TaskRunId, value)


def _pending(row: Row) -> PendingItem:
    document_id = row["document_id"]
    return PendingItem(
        found=Found(
            key=row["item_key"],
            path=row["path"],
            version=row["version"],
            media_type=row["media_type"],
            size=row["size_bytes"],
            readers=EVERYONE,
            url=row["url"],
            identity=row["identity"],
        ),
        audience=row["audience"],
        is_gone=row["is_gone"],
        document_id=None if document_id is None else DocumentId(document_id),
        held_path=row["held_path"],
        held_version=row["held_version"],
        held_audience=row["held_audience"],
        failures=row["failures"],
        retry_at=row["retry_at"],
    )


def _change(row: Row) -> ItemChange:
    document_id = row["document_id"]
    return ItemChange(
        change_id=row["change_id"],
        kind=row["kind"],
        path=row["path"],
        was=row["was"],
        why=row["why"],
        document_id=None if document_id is None else DocumentId(document_id),
        at=row["at"],
    )
