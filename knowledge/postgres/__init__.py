"""Documents, their files, their passages and what finds them in SQL; the last step of the path for knowledge."""

from __future__ import annotations

from domain.storage.postgres import Connection
from knowledge.embeddings.postgres import PostgresEmbeddings
from knowledge.model import EVEN, SearchWeights
from knowledge.postgres.documents import PostgresDocuments, PostgresFiles
from knowledge.postgres.indexing import PostgresIndex
from knowledge.postgres.parts import PostgresParts
from knowledge.postgres.search import SEARCH, search_values
from knowledge.service import KnowledgeService

__all__ = [
    "SEARCH",
    "PostgresDocuments",
    "PostgresFiles",
    "PostgresIndex",
    "PostgresParts",
    "knowledge_service",
    "search_values",
]


def knowledge_service(connection: Connection, weights: SearchWeights = EVEN) -> KnowledgeService:
    """The service of one transaction."""
    return KnowledgeService(
        documents=PostgresDocuments(connection),
        index=PostgresIndex(connection, weights),
        files=PostgresFiles(connection),
        embeddings=PostgresEmbeddings(connection),
        parts=PostgresParts(connection),
    )
