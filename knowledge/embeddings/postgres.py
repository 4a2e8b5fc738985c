"""Vectors in SQL, and the part of a search that finds the nearest of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from domain.storage.postgres import Connection
from knowledge.embeddings.model import Embedded, PendingChunk
from knowledge.model import ChunkId, DocumentId

# What is embedded of a passage is what its words are indexed by (prepare.passage_terms).
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
_ADD = """
INSERT INTO knowledge_embeddings (organization_id, chunk_id, model, embedding, audience, engagement_id)
SELECT c.organization_id, c.chunk_id, $1, n.embedding::halfvec, c.audience, c.engagement_id
FROM unnest($2::uuid[], $3::text[]) AS n (chunk_id, embedding)
JOIN knowledge_chunks c ON c.chunk_id = n.chunk_id
ORDER BY c.chunk_id
ON CONFLICT (organization_id, chunk_id, model) DO NOTHING
RETURNING 1
"""

_HAS_ANY = "SELECT EXISTS (SELECT FROM knowledge_embeddings WHERE model = $1)"

_REMOVE = """
DELETE FROM knowledge_embeddings e USING knowledge_chunks c
WHERE c.document_id = $1 AND e.organization_id = c.organization_id AND e.chunk_id = c.chunk_id
"""

# The cast is the expression that the model's index is made over: the dimensions must stand in the text. The distance is
# taken for a plain number where all eligible vectors are to be compared, so that no index is asked. Row security holds
# the organization already, by a value that the planner cannot see; named once more it can, and tells one of a hundred
# rows from all of them.
_NEAREST = """
nearest AS MATERIALIZED (
    SELECT e.chunk_id, e.embedding::halfvec(DIMENSIONS) <=> $14::text::halfvec(DIMENSIONS) AS distance
    FROM knowledge_embeddings e
    WHERE e.organization_id = glow.organization_id() AND e.model = $15
      AND (UNFILTERED OR e.chunk_id IN (SELECT chunk_id FROM eligible))
    ORDER BY (e.embedding::halfvec(DIMENSIONS) <=> $14::text::halfvec(DIMENSIONS)) EXACTLY
    LIMIT $16
)
"""


@functools.lru_cache(maxsize=64)
def nearest_sql(dimensions: int, unfiltered: str, *, exactly: bool) -> str:
    """The part of a search that gives `nearest`: chunk_id and distance of the $16 nearest, by $14 in the model $15.

    `unfiltered` is SQL that holds where every passage is `eligible`.
    """
    sql = _NEAREST.replace("DIMENSIONS", str(dimensions)).replace("UNFILTERED", unfiltered)
    return sql.replace("EXACTLY", "+ 0" if exactly else "")


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

    async def has_any(self, model_id: str) -> bool:
        return bool(await self._connection.fetchval(_HAS_ANY, model_id))

    async def remove(self, document_id: DocumentId) -> None:
        await self._connection.execute(_REMOVE, document_id)
