"""Files handed out whole: the call names what leaves, the door that was asked sends the bytes."""

from uuid import UUID

from domain.taint import taint_of
from knowledge.model import DocumentId
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.work import CallContext, Handler


class DocumentContent(Arguments):
    document_id: UUID


async def document_content(arguments: DocumentContent, context: CallContext) -> Json:
    """The file by its digest; whoever sends the bytes holds them to it.

    Raises  DocumentNotFound.
    """
    document = await context.work.knowledge.get(DocumentId(arguments.document_id))
    context.told.add(taint_of(document.trust, document.audience, document.engagement_id))
    return {
        "document_id": str(document.document_id),
        "title": document.title,
        "media_type": document.media_type,
        "size_bytes": document.size_bytes,
        "content_sha256": document.content_sha256.hex(),
    }


DOCUMENT_CONTENT = Handler(arguments=DocumentContent, work=document_content)
