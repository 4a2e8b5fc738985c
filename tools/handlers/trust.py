"""How far a document is trusted, said anew by a person's own hand: an agent would launder what it has read."""

from uuid import UUID

from domain.kernel import Role, Trust
from knowledge.model import DocumentId
from knowledge.service import DocumentNotFound
from tools.handlers.arguments import Arguments
from tools.handlers.removal import NotYourDocument
from tools.handlers.shown import shown_document
from tools.outcomes import Json
from tools.work import CallContext, Handler


class DocumentTrustSet(Arguments):
    document_id: UUID
    trust: Trust


async def document_trust_set(arguments: DocumentTrustSet, context: CallContext) -> Json:
    """Below a MANAGER each version must be the principal's own upload, since all of them change.

    Effect  writes knowledge_documents, knowledge_chunks, knowledge_postings.
    Raises  DocumentNotFound, NotYourDocument, TrustFixed, TrustConflict.
    """
    knowledge, document_id = context.work.knowledge, DocumentId(arguments.document_id)
    line = await knowledge.trust.hold(document_id)
    if not line:
        raise DocumentNotFound(document_id)
    is_own = all(each.uploaded_by == context.principal.principal_id for each in line)
    if not is_own and context.role.rank < Role.MANAGER.rank:
        raise NotYourDocument("set the trust of")
    await knowledge.trust.change(line, arguments.trust, context.now)
    return {"document": shown_document(await knowledge.get(document_id), context)}


DOCUMENT_TRUST_SET = Handler(arguments=DocumentTrustSet, work=document_trust_set)
