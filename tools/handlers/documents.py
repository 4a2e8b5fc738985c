"""Documents taken in and indexed: acts that models never see."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast
from uuid import UUID

from domain.kernel import Audience, DomainError, EngagementId, Role, Trust
from domain.taint import Taint, less_trusted
from knowledge.embeddings.ports import Embedder
from knowledge.keeping import Keep, in_the_transaction
from knowledge.languages import Language
from knowledge.model import DocumentId, NewDocument, StoredFile
from knowledge.parse.document import MAIL, MediaType, Unreadable
from knowledge.parse.media import media_type_of
from knowledge.prepare import PreparedDocument, preparation
from knowledge.reanalysis import AnalysedDocument, StoredPassages, analysed
from knowledge.service import KnowledgeService
from knowledge.wire import prepared_bytes
from tools.handlers.arguments import Arguments
from tools.handlers.embedding import embed_job, embedding_handlers
from tools.handlers.removal import Grace, as_usual, removal_handlers
from tools.handlers.shown import shown_document
from tools.outcomes import Json
from tools.staging import Staging
from tools.views.knowledge import document_json
from tools.work import CallContext, Handler, Job, PrepareContext, Work

PrepareFile = Callable[[StoredFile], Awaitable[PreparedDocument]]
"""Parses and cuts up a file somewhere that a bad one can do no harm. Raises  Unreadable."""


class FileGone(DomainError):
    """No door holds the bytes that the call names."""

    code: ClassVar[str] = "file_gone"

    def __init__(self) -> None:
        super().__init__("content_sha256: the file is not at hand any more; upload it again")


class FileDiffers(DomainError):
    """The bytes are not as long as the call says."""

    code: ClassVar[str] = "file_differs"

    def __init__(self, size: int) -> None:
        super().__init__(f"size_bytes: the file has {size} bytes")


class ClientDocumentsOnly(DomainError):
    """A CLIENT asked for what only the firm's own people may."""

    code: ClassVar[str] = "client_documents_only"

    def __init__(self) -> None:
        super().__init__("audience, trust: a client's documents are visible to the client, and trusted as a client's")


class EngagementNeeded(DomainError):
    """A document for a client without an engagement would be for no client at all."""

    code: ClassVar[str] = "engagement_needed"

    def __init__(self) -> None:
        super().__init__("engagement_id: a document that a client sees belongs to an engagement")


class DocumentUpload(Arguments):
    title: str
    content_sha256: str
    size_bytes: int
    file_name: str | None = None
    media_type: str | None = None
    uri: str | None = None
    audience: Audience | None = None
    engagement_id: UUID | None = None
    trust: Trust | None = None
    language: Language | None = None


class DocumentIndex(Arguments):
    document_id: UUID


class DocumentAnalyse(Arguments):
    document_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The bytes of an upload, and what they turned out to be."""

    content: bytes
    media_type: MediaType


async def document_upload(arguments: DocumentUpload, context: CallContext) -> Json:
    """Effect  writes knowledge_documents, knowledge_files; the worker indexes it after the commit.

    Raises  ClientDocumentsOnly, EngagementNeeded, NotYourVersion.
    """
    upload = cast(Upload, context.prepared)
    audience, trust = _belonging(arguments, context.role, upload.media_type)
    new = NewDocument(
        document_id=DocumentId(context.new_id()),
        title=arguments.title,
        media_type=upload.media_type,
        content=upload.content,
        audience=audience,
        engagement_id=None if arguments.engagement_id is None else EngagementId(arguments.engagement_id),
        trust=less_trusted(trust, context.trust),
        uploaded_by=context.principal.principal_id,
        created_at=context.now,
        uri=arguments.uri,
        language=arguments.language,
    )
    document = await context.work.knowledge.add(new, may_replace=context.role.rank >= Role.MANAGER.rank)
    if document.document_id != new.document_id:
        return {"document": shown_document(document, context), "unchanged": True}
    context.jobs.append(index_job(context, document.document_id))
    # Nothing of the file is told yet: the title is what the call itself says.
    context.told.add(Taint(trust=context.trust))
    return {"document": document_json(document)}


def index_job(context: CallContext, document_id: DocumentId) -> Job:
    """The indexing of a document that was taken in."""
    return Job(kind="document_index", organization_id=context.principal.organization_id, subject_id=document_id)


def _belonging(arguments: DocumentUpload, role: Role, media_type: MediaType) -> tuple[Audience, Trust]:
    """Whom the document is for and how far it is trusted; a CLIENT has no choice.

    A file that nobody says anything of is somebody else's words, whoever uploads it, and so is mail, whatever is said:
    it holds what others wrote.
    """
    own: tuple[Audience, Trust] = ("client", "client") if role is Role.CLIENT else ("firm", "external")
    chosen = (arguments.audience or own[0], arguments.trust or own[1])
    if role is Role.CLIENT and chosen != own:
        raise ClientDocumentsOnly
    if chosen[0] == "client" and arguments.engagement_id is None:
        raise EngagementNeeded
    return chosen[0], "external" if media_type in MAIL else chosen[1]


async def document_analyse(arguments: DocumentAnalyse, context: CallContext) -> Json:
    """Effect  writes knowledge_documents, knowledge_chunks, knowledge_terms, knowledge_postings."""
    found_by = cast(AnalysedDocument, context.prepared)
    document = await context.work.knowledge.reanalyse(DocumentId(arguments.document_id), found_by)
    return {"document": shown_document(document, context)}


async def prepare_analysis(arguments: DocumentAnalyse, context: PrepareContext) -> AnalysedDocument:
    """The terms of today, reckoned off the loop and with no transaction held.

    Raises  DocumentNotFound.
    """
    document_id = DocumentId(arguments.document_id)
    stored = await context.read(lambda work: work.knowledge.passages(document_id))
    return await asyncio.to_thread(analysed, cast(StoredPassages, stored))


def document_handlers(
    staging: Staging,
    prepare_file: PrepareFile,
    embedder: Embedder | None = None,
    prepared_as: str = preparation(),
    grace: Grace = as_usual,
    keep: Keep = in_the_transaction,
) -> Mapping[str, Handler[Any]]:
    """The tools that need what lies outside.

    `staging` is where doors hold bytes, `prepare_file` reads them, `embedder` gives vectors; None: no server does.
    `prepared_as`: how `prepare_file` reads. `grace`: how long what is deleted can be restored. `keep`: keeps
    files before a document has them.
    """

    async def find_upload(arguments: DocumentUpload, context: PrepareContext) -> Upload:
        content = staging.find(context.principal, arguments.content_sha256)
        if content is None:
            raise FileGone
        if len(content) != arguments.size_bytes:
            raise FileDiffers(len(content))
        media_type = media_type_of(content, arguments.file_name, arguments.media_type)
        await keep(context.principal.organization_id, [content])
        return Upload(content=content, media_type=media_type)

    async def document_index(arguments: DocumentIndex, context: CallContext) -> Json:
        """Effect  writes knowledge_documents, knowledge_files, knowledge_chunks, knowledge_terms, knowledge_postings.

        Removes what was indexed before, knowledge_embeddings too; vectors follow in calls of their own, and so does
        the indexing of the files inside of it.
        """
        knowledge, document_id = context.work.knowledge, DocumentId(arguments.document_id)
        match context.prepared:
            case PreparedDocument() as prepared:
                staged = await _indexed(knowledge, document_id, prepared, context, embeds=embedder is not None)
            case unreadable:
                staged = False
                if not await knowledge.versions.keep_as_it_is(document_id, prepared_as):
                    await knowledge.fail(document_id, str(unreadable), now=context.now)
        document = await knowledge.get(document_id)
        if staged or document.status == "embedding":
            context.jobs.append(embed_job(context, document_id))
        return {"document": shown_document(document, context)}

    async def prepare_index(arguments: DocumentIndex, context: PrepareContext) -> PreparedDocument | Unreadable:
        """The document ready to be stored, or why it never will be; the file is read with no transaction held."""
        stored = await context.read(lambda work: _stored(work, DocumentId(arguments.document_id)))
        try:
            prepared = await prepare_file(cast(StoredFile, stored))
        except Unreadable as unreadable:
            return unreadable
        await keep(context.principal.organization_id, [part.content for part in prepared.parts])
        return prepared

    return {
        "document_upload": Handler(arguments=DocumentUpload, work=document_upload, prepare=find_upload),
        "document_index": Handler(arguments=DocumentIndex, work=document_index, prepare=prepare_index),
        "document_analyse": Handler(arguments=DocumentAnalyse, work=document_analyse, prepare=prepare_analysis),
        **embedding_handlers(embedder),
        **removal_handlers(grace),
    }


async def _indexed(
    knowledge: KnowledgeService,
    document_id: DocumentId,
    prepared: PreparedDocument,
    context: CallContext,
    *,
    embeds: bool,
) -> bool:
    """Makes it found at once where nothing is found of it yet; else it is staged (True), or put in that one's place."""
    versions, now = knowledge.versions, context.now
    is_alone = await versions.stands_alone(document_id)
    if is_alone:
        then = "embedding" if embeds else "ready"
        await knowledge.store(document_id, prepared, new_id=context.new_id, now=now, then=then)
    elif embeds:
        await versions.stage(document_id, prepared, prepared_bytes(replace(prepared, parts=())), now=now)
    else:
        await versions.publish(document_id, prepared, None, None, new_id=context.new_id, now=now)
    await knowledge.parts.note(document_id, prepared.note)
    for part_id in await knowledge.keep_parts(document_id, prepared.parts, new_id=context.new_id, now=now):
        context.jobs.append(index_job(context, part_id))
    return embeds and not is_alone


async def _stored(work: Work, document_id: DocumentId) -> StoredFile:
    return await work.knowledge.file(document_id)
