"""Files handed out whole: the call names what leaves; the door that was asked sends the bytes, or links to them."""

from datetime import timedelta
from uuid import UUID

from domain.taint import taint_of
from knowledge.model import DocumentId
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.work import CallContext, Handler

LINK_VALID_FOR = timedelta(seconds=300)


class DocumentContent(Arguments):
    document_id: UUID
    by_link: UUID | None = None


class DocumentLink(Arguments):
    document_id: UUID


async def document_content(arguments: DocumentContent, context: CallContext) -> Json:
    """The file by its digest; whoever sends the bytes holds them to it.

    Raises  DocumentNotFound.
    """
    return await _named(arguments.document_id, context)


async def document_link(arguments: DocumentLink, context: CallContext) -> Json:
    """The file by its digest, and until when the link to it holds; the door that was asked seals it.

    Raises  DocumentNotFound.
    """
    named = await _named(arguments.document_id, context)
    return {**named, "expires_at": (context.now + LINK_VALID_FOR).isoformat()}


async def _named(document_id: UUID, context: CallContext) -> Json:
    document = await context.work.knowledge.get(DocumentId(document_id))
    context.told.add(taint_of(document.trust, document.audience, document.engagement_id))
    return {
        "document_id": str(document.document_id),
        "title": document.title,
        "media_type": document.media_type,
        "size_bytes": document.size_bytes,
        "content_sha256": document.content_sha256.hex(),
    }


DOCUMENT_CONTENT = Handler(arguments=DocumentContent, work=document_content)
DOCUMENT_LINK = Handler(arguments=DocumentLink, work=document_link)
