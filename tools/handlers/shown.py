"""A document in the result of a call: as it is shown, and whose words that tells."""

from domain.taint import taint_of
from knowledge.model import Document
from tools.outcomes import Json
from tools.views.knowledge import document_json
from tools.work import CallContext


def shown_document(document: Document, context: CallContext) -> Json:
    """Its title is whoever's who wrote it, and so may be what is said of its parts."""
    context.told.add(taint_of(document.trust, document.audience, document.engagement_id))
    return document_json(document)
