"""Documents, their files, their passages and what finds them in SQL; the last step of the path for knowledge."""

from __future__ import annotations

from domain.storage.postgres import Connection
from knowledge.embeddings.postgres import PostgresEmbeddings
from knowledge.model import AS_MEASURED, SearchWeights
from knowledge.ports import Storage
from knowledge.postgres.documents import PostgresDocuments, PostgresFiles
from knowledge.postgres.indexing import PostgresIndex
from knowledge.postgres.parts import PostgresParts
from knowledge.postgres.removal import PostgresRemovals
from knowledge.postgres.search import SEARCH, search_values
from knowledge.postgres.trust import PostgresTrust
from knowledge.postgres.versions import PostgresVersions
from knowledge.removal import RemovalService
from knowledge.service import KnowledgeService
from knowledge.trust import TrustService
from knowledge.versions import VersionService

__all__ = [
    "SEARCH",
    "PostgresDocuments",
    "PostgresFiles",
    "PostgresIndex",
    "PostgresParts",
    "knowledge_service",
    "search_values",
]


def knowledge_service(
    connection: Connection, weights: SearchWeights = AS_MEASURED, storage: Storage | None = None
) -> KnowledgeService:
    """The service of one transaction. `storage`: where files are kept; None: in the database."""
    documents, index = PostgresDocuments(connection), PostgresIndex(connection, weights)
    embeddings, parts, versions = (
        PostgresEmbeddings(connection),
        PostgresParts(connection),
        PostgresVersions(connection),
    )
    return KnowledgeService(
        documents=documents,
        index=index,
        files=PostgresFiles(connection, storage),
        embeddings=embeddings,
        parts=parts,
        versions=VersionService(documents=documents, index=index, embeddings=embeddings, versions=versions),
        removals=RemovalService(
            removals=PostgresRemovals(connection), versions=versions, parts=parts, index=index, embeddings=embeddings
        ),
        trust=TrustService(trust=PostgresTrust(connection), versions=versions),
    )
