"""Passages and their postings in SQL: written once a document, and removed with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from knowledge.fingerprint import Fingerprint
from knowledge.model import ChunkId, DocumentId
from knowledge.postgres.search import PostgresSearch
from knowledge.prepare import PreparedDocument
from knowledge.reanalysis import AnalysedPassage

_REMOVE_POSTINGS = """
DELETE FROM knowledge_postings p USING knowledge_chunks c
WHERE c.document_id = $1 AND p.organization_id = c.organization_id AND p.chunk_id = c.chunk_id
"""

_CHUNK_IDS = "SELECT chunk_id FROM knowledge_chunks WHERE document_id = $1"

_SET_ANALYSIS = """
UPDATE knowledge_chunks c SET length = n.length, simhash = n.simhash, figures = n.figures, words = n.words
FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::bigint[], $5::integer[])
    AS n (chunk_id, length, simhash, figures, words)
WHERE c.chunk_id = n.chunk_id
"""

_REMOVE_CHUNKS = "DELETE FROM knowledge_chunks WHERE document_id = $1"

# A passage carries what decides who sees it from its document, in the same transaction.
_ADD_CHUNKS = """
INSERT INTO knowledge_chunks (organization_id, chunk_id, document_id, ordinal, start_offset, end_offset, page, section,
    text, token_count, length, simhash, figures, words, audience, engagement_id, trust)
SELECT d.organization_id, n.chunk_id, d.document_id, n.ordinal, n.start_offset, n.end_offset, n.page, n.section,
    n.text, n.token_count, n.length, n.simhash, n.figures, n.words, d.audience, d.engagement_id, d.trust
FROM knowledge_documents d,
     unnest($2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::integer[], $7::text[], $8::text[],
            $9::integer[], $10::integer[], $11::bigint[], $12::bigint[], $13::integer[])
         AS n (chunk_id, ordinal, start_offset, end_offset, page, section, text, token_count, length, simhash, figures,
               words)
WHERE d.document_id = $1
ORDER BY n.ordinal
"""

TERMS_LOCK = "hashtextextended(glow.organization_id() || '/terms', 55)"
"""Held by whoever relies on an organization's words being there, and alone by who removes those without a posting."""

# In order, so that two documents indexed at once wait for one another's new terms and never lock one another out.
_ADD_TERMS = """
INSERT INTO knowledge_terms (organization_id, term)
SELECT glow.organization_id(), n.term
FROM unnest($1::text[]) AS n (term)
WHERE NOT EXISTS (SELECT FROM knowledge_terms t WHERE t.term = n.term)
ORDER BY n.term
ON CONFLICT (organization_id, term) DO NOTHING
"""

# Once a document and in the order of the index: row by row it costs many times as much.
_ADD_POSTINGS = """
INSERT INTO knowledge_postings (organization_id, term_id, chunk_id, frequency, length, audience, engagement_id, trust)
SELECT c.organization_id, t.term_id, c.chunk_id, n.frequency, c.length, c.audience, c.engagement_id, c.trust
FROM unnest($1::text[], $2::uuid[], $3::integer[]) AS n (term, chunk_id, frequency)
JOIN knowledge_terms t ON t.term = n.term
JOIN knowledge_chunks c ON c.chunk_id = n.chunk_id
ORDER BY t.term_id, c.chunk_id
"""


class PostgresIndex(PostgresSearch):
    """SearchIndex over the call's own connection."""

    async def write(self, document_id: DocumentId, prepared: PreparedDocument, chunk_ids: Sequence[ChunkId]) -> None:
        await self._write_chunks(document_id, prepared, chunk_ids)
        chunks = zip(chunk_ids, prepared.chunks, strict=True)
        await self._write_postings({chunk_id: chunk.terms for chunk_id, chunk in chunks})

    async def rewrite(self, document_id: DocumentId, passages: Mapping[ChunkId, AnalysedPassage]) -> bool:
        stored: set[ChunkId] = {row["chunk_id"] for row in await self._connection.fetch(_CHUNK_IDS, document_id)}
        if stored != set(passages):
            return False
        await self._connection.execute(_REMOVE_POSTINGS, document_id)
        await self._connection.execute(
            _SET_ANALYSIS,
            list(passages),
            [passage.length for passage in passages.values()],
            *_fingerprints([passage.fingerprint for passage in passages.values()]),
        )
        await self._write_postings({chunk_id: passage.terms for chunk_id, passage in passages.items()})
        return True

    async def _write_postings(self, terms: Mapping[ChunkId, Mapping[str, int]]) -> None:
        postings = [
            (term, chunk_id, frequency)
            for chunk_id, frequencies in terms.items()
            for term, frequency in frequencies.items()
        ]
        await self._connection.execute(f"SELECT pg_advisory_xact_lock_shared({TERMS_LOCK})")
        await self._connection.execute(_ADD_TERMS, list({term for term, _, _ in postings}))
        await self._connection.execute(
            _ADD_POSTINGS,
            [term for term, _, _ in postings],
            [chunk_id for _, chunk_id, _ in postings],
            [frequency for _, _, frequency in postings],
        )

    async def remove(self, document_id: DocumentId) -> None:
        await self._connection.execute(_REMOVE_POSTINGS, document_id)
        await self._connection.execute(_REMOVE_CHUNKS, document_id)

    async def _write_chunks(
        self, document_id: DocumentId, prepared: PreparedDocument, chunk_ids: Sequence[ChunkId]
    ) -> None:
        chunks = [prepared_chunk.chunk for prepared_chunk in prepared.chunks]
        await self._connection.execute(
            _ADD_CHUNKS,
            document_id,
            chunk_ids,
            [chunk.ordinal for chunk in chunks],
            [chunk.start for chunk in chunks],
            [chunk.end for chunk in chunks],
            [chunk.page for chunk in chunks],
            [chunk.section for chunk in chunks],
            [chunk.text for chunk in chunks],
            [chunk.token_count for chunk in chunks],
            [prepared_chunk.length for prepared_chunk in prepared.chunks],
            *_fingerprints([prepared_chunk.fingerprint for prepared_chunk in prepared.chunks]),
        )


def _fingerprints(each: Sequence[Fingerprint]) -> tuple[list[int], list[int], list[int]]:
    """Sketches, figures and counts of words, in step."""
    return [one.simhash for one in each], [one.figures for one in each], [one.words for one in each]
