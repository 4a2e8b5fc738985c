"""Lines of versions and what is staged of them, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from domain.kernel import PrincipalId, Trust
from domain.storage.postgres import Connection, Row
from knowledge.model import DocumentId, NewDocument
from knowledge.prepare import PreparedDocument
from knowledge.versions import Namesake, Staged, Version

# Two uploads under one name come one behind the other.
_HOLD_NAME = "SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('/', glow.organization_id(), $1::text), 55))"

LINE = """
    SELECT d.document_id FROM knowledge_documents d
    WHERE d.document_id = $1
       OR d.line_id = (SELECT o.line_id FROM knowledge_documents o WHERE o.document_id = $1)
"""

# In one order, since they are several: an upload holds one of them.
_HOLD_NAMES = f"""
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('/', glow.organization_id(), n.name), 55))
FROM (
    SELECT DISTINCT v.name
    FROM knowledge_documents k, LATERAL (VALUES (k.uri), (encode(k.content_sha256, 'hex'))) AS v (name)
    WHERE k.document_id IN ({LINE})
    ORDER BY v.name
) AS n
"""

# Of another line: an earlier or later version is no other document.
_IS_TAKEN = """
SELECT EXISTS (
    SELECT FROM knowledge_documents d JOIN knowledge_documents o ON o.organization_id = d.organization_id
    WHERE d.document_id = $1 AND d.parent_id IS NULL AND d.replaced_by IS NULL
      AND o.parent_id IS NULL AND o.replaced_by IS NULL AND o.deleted_at IS NULL
      AND coalesce(o.line_id, o.document_id) <> coalesce(d.line_id, d.document_id)
      AND o.audience = d.audience AND o.engagement_id IS NOT DISTINCT FROM d.engagement_id
      AND o.trust = coalesce($2::text, d.trust)
      AND (md5(o.uri) = md5(d.uri) AND o.uri = d.uri
           OR o.content_sha256 = d.content_sha256 AND o.title = d.title AND o.status <> 'failed'))
"""

# What comes from a source is known by its item there, whatever it is called and holds.
_NAMED = """
SELECT document_id, coalesce(line_id, document_id) AS line_id, edition, uploaded_by, content_sha256
FROM knowledge_documents
WHERE parent_id IS NULL AND source_id IS NULL AND md5(uri) = md5($1) AND uri = $1
  AND audience = $2 AND engagement_id IS NOT DISTINCT FROM $3 AND trust = $4
  AND deleted_at IS NULL AND replaced_by IS NULL
ORDER BY edition DESC, created_at DESC, document_id DESC
LIMIT 1
"""

_ALIKE = """
SELECT document_id, coalesce(line_id, document_id) AS line_id, edition, uploaded_by, content_sha256
FROM knowledge_documents
WHERE parent_id IS NULL AND source_id IS NULL AND content_sha256 = $1 AND title = $5
  AND audience = $2 AND engagement_id IS NOT DISTINCT FROM $3 AND trust = $4
  AND status <> 'failed' AND deleted_at IS NULL AND replaced_by IS NULL
ORDER BY created_at DESC, document_id DESC
LIMIT 1
"""

_JOIN = """
UPDATE knowledge_documents SET line_id = $2, edition = CASE document_id WHEN $1 THEN $3 ELSE edition END,
    version = CASE document_id WHEN $1 THEN $3 ELSE version END
WHERE document_id = $1 OR (document_id = $2 AND line_id IS NULL)
"""

# In the order of their ids, whichever of them asks.
_LOCK_LINE = f"""
WITH line AS MATERIALIZED ({LINE})
SELECT document_id, edition, text IS NOT NULL AS has_text, replaced_by IS NOT NULL AS is_replaced
FROM knowledge_documents
WHERE document_id IN (SELECT document_id FROM line) AND deleted_at IS NULL
ORDER BY document_id
FOR UPDATE
"""

_PARTS = """
SELECT document_id FROM knowledge_documents
WHERE parent_id = ANY ($1) AND deleted_at IS NULL AND replaced_by IS NULL
ORDER BY document_id FOR UPDATE
"""

_STAGE = """
INSERT INTO knowledge_staged (organization_id, document_id, prepared, prepared_as, chunk_count, staged_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5)
ON CONFLICT (organization_id, document_id) DO UPDATE
SET prepared = excluded.prepared, prepared_as = excluded.prepared_as, chunk_count = excluded.chunk_count,
    embedded_count = 0, staged_at = excluded.staged_at
"""

_COUNT = "UPDATE knowledge_staged SET embedded_count = $2, staged_at = $3 WHERE document_id = $1"

_STAGED = """
SELECT d.title, s.prepared, now() - s.staged_at AS waited, d.text IS NULL AS is_new
FROM knowledge_staged s JOIN knowledge_documents d USING (organization_id, document_id)
WHERE s.document_id = $1 AND d.deleted_at IS NULL
"""


# Its text stays with it; what it counted for in the corpus does not.
_REPLACE = """
UPDATE knowledge_documents
SET replaced_by = $2, replaced_at = $3, updated_at = $3, chunk_count = 0, term_count = 0, embedding_models = '{}'
WHERE document_id = ANY ($1)
"""


class PostgresVersions:
    """VersionRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def named(self, new: NewDocument, uri: str) -> Namesake | None:
        await self._connection.execute(_HOLD_NAME, uri)
        row = await self._connection.fetchrow(_NAMED, uri, new.audience, new.engagement_id, new.trust)
        return None if row is None else _namesake(row)

    async def alike(self, new: NewDocument, digest: bytes) -> Namesake | None:
        await self._connection.execute(_HOLD_NAME, digest.hex())
        row = await self._connection.fetchrow(_ALIKE, digest, new.audience, new.engagement_id, new.trust, new.title)
        return None if row is None else _namesake(row)

    async def hold_names(self, document_id: DocumentId) -> None:
        await self._connection.execute(_HOLD_NAMES, document_id)

    async def is_taken(self, document_id: DocumentId, trust: Trust | None = None) -> bool:
        return bool(await self._connection.fetchval(_IS_TAKEN, document_id, trust))

    async def join(self, document_id: DocumentId, earlier: Namesake) -> None:
        await self._connection.execute(_JOIN, document_id, earlier.line_id, earlier.edition + 1)

    async def parts(self, document_ids: Sequence[DocumentId]) -> Sequence[DocumentId]:
        rows = await self._connection.fetch(_PARTS, document_ids)
        return [DocumentId(row["document_id"]) for row in rows]

    async def lock_line(self, document_id: DocumentId) -> Sequence[Version]:
        rows = await self._connection.fetch(_LOCK_LINE, document_id)
        line = [
            Version(
                document_id=DocumentId(row["document_id"]),
                edition=row["edition"],
                has_text=row["has_text"],
                is_replaced=row["is_replaced"],
            )
            for row in rows
        ]
        return sorted(line, key=lambda each: each.edition)

    async def stage(self, document_id: DocumentId, prepared: bytes, of: PreparedDocument, now: datetime) -> None:
        await self._connection.execute(_STAGE, document_id, prepared, of.prepared_as, len(of.chunks), now)

    async def staged(self, document_id: DocumentId) -> Staged | None:
        row = await self._connection.fetchrow(_STAGED, document_id)
        if row is None:
            return None
        return Staged(title=row["title"], prepared=row["prepared"], waited=row["waited"], is_new=row["is_new"])

    async def count(self, document_id: DocumentId, embedded: int, now: datetime) -> None:
        await self._connection.execute(_COUNT, document_id, embedded, now)

    async def unstage(self, document_id: DocumentId) -> None:
        await self._connection.execute("DELETE FROM knowledge_staged WHERE document_id = $1", document_id)

    async def replace(self, document_ids: Sequence[DocumentId], by: DocumentId, now: datetime) -> None:
        await self._connection.execute(_REPLACE, document_ids, by, now)

    async def prepared_as(self, document_id: DocumentId, prepared_as: str) -> None:
        await self._connection.execute(
            "UPDATE knowledge_documents SET prepared_as = $2 WHERE document_id = $1", document_id, prepared_as
        )


def _namesake(row: Row) -> Namesake:
    return Namesake(
        document_id=DocumentId(row["document_id"]),
        line_id=DocumentId(row["line_id"]),
        edition=row["edition"],
        uploaded_by=PrincipalId(row["uploaded_by"]),
        content_sha256=row["content_sha256"],
    )
