"""Vectors in SQL, and the part of a search that finds the nearest of them."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence

from domain.storage.postgres import Connection
from knowledge.embeddings.model import Embedded, PendingChunk
from knowledge.model import ChunkId, DocumentId

# What is embedded of a passage is what its words are indexed by (prepare.passage_terms).
# What is embedded of a passage (prepare.embedded_text), and what it is known again by.
_DIGEST = "sha256(convert_to(concat_ws(E'\\n', d.title, c.section, c.text), 'UTF8'))"

_PENDING = """
SELECT c.chunk_id, concat_ws(E'\n', d.title, c.section, c.text) AS text
FROM knowledge_documents d JOIN knowledge_chunks c USING (organization_id, document_id)
WHERE d.document_id = $1 AND d.deleted_at IS NULL AND NOT EXISTS (
    SELECT FROM knowledge_embeddings e
    WHERE e.organization_id = c.organization_id AND e.chunk_id = c.chunk_id AND e.model = $2)
ORDER BY c.ordinal
LIMIT $3
"""

# A passage carries what decides who sees it; a vector takes that over in the same transaction. Passages that were
# indexed anew meanwhile are gone, and their vectors with them.
_ADD = f"""
INSERT INTO knowledge_embeddings (organization_id, chunk_id, model, embedding, audience, engagement_id, digest)
SELECT c.organization_id, c.chunk_id, $1, n.embedding::halfvec, c.audience, c.engagement_id, {_DIGEST}
FROM unnest($2::uuid[], $3::text[]) AS n (chunk_id, embedding)
JOIN knowledge_chunks c ON c.chunk_id = n.chunk_id
JOIN knowledge_documents d ON d.document_id = c.document_id
ORDER BY c.chunk_id
ON CONFLICT (organization_id, chunk_id, model) DO NOTHING
RETURNING 1
"""

# A text that was embedded once is not embedded again, of whichever document of the organization's it was a passage.
_REUSE = f"""
INSERT INTO knowledge_embeddings (organization_id, chunk_id, model, embedding, audience, engagement_id, digest)
SELECT DISTINCT ON (c.chunk_id, v.model) c.organization_id, c.chunk_id, v.model, v.embedding, c.audience,
    c.engagement_id, c.digest
FROM (SELECT c.organization_id, c.chunk_id, c.audience, c.engagement_id, {_DIGEST} AS digest
      FROM knowledge_documents d JOIN knowledge_chunks c USING (organization_id, document_id)
      WHERE d.document_id = $1 AND d.deleted_at IS NULL) c
CROSS JOIN LATERAL (
    SELECT k.model, k.embedding FROM knowledge_kept_vectors k
    WHERE k.organization_id = c.organization_id AND k.digest = c.digest
    UNION ALL
    SELECT e.model, e.embedding FROM knowledge_embeddings e
    WHERE e.organization_id = c.organization_id AND e.digest = c.digest) v
ORDER BY c.chunk_id, v.model
ON CONFLICT (organization_id, chunk_id, model) DO NOTHING
RETURNING 1
"""

_KNOWN = """
SELECT digest FROM knowledge_kept_vectors WHERE model = $1 AND digest = ANY ($2)
UNION
SELECT digest FROM knowledge_embeddings WHERE model = $1 AND digest = ANY ($2)
"""

_KEEP = """
INSERT INTO knowledge_kept_vectors (organization_id, document_id, model, digest, embedding)
SELECT d.organization_id, d.document_id, $2, n.digest, n.embedding::halfvec
FROM knowledge_documents d, unnest($3::bytea[], $4::text[]) AS n (digest, embedding)
WHERE d.document_id = $1
ON CONFLICT (organization_id, document_id, model, digest) DO NOTHING
"""

_SET_ASIDE = """
INSERT INTO knowledge_kept_vectors (organization_id, document_id, model, digest, embedding)
SELECT DISTINCT ON (e.model, e.digest) e.organization_id, c.document_id, e.model, e.digest, e.embedding
FROM knowledge_chunks c JOIN knowledge_embeddings e USING (organization_id, chunk_id)
WHERE c.document_id = $1 AND e.digest IS NOT NULL
ORDER BY e.model, e.digest
ON CONFLICT (organization_id, document_id, model, digest) DO NOTHING
"""

_HAS_ANY = "SELECT EXISTS (SELECT FROM knowledge_embeddings WHERE model = $1)"

_REMOVE = """
DELETE FROM knowledge_embeddings e USING knowledge_chunks c
WHERE c.document_id = $1 AND e.organization_id = c.organization_id AND e.chunk_id = c.chunk_id
"""

# The cast is the expression that the model's index is made over: the dimensions must stand in the text. Row security
# holds the organization already, by a value that the planner cannot see; named once more it can, and tells one of a
# hundred rows from all of them. Where all eligible vectors are to be compared the distance is taken for a plain number,
# so that no index is asked for an order, and they are looked up one by one: a client sees few of many.
_NEAREST = """
nearest AS MATERIALIZED (
    SELECT e.chunk_id, e.embedding::halfvec(DIMENSIONS) <=> $14::text::halfvec(DIMENSIONS) AS distance
    FROM knowledge_embeddings e
    WHERE e.organization_id = glow.organization_id() AND e.model = $15
      AND ELIGIBLE
    ORDER BY (e.embedding::halfvec(DIMENSIONS) <=> $14::text::halfvec(DIMENSIONS)) EXACTLY
    LIMIT $16
)
"""
_ONE_BY_ONE = "e.chunk_id = ANY (ARRAY (SELECT chunk_id FROM eligible))"
_AMONG_OTHERS = "(UNFILTERED OR e.chunk_id IN (SELECT chunk_id FROM eligible))"


@functools.lru_cache(maxsize=64)
def nearest_sql(dimensions: int, unfiltered: str, *, exactly: bool) -> str:
    """The part of a search that gives `nearest`: chunk_id and distance of the $16 nearest, by $14 in the model $15.

    `unfiltered` is SQL that holds where every passage is `eligible`.
    """
    sql = _NEAREST.replace("DIMENSIONS", str(dimensions)).replace("ELIGIBLE", _ONE_BY_ONE if exactly else _AMONG_OTHERS)
    return sql.replace("EXACTLY", "+ 0" if exactly else "").replace("UNFILTERED", unfiltered)


def vector_text(values: Sequence[float]) -> str:
    """A vector as PostgreSQL reads it, to the precision that half a word holds."""
    return f"[{','.join(f'{value:.5g}' for value in values)}]"


class PostgresEmbeddings:
    """EmbeddingStore over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def pending(self, document_id: DocumentId, model_id: str, limit: int) -> Sequence[PendingChunk]:
        rows = await self._connection.fetch(_PENDING, document_id, model_id, limit)
        return [PendingChunk(chunk_id=ChunkId(row["chunk_id"]), text=row["text"]) for row in rows]

    async def add(self, embedded: Embedded) -> int:
        written = await self._connection.fetch(
            _ADD, embedded.space.model_id, embedded.chunk_ids, [vector_text(values) for values in embedded.vectors]
        )
        return len(written)

    async def reuse(self, document_id: DocumentId) -> int:
        return len(await self._connection.fetch(_REUSE, document_id))

    async def known(self, model_id: str, digests: Collection[bytes]) -> Collection[bytes]:
        return [row["digest"] for row in await self._connection.fetch(_KNOWN, model_id, list(digests))]

    async def keep(self, document_id: DocumentId, model_id: str, vectors: Mapping[bytes, Sequence[float]]) -> None:
        texts = [vector_text(values) for values in vectors.values()]
        await self._connection.execute(_KEEP, document_id, model_id, list(vectors), texts)

    async def set_aside(self, document_id: DocumentId) -> None:
        await self._connection.execute(_SET_ASIDE, document_id)

    async def forget(self, document_id: DocumentId) -> None:
        await self._connection.execute("DELETE FROM knowledge_kept_vectors WHERE document_id = $1", document_id)

    async def has_any(self, model_id: str) -> bool:
        return bool(await self._connection.fetchval(_HAS_ANY, model_id))

    async def remove(self, document_id: DocumentId) -> None:
        await self._connection.execute(_REMOVE, document_id)
