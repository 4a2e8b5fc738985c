"""Vectors for the passages of a document, a step at a time: an act of the background that models never see."""

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from knowledge.embeddings.model import Embedded, EmbeddingsRefused, PendingChunk
from knowledge.embeddings.ports import Embedder
from knowledge.model import DocumentId
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views.knowledge import document_json
from tools.work import CallContext, Handler, Job, PrepareContext

STEP = 128
"""Passages in one call: what is lost of it, when a worker is killed, is asked for again."""


class DocumentEmbed(Arguments):
    document_id: UUID


def embedding_handlers(embedder: Embedder | None) -> Mapping[str, Handler[Any]]:
    """The tool that asks the embedding server; without one it says that the document is found by its words."""

    async def prepare(arguments: DocumentEmbed, context: PrepareContext) -> Embedded | EmbeddingsRefused | None:
        """The next vectors, asked for with no transaction held.

        Raises  EmbeddingsUnavailable: the server is busy or away; the worker comes back.
        """
        if embedder is None:
            return None
        document_id, used = DocumentId(arguments.document_id), context.spending.on(embedder.model)
        try:
            space = await embedder.space(used)
            pending = cast(
                "list[PendingChunk]",
                await context.read(lambda work: work.knowledge.unembedded(document_id, space.model_id, STEP)),
            )
            texts = [chunk.text for chunk in pending]
            vectors = await embedder.embed(texts, await context.asking(embedder.model, texts))
        except EmbeddingsRefused as refused:
            return refused
        given = [(chunk.chunk_id, vector) for chunk, vector in zip(pending, vectors, strict=True) if vector is not None]
        return Embedded(
            space=space,
            chunk_ids=tuple(chunk_id for chunk_id, _ in given),
            vectors=tuple(vector for _, vector in given),
            refused=len(pending) - len(given),
        )

    async def document_embed(arguments: DocumentEmbed, context: CallContext) -> Json:
        """Effect  writes knowledge_embeddings, knowledge_documents; the next step follows after the commit."""
        knowledge, document_id = context.work.knowledge, DocumentId(arguments.document_id)
        embedded = 0
        match context.prepared:
            case Embedded() as step:
                embedded, document = await knowledge.embed(document_id, step, now=context.now)
            case EmbeddingsRefused() as refused:
                model = "" if embedder is None else embedder.model
                document = await knowledge.give_up_embedding(document_id, model, refused.reason, now=context.now)
            case _:
                document = await knowledge.give_up_embedding(document_id, None, None, now=context.now)
        if document.status == "embedding":
            context.jobs.append(embed_job(context, document_id))
        return {"document": document_json(document), "embedded": embedded}

    return {"document_embed": Handler(arguments=DocumentEmbed, work=document_embed, prepare=prepare)}


def embed_job(context: CallContext, document_id: DocumentId) -> Job:
    """The job that goes on embedding a document."""
    return Job(kind="document_embed", organization_id=context.principal.organization_id, subject_id=document_id)
