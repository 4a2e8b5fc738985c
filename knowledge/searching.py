"""A search, from the question as it was put to the passages as they are shown; below KnowledgeService."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, TypeVar

from domain.kernel import DomainError
from domain.paging import InvalidLimit
from knowledge.embeddings.model import Vector
from knowledge.embeddings.ports import EmbeddingStore
from knowledge.model import Candidate, ChunkId, Passage, Reranking, SearchFilters, SearchMode, SearchQuery, SearchResult
from knowledge.parse.decode import storable
from knowledge.passages import folded, joined
from knowledge.ports import DocumentRepository, SearchIndex
from knowledge.questions import InvalidFilter, Question, understood
from knowledge.terms import QueryTerm, query_terms

SEARCH_LIMIT = 100
MOST_SPARE: Final = 20
"""Passages that are looked for beyond the limit, in place of those that are folded or joined."""


class NoEmbeddings(DomainError):
    """A vector search needs embeddings, and there are none."""

    code: ClassVar[str] = "no_embeddings"

    def __init__(self) -> None:
        super().__init__("mode: there are no embeddings to search; ask for hybrid or lexical")


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    """The passages in the order of the search, before any is folded or joined."""

    mode: SearchMode
    """How was really searched."""
    passages: Sequence[Passage]
    terms: Sequence[QueryTerm]
    """The words that were looked for."""
    without_phrases: bool
    """Whether none holds what was quoted."""


@dataclass(frozen=True, slots=True)
class KnowledgeSearch:
    """Searches over what the principal may see."""

    documents: DocumentRepository
    index: SearchIndex
    embeddings: EmbeddingStore

    async def search(
        self, query: SearchQuery, vector: Vector | None = None, reranking: Reranking | None = None
    ) -> SearchResult:
        """As KnowledgeService.search."""
        scores = dict[ChunkId, float]() if reranking is None else reranking.scores
        first = await self._first(query, vector, len(scores))
        items = await self._shown(_reranked(first.passages, scores), query.limit)
        if query.explain:
            items = await self._explained(items, first.terms)
        return SearchResult(mode=first.mode, items=items, reranking=reranking, without_phrases=first.without_phrases)

    async def candidates(self, query: SearchQuery, vector: Vector | None, most: int) -> Sequence[Candidate]:
        """As KnowledgeService.candidates."""
        found = (await self._first(query, vector, most)).passages
        return [
            Candidate(chunk_id=each.chunk_id, text="\n".join(filter(None, (each.title, each.section, each.text))))
            for each in folded(found)[:most]
        ]

    async def _first(self, query: SearchQuery, vector: Vector | None, least: int) -> _First:
        """At least `least` passages; where none holds what is quoted, those that its words find."""
        if query.mode == "vector" and vector is None:
            raise NoEmbeddings
        if not 1 <= query.limit <= SEARCH_LIMIT:
            raise InvalidLimit(query.limit)
        question = understood(storable(query.text))
        filters = await self._filters(query.filters, question)
        terms = () if query.mode == "vector" else query_terms(question.words)
        depth = max(least, query.limit + min(query.limit, MOST_SPARE))
        mode, found = await self._found(query, terms, vector, filters, depth)
        if without_phrases := bool(filters.phrases and not found):
            mode, found = await self._found(query, terms, vector, replace(filters, phrases=()), depth)
        return _First(mode=mode, passages=found, terms=terms, without_phrases=without_phrases and bool(found))

    async def _found(
        self,
        query: SearchQuery,
        terms: Sequence[QueryTerm],
        vector: Vector | None,
        filters: SearchFilters,
        depth: int,
    ) -> tuple[SearchMode, Sequence[Passage]]:
        """How it was really searched, and some more passages than are shown."""
        if vector is not None and query.mode != "lexical":
            found = await self.index.search_near(terms, vector, depth, filters)
            if found:
                return query.mode, found
        # What the filters leave may have no vectors though others have: its words answer.
        lexical = await self.index.search(terms, depth, filters) if terms else ()
        if lexical or vector is None or query.mode == "lexical":
            return "lexical", lexical
        # Neither words nor meaning found anything; by meaning only where there was any to compare with.
        if await self.embeddings.has_any(vector.space.model_id):
            return query.mode, ()
        if query.mode == "vector":
            raise NoEmbeddings
        return "lexical", ()

    async def _shown(self, found: Sequence[Passage], limit: int) -> tuple[Passage, ...]:
        """At most `limit`: what says the same once, and neighbours in one, with the text between them."""
        passages = joined(folded(found), limit)
        widened = [passage for passage in passages if len(passage.chunk_ids) > 1]
        texts = await self.documents.texts([(each.document_id, each.start, each.end) for each in widened])
        text_of = {each.chunk_id: text for each, text in zip(widened, texts, strict=True)}
        return tuple(replace(each, text=text_of.get(each.chunk_id, each.text)) for each in passages)

    async def _explained(self, items: Sequence[Passage], terms: Sequence[QueryTerm]) -> tuple[Passage, ...]:
        matched = await self.index.matched(terms, [item.chunk_id for item in items])
        return tuple(replace(item, matched=tuple(matched.get(item.chunk_id, ()))) for item in items)

    async def _filters(self, given: SearchFilters, question: Question) -> SearchFilters:
        """What the question says of documents together with what the call does: both hold.

        Raises  InvalidFilter: no engagement that the principal may see is called so.
        """
        engagements = given.engagement_ids
        for name in question.engagements:
            named = await self.documents.engagements(name)
            if not named:
                raise InvalidFilter(f"engagement: there is none that you may see by the name of {name!r}")
            engagements = _both(engagements, tuple(named))
        return replace(
            given,
            title=given.title and storable(given.title),
            engagement_ids=engagements,
            media_types=_both(given.media_types, question.media_types),
            after=max(filter(None, (given.after, question.after)), default=None),
            before=min(filter(None, (given.before, question.before)), default=None),
            phrases=question.phrases,
        )


def _reranked(found: Sequence[Passage], scores: Mapping[ChunkId, float]) -> Sequence[Passage]:
    """The passages that were scored first, best first, then the others as they were; none that was not found."""
    scored = [
        replace(each, ranks=replace(each.ranks, rerank_score=scores[each.chunk_id]))
        for each in found
        if each.chunk_id in scores
    ]
    others = [each for each in found if each.chunk_id not in scores]
    return [*sorted(scored, key=lambda each: -scores[each.chunk_id]), *others]


T = TypeVar("T")


def _both(one: tuple[T, ...] | None, other: tuple[T, ...] | None) -> tuple[T, ...] | None:
    """What two filters leave; None leaves all."""
    if one is None or other is None:
        return one if other is None else other
    return tuple(each for each in one if each in other)
