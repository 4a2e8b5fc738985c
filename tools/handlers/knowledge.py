"""Search and reading of the firm's documents, with what a pinpoint citation needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict

from domain.kernel import EngagementId
from domain.taint import taint_of
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable, Vector
from knowledge.embeddings.queries import QueryVectors
from knowledge.model import Candidate, DocumentId, Reranking, SearchFilters, SearchMode, SearchQuery, TextRange
from knowledge.parse.document import MediaType
from knowledge.questions import understood
from knowledge.reranking.stage import SecondStage
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
    query = _query(arguments)
    looked = context.prepared if isinstance(context.prepared, LookedUp) else NOTHING
    found = await context.work.knowledge.search(query, looked.vector, looked.reranking)
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


def _query(arguments: KnowledgeSearch) -> SearchQuery:
    return SearchQuery(
        text=arguments.query,
        limit=arguments.limit,
        mode=arguments.mode,
        filters=_filters(arguments.filters),
        explain=arguments.explain,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp:
    """What was asked of others before a search opens its transaction."""

    vector: Vector | None = None
    reranking: Reranking | None = None


NOTHING = LookedUp()


def searching_with(queries: QueryVectors | None, stage: SecondStage | None) -> Handler[KnowledgeSearch]:
    """`knowledge_search` where somebody is asked before: for the question's vector, for a second look, or both."""

    async def prepare(arguments: KnowledgeSearch, context: PrepareContext) -> LookedUp:
        vector = None if queries is None else await _vector(queries, arguments, context)
        reranking = None if stage is None else await _reranking(stage, arguments, vector, context)
        return LookedUp(vector=vector, reranking=reranking)

    return replace(KNOWLEDGE_SEARCH, prepare=prepare)


async def _vector(queries: QueryVectors, arguments: KnowledgeSearch, context: PrepareContext) -> Vector | None:
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


async def _reranking(
    stage: SecondStage, arguments: KnowledgeSearch, vector: Vector | None, context: PrepareContext
) -> Reranking | None:
    """What the second stage says of what this principal's search finds now; nothing else is shown to it."""
    most = stage.candidates
    if not most:
        return None
    if stage.is_resting:
        return stage.without("it gave no scores a moment ago")
    found = await context.read(lambda work: work.knowledge.candidates(_query(arguments), vector, most))
    candidates, words = cast("Sequence[Candidate]", found), understood(arguments.query).words
    try:
        used = await context.asking(stage.model, [words, *(each.text for each in candidates)])
    except BudgetGone as gone:
        return stage.without(f"no budget of {gone.exhausted.measure} is left")
    reranking = await stage.reranking(words, candidates, used)
    if reranking.failure is not None:
        log.warning("search.without_rerank", reason=reranking.failure)
    return reranking


KNOWLEDGE_SEARCH = Handler(arguments=KnowledgeSearch, work=knowledge_search)
KNOWLEDGE_READ = Handler(arguments=KnowledgeRead, work=knowledge_read)
