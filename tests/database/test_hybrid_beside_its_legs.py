"""Both orders fused, beside each by itself: on real embeddings, over the demo firm's judged questions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from knowledge.embeddings.local import LocalEmbedder, is_installed
from knowledge.embeddings.model import MEASURED, Embedded, Vector
from knowledge.evaluation.judged import JudgedSet, read_judged_set
from knowledge.evaluation.retrieval import FoundPassage, Searched, question_figures
from knowledge.evaluation.weights import weighed
from knowledge.model import SearchMode, SearchQuery, SearchWeights
from knowledge.postgres import knowledge_service
from server.database.connection import Connection
from tests.support.knowledge import NOW, Firm, founded

pytestmark = pytest.mark.skipif(not is_installed(), reason="the extra `local` is not installed")

JUDGED = Path(__file__).parents[2] / "demo" / "judged"
SHIPPED = MEASURED["wordllama-l2-supercat@256"].weight
Figures = Mapping[str, Mapping[str, float]]


async def embedded(connection: Connection, firm: Firm, embedder: LocalEmbedder, judged: JudgedSet) -> dict[str, str]:
    """The corpus in the firm with its vectors; by the document's id there, its id in the corpus."""
    names: dict[str, str] = {}
    space = await embedder.space()
    for paper in judged.corpus():
        document = await firm.add(connection, paper.text, title=paper.title)
        names[str(document.document_id)] = paper.id
        async with firm.acting(connection, writes=True) as knowledge:
            pending = await knowledge.unembedded(document.document_id, space.model_id, 1_000)
            vectors = [vector for vector in await embedder.embed([each.text for each in pending]) if vector is not None]
            step = Embedded(
                space=space, chunk_ids=tuple(each.chunk_id for each in pending), vectors=tuple(vectors), refused=0
            )
            await knowledge.embed(document.document_id, step, now=NOW)
    return names


async def test_both_orders_together_find_at_least_what_the_better_of_them_finds(
    owner_connection: Connection, app_connection: Connection
) -> None:
    judged, embedder = read_judged_set(JUDGED), LocalEmbedder()
    firm = await founded(owner_connection)
    names = await embedded(app_connection, firm, embedder, judged)
    asked = [query for query in judged.queries if query.answerable]
    space = await embedder.space()
    vectors = {query.query_id: Vector(space=space, values=await embedder.embed_question(query.text)) for query in asked}

    async def figures(mode: SearchMode, weight: float | None = None) -> Figures:
        found: dict[str, Mapping[str, float]] = {}
        async with firm.acting(app_connection):
            service = knowledge_service(
                app_connection, SearchWeights(vector=weight, constant=None if weight is None else 60.0)
            )
            for query in asked:
                result = await service.search(
                    SearchQuery(text=query.text, limit=100, mode=mode), vectors[query.query_id]
                )
                assert result.mode == mode
                passages = [
                    FoundPassage(document=names[str(item.document_id)], text=item.text) for item in result.items
                ]
                found[query.query_id] = question_figures(Searched(query=query, passages=passages, seconds=0.0), 10)
        return found

    lexical, vector = await figures("lexical"), await figures("vector")
    hybrid = {SHIPPED: await figures("hybrid"), 1.0: await figures("hybrid", 1.0)}
    for measure in ("passage_ndcg@10", "ndcg@10"):
        legs = of(measure, lexical), of(measure, vector)
        weighing = weighed(*legs, {weight: of(measure, each) for weight, each in hybrid.items()})
        shipped, better = weighing.by_weight[SHIPPED].all, max(weighing.lexical.all, weighing.vector.all)
        assert weighing.vector.all > 0.5, "the vectors mean something"
        assert shipped >= better, measure
        assert weighing.by_weight[1.0].all < better, "as much as words is too much for these vectors"


def of(measure: str, figures: Figures) -> Mapping[str, float]:
    return {query_id: each[measure] for query_id, each in figures.items()}
