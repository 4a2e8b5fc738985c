"""Vectors for the passages of a document, a step at a time: an act of the background that models never see."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from pydantic import ValidationError

from knowledge.embeddings.model import Embedded, EmbeddingsRefused, EmbeddingsUnavailable, PendingChunk, Space
from knowledge.embeddings.ports import Embedder
from knowledge.model import DocumentId
from knowledge.prepare import PreparedDocument, embedded_text
from knowledge.versions import Staged
from knowledge.wire import parsed_answer
from tools.handlers.arguments import Arguments
from tools.handlers.shown import shown_document
from tools.outcomes import Json
from tools.spending import BudgetGone
from tools.work import CallContext, Handler, Job, PrepareContext

STEP = 128
"""Passages in one call: what is lost of it, when a worker is killed, is asked for again."""


PATIENCE = timedelta(minutes=5)
"""So long a new version waits for vectors that do not come, before its words take the last one's place without them."""


class DocumentEmbed(Arguments):
    document_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedStep:
    """Vectors for what is prepared of a document and not found yet."""

    prepared: PreparedDocument | None
    """None: what was staged cannot be read by this version of the program."""
    space: Space | None
    vectors: Mapping[bytes, Sequence[float]]
    """By the SHA-256 of what was embedded."""
    missing: int
    """Texts that had no vector before this step."""
    refused: int = 0
    given_up: str | None = None
    """Why the rest is waited for no longer before it is found: what will not change by itself; empty: what may."""

    @property
    def is_last(self) -> bool:
        """Nothing is left to be asked for, or nothing but what the server refuses, or it is not waited for."""
        if self.given_up is not None:
            return True
        return len(self.vectors) + self.refused >= self.missing or (self.refused > 0 and not self.vectors)


def embedding_handlers(embedder: Embedder | None) -> Mapping[str, Handler[Any]]:
    """The tool that asks the embedding server; without one it says that the document is found by its words."""

    async def prepare(
        arguments: DocumentEmbed, context: PrepareContext
    ) -> Embedded | StagedStep | EmbeddingsRefused | None:
        """The next vectors, asked for with no transaction held.

        Raises  EmbeddingsUnavailable: the server is busy or away, or refuses what is to take the place of what is
                found; the worker comes back. A new version has then not waited for long.
        """
        document_id = DocumentId(arguments.document_id)
        staged = cast(
            "Staged | None", await context.read(lambda work: work.knowledge.versions.versions.staged(document_id))
        )
        if staged is not None:
            return await _staged_step(staged, embedder, context)
        if embedder is None:
            return None
        used = context.spending.on(embedder.model)
        try:
            space = await embedder.space(used)
            pending = cast(
                "list[PendingChunk]",
                await context.read(lambda work: work.knowledge.unembedded(document_id, space.model_id, STEP)),
            )
            asked = await _unknown(pending, space, context)
            texts = list(dict.fromkeys(chunk.text for chunk in asked))
            given = await embedder.embed(texts, await context.asking(embedder.model, texts))
        except EmbeddingsRefused as refused:
            return refused
        vectors = dict(zip(texts, given, strict=True))
        whole = [(chunk.chunk_id, vector) for chunk in asked if (vector := vectors[chunk.text]) is not None]
        return Embedded(
            space=space,
            chunk_ids=tuple(chunk_id for chunk_id, _ in whole),
            vectors=tuple(vector for _, vector in whole),
            refused=len(asked) - len(whole),
        )

    async def document_embed(arguments: DocumentEmbed, context: CallContext) -> Json:
        """Effect  writes knowledge_embeddings, knowledge_documents; the next step follows after the commit.

        The last step of what was staged writes knowledge_chunks, knowledge_terms, knowledge_postings too.
        """
        knowledge, document_id = context.work.knowledge, DocumentId(arguments.document_id)
        model = "" if embedder is None else embedder.model
        embedded, goes_on = 0, False
        match context.prepared:
            case Embedded() as step:
                embedded, document = await knowledge.embed(document_id, step, now=context.now)
            case StagedStep() as step:
                embedded, goes_on = len(step.vectors), await _take_step(step, document_id, model, context)
                document = await knowledge.get(document_id)
            case EmbeddingsRefused() as refused:
                document = await knowledge.give_up_embedding(document_id, model, refused.reason, now=context.now)
            case _:
                document = await knowledge.give_up_embedding(document_id, None, None, now=context.now)
        if goes_on or document.status == "embedding":
            context.jobs.append(embed_job(context, document_id))
        return {"document": shown_document(document, context), "embedded": embedded}

    return {"document_embed": Handler(arguments=DocumentEmbed, work=document_embed, prepare=prepare)}


async def _unknown(pending: Sequence[PendingChunk], space: Space, context: PrepareContext) -> list[PendingChunk]:
    """Those whose text the organization has no vector of."""
    digests = {chunk.text: _digest(chunk.text) for chunk in pending}
    known = await _known(space, list(digests.values()), context)
    return [chunk for chunk in pending if digests[chunk.text] not in known]


async def _known(space: Space, digests: Sequence[bytes], context: PrepareContext) -> frozenset[bytes]:
    found = await context.read(lambda work: work.knowledge.versions.known(space.model_id, digests))
    return cast("frozenset[bytes]", found)


async def _staged_step(staged: Staged, embedder: Embedder | None, context: PrepareContext) -> StagedStep:
    """The next vectors of what is staged; its passages are many, and are read off the loop."""
    try:
        prepared = await asyncio.to_thread(parsed_answer, staged.prepared)
    except ValidationError:
        return StagedStep(prepared=None, space=None, vectors={}, missing=0)
    if embedder is None:
        return StagedStep(prepared=prepared, space=None, vectors={}, missing=0)
    used = context.spending.on(embedder.model)
    try:
        space = await embedder.space(used)
        texts = await asyncio.to_thread(_texts_of, prepared, staged.title)
        known = await _known(space, list(texts), context)
        missing = [digest for digest in texts if digest not in known]
        asked = missing[:STEP]
        wanted = [texts[digest] for digest in asked]
        given = await embedder.embed(wanted, await context.asking(embedder.model, wanted))
    except EmbeddingsRefused as refused:
        if _waits(staged):
            raise EmbeddingsUnavailable(refused.reason) from refused
        return StagedStep(prepared=prepared, space=None, vectors={}, missing=0, given_up=refused.reason)
    except (EmbeddingsUnavailable, BudgetGone):
        if _waits(staged):
            raise
        return StagedStep(prepared=prepared, space=None, vectors={}, missing=0, given_up="")
    vectors = {digest: vector for digest, vector in zip(asked, given, strict=True) if vector is not None}
    return StagedStep(
        prepared=prepared, space=space, vectors=vectors, missing=len(missing), refused=len(asked) - len(vectors)
    )


def _waits(staged: Staged) -> bool:
    """Whether it waits on: of a document that is prepared anew the same words are found meanwhile."""
    return not staged.is_new or staged.waited < PATIENCE


async def _take_step(step: StagedStep, document_id: DocumentId, model: str, context: CallContext) -> bool:
    """Keeps the vectors, or publishes what has them all or waits no longer; True: more is to come of what is staged."""
    versions = context.work.knowledge.versions
    if step.prepared is None:
        await versions.start_anew(document_id, now=context.now)
        return False
    model_id = None if step.space is None else step.space.model_id
    left = step.missing - len(step.vectors)
    if model_id is not None:
        embedded = max(0, len(step.prepared.chunks) - left)
        await versions.keep(document_id, model_id, step.vectors, embedded, now=context.now)
    if not step.is_last:
        return True
    failure = None
    if step.given_up:
        # As of any document that the server refuses: it is asked again once a day, and once there is another model.
        failure, model_id = f"What is new in it is found by its words, and not by its meaning: {step.given_up}.", model
    elif left:
        failure = f"The embedding server refuses {left} of its passages: they are found by their words."
    await versions.publish(
        document_id,
        step.prepared,
        model_id,
        failure,
        new_id=context.new_id,
        now=context.now,
        then="embedding" if step.given_up == "" else "ready",
    )
    return False


def _texts_of(prepared: PreparedDocument, title: str) -> dict[bytes, str]:
    texts = (embedded_text(title, each.chunk) for each in prepared.chunks)
    return {_digest(text): text for text in texts}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def embed_job(context: CallContext, document_id: DocumentId) -> Job:
    """The job that goes on embedding a document."""
    return Job(kind="document_embed", organization_id=context.principal.organization_id, subject_id=document_id)
