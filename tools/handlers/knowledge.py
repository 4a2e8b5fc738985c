"""Search and reading of the firm's documents, with what a pinpoint citation needs."""

from dataclasses import replace
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict

from domain.kernel import EngagementId
from domain.taint import taint_of
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable, Vector
from knowledge.embeddings.queries import QueryVectors
from knowledge.model import DocumentId, SearchFilters, SearchMode, SearchQuery, TextRange
from knowledge.parse.document import MediaType
from knowledge.questions import understood
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.spending import BudgetGone
from tools.views.knowledge import document_text_json, search_json
from tools.work import CallContext, Handler, PrepareContext

log = structlog.get_logger()

DEFAULT_PASSAGES = 8


class Filters(BaseModel):
    """Which documents a search looks at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    document_id: UUID | None = None
    engagement_id: UUID | None = None
    media_type: MediaType | None = None
    title: str | None = None


class KnowledgeSearch(Arguments):
    query: str
    limit: int = DEFAULT_PASSAGES
    mode: SearchMode = "hybrid"
    filters: Filters = Filters()
    explain: bool = False


class KnowledgeRead(Arguments):
    document_id: UUID
    page: int | None = None
    start: int | None = None
    end: int | None = None


async def knowledge_search(arguments: KnowledgeSearch, context: CallContext) -> Json:
    """The passages that answer a question, best first."""
    query = SearchQuery(
        text=arguments.query,
        limit=arguments.limit,
        mode=arguments.mode,
        filters=_filters(arguments.filters),
        explain=arguments.explain,
    )
    vector = context.prepared if isinstance(context.prepared, Vector) else None
    found = await context.work.knowledge.search(query, vector)
    context.told.add(*(taint_of(each.trust, each.audience, each.engagement_id) for each in found.items))
    return search_json(found, explain=arguments.explain)


async def knowledge_read(arguments: KnowledgeRead, context: CallContext) -> Json:
    """A page, a range, or the beginning of a document's text."""
    part = TextRange(page=arguments.page, start=arguments.start, end=arguments.end)
    text = await context.work.knowledge.read(DocumentId(arguments.document_id), part)
    context.told.add(taint_of(text.trust, text.audience, text.engagement_id))
    return document_text_json(text)


def _filters(given: Filters) -> SearchFilters:
    return SearchFilters(
        document_id=None if given.document_id is None else DocumentId(given.document_id),
        engagement_ids=None if given.engagement_id is None else (EngagementId(given.engagement_id),),
        media_types=None if given.media_type is None else (given.media_type,),
        title=given.title,
    )


def search_by_meaning(queries: QueryVectors) -> Handler[KnowledgeSearch]:
    """`knowledge_search` where there is an embedding server: the question's vector is fetched before it opens."""

    async def prepare(arguments: KnowledgeSearch, context: PrepareContext) -> Vector | None:
        """None: by its words alone, since the server does not answer; a search by meaning alone says so instead."""
        words = understood(arguments.query).words
        if arguments.mode == "lexical" or not words:
            return None
        try:
            used = await context.asking(queries.model, [words])
            return await queries.vector(context.principal.organization_id, words, used)
        except (EmbeddingsUnavailable, EmbeddingsRefused) as fault:
            if arguments.mode == "vector":
                raise
            log.warning("search.without_vector", reason=fault.reason)
            return None
        except BudgetGone as gone:
            if arguments.mode == "vector":
                raise
            log.info("search.without_vector", reason=f"no budget of {gone.exhausted.measure} left")
            return None

    return replace(KNOWLEDGE_SEARCH, prepare=prepare)


KNOWLEDGE_SEARCH = Handler(arguments=KnowledgeSearch, work=knowledge_search)
KNOWLEDGE_READ = Handler(arguments=KnowledgeRead, work=knowledge_read)
