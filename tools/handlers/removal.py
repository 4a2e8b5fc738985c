"""Documents deleted, restored within their time, and purged: acts that models never see."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from domain.kernel import DomainError, Role
from knowledge.model import DocumentId
from knowledge.removal import GRACE, DeletedDocument
from knowledge.service import DocumentNotFound
from tools.handlers.arguments import Arguments
from tools.handlers.shown import shown_document
from tools.outcomes import Json
from tools.work import CallContext, Handler, Job

Grace = Callable[[], timedelta]
"""How long what is deleted now can be restored."""


class NotYourDocument(DomainError):
    """Somebody else's upload, which it takes a MANAGER to act on."""

    code: ClassVar[str] = "not_your_document"

    def __init__(self, act: str) -> None:
        super().__init__(f"document_id: somebody else uploaded this document; it takes a MANAGER to {act} it")


class DocumentDelete(Arguments):
    document_id: UUID


class DocumentRestore(Arguments):
    document_id: UUID


class DocumentPurge(Arguments):
    document_id: UUID


def as_usual() -> timedelta:
    """What holds where no operator says otherwise."""
    return GRACE


def removal_handlers(grace: Grace = as_usual) -> Mapping[str, Handler[Any]]:
    """The tools by which documents go and come back."""

    async def document_delete(arguments: DocumentDelete, context: CallContext) -> Json:
        """Effect  writes knowledge_documents, knowledge_chunks, knowledge_postings, knowledge_embeddings,
                knowledge_kept_vectors, knowledge_staged.

        Raises  NotYourDocument.
        """
        if context.facts.of("document", "own") is not True and context.role.rank < Role.MANAGER.rank:
            raise NotYourDocument("delete")
        until = context.now + grace()
        await context.work.knowledge.delete(DocumentId(arguments.document_id), now=context.now, until=until)
        return {"document_id": str(arguments.document_id), "restorable_until": until.isoformat()}

    return {
        "document_delete": Handler(arguments=DocumentDelete, work=document_delete),
        "document_restore": Handler(arguments=DocumentRestore, work=document_restore),
        "document_purge": Handler(arguments=DocumentPurge, work=document_purge),
    }


async def document_restore(arguments: DocumentRestore, context: CallContext) -> Json:
    """Effect  writes knowledge_documents; the worker indexes what comes back after the commit.

    Raises  DocumentNotFound, NotYourDocument, NotRestorable.
    """
    knowledge, document_id = context.work.knowledge, DocumentId(arguments.document_id)
    deleted = await _deleted(document_id, context)
    if context.facts.of("deleted_document", "own") is not True and context.role.rank < Role.MANAGER.rank:
        raise NotYourDocument("restore")
    for waits in await knowledge.removals.restore(deleted, context.now):
        organization_id = context.principal.organization_id
        context.jobs.append(Job(kind="document_index", organization_id=organization_id, subject_id=waits))
    return {"document": shown_document(await knowledge.get(document_id), context)}


async def document_purge(arguments: DocumentPurge, context: CallContext) -> Json:
    """Effect  removes knowledge_documents, knowledge_files, knowledge_chunks, knowledge_postings, knowledge_terms,
            knowledge_embeddings, knowledge_kept_vectors, knowledge_staged, document_figures.

    Raises  DocumentNotFound: none is due, or it was restored meanwhile.
    """
    document_id = DocumentId(arguments.document_id)
    purged = await context.work.knowledge.removals.purge(document_id, context.now)
    if purged is None:
        raise DocumentNotFound(document_id)
    files = [digest.hex() for digest in purged.digests]
    return {"document_id": str(document_id), "documents": purged.documents, "files": files}


async def _deleted(document_id: DocumentId, context: CallContext) -> DeletedDocument:
    deleted = await context.work.knowledge.removals.find(document_id)
    if deleted is None:
        raise DocumentNotFound(document_id)
    return deleted
