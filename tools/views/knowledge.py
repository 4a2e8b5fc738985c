"""How documents and what is found in them are shown."""

from knowledge.model import Document, DocumentText, Passage, Reranking, SearchResult
from knowledge.progress import progress_of
from knowledge.removal import DeletedDocument
from tools.outcomes import Json
from tools.views.values import given, id_text


def search_json(found: SearchResult, *, explain: bool = False) -> Json:
    """Passages, best first, and how the search was really done; why each stands where it does where one asks."""
    items = [_passage_json(passage) | (_explanation(passage) if explain else {}) for passage in found.items]
    return {
        "mode": found.mode,
        "items": items,
        **given(rerank=_rerank_json(found.reranking), without_phrases=found.without_phrases or None),
    }


def _rerank_json(reranking: Reranking | None) -> Json | None:
    """Whether a second stage ordered the passages, and why not."""
    if reranking is None:
        return None
    return {"model": reranking.model, "done": reranking.failure is None, **given(reason=reranking.failure)}


def _explanation(passage: Passage) -> Json:
    ranks = passage.ranks
    terms = [
        {
            "written": term.written,
            "term": term.term,
            "weight": term.weight,
            "frequency": term.frequency,
            "score": term.score,
        }
        for term in passage.matched
    ]
    return {
        "explain": given(
            lexical_rank=ranks.lexical,
            lexical_score=ranks.lexical_score,
            vector_rank=ranks.vector,
            similarity=ranks.similarity,
            rerank_score=ranks.rerank_score,
        )
        | {"fused_score": passage.score, "terms": terms}
    }


def _also_in(passage: Passage) -> list[Json]:
    return [
        {
            "document_id": str(other.document_id),
            "chunk_id": str(other.chunk_id),
            "title": other.title,
            "uri": other.uri,
        }
        for other in passage.also_in
    ]


def _passage_json(passage: Passage) -> Json:
    joined = [str(chunk_id) for chunk_id in passage.chunk_ids] if len(passage.chunk_ids) > 1 else None
    return {
        "document_id": str(passage.document_id),
        "chunk_id": str(passage.chunk_id),
        "title": passage.title,
        "text": passage.text,
        "score": passage.score,
        "start": passage.start,
        "end": passage.end,
        "uri": passage.uri,
        "trust": passage.trust,
        "audience": passage.audience,
        **given(page=passage.page, section=passage.section, chunk_ids=joined, also_in=_also_in(passage) or None),
    }


def document_text_json(text: DocumentText) -> Json:
    """A part of a document's text."""
    return {
        "document_id": str(text.document_id),
        "title": text.title,
        "uri": text.uri,
        "trust": text.trust,
        "audience": text.audience,
        "text": text.text,
        "start": text.start,
        "end": text.end,
        "length": text.length,
        **given(page=text.page, page_count=text.page_count),
    }


def document_json(document: Document) -> Json:
    """One document, without its text."""
    return {
        "document_id": str(document.document_id),
        "title": document.title,
        "uri": document.uri,
        "media_type": document.media_type,
        "audience": document.audience,
        "trust": document.trust,
        "status": document.status,
        "size_bytes": document.size_bytes,
        "content_sha256": document.content_sha256.hex(),
        "token_count": document.token_count,
        "version": document.version,
        "uploaded_by": document.uploaded_by,
        "created_at": document.created_at.isoformat(),
        "updated_at": document.updated_at.isoformat(),
        **given(
            engagement_id=id_text(document.engagement_id),
            parent_id=id_text(document.parent_id),
            failure=document.failure,
            note=document.note,
            page_count=document.page_count,
            replaced_by=id_text(document.replaced_by),
        ),
        **_progress_json(document),
    }


def deleted_json(deleted: DeletedDocument) -> Json:
    """A document that can still be restored."""
    return {
        "document_id": str(deleted.document_id),
        "title": deleted.title,
        "media_type": deleted.media_type,
        "audience": deleted.audience,
        "size_bytes": deleted.size_bytes,
        "uploaded_by": deleted.uploader,
        "deleted_at": deleted.deleted_at.isoformat(),
        "restorable_until": deleted.restorable_until.isoformat(),
        **given(engagement_id=id_text(deleted.engagement_id)),
    }


def _progress_json(document: Document) -> Json:
    """How far it has come, as long as there is something to wait for."""
    progress = progress_of(document)
    return {} if progress.is_over else {"progress": progress.share, "message": progress.words}
