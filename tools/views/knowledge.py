"""How documents and what is found in them are shown."""

from knowledge.model import Document, DocumentText, Passage, SearchResult
from knowledge.progress import progress_of
from tools.outcomes import Json
from tools.views.values import given, id_text


def search_json(found: SearchResult) -> Json:
    """Passages, best first, and how the search was really done."""
    return {"mode": found.mode, "items": [_passage_json(passage) for passage in found.items]}


def _passage_json(passage: Passage) -> Json:
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
        **given(page=passage.page, section=passage.section),
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
        ),
        **_progress_json(document),
    }


def _progress_json(document: Document) -> Json:
    """How far it has come, as long as there is something to wait for."""
    progress = progress_of(document)
    return {} if progress.is_over else {"progress": progress.share, "message": progress.words}
