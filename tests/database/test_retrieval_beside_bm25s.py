"""Search by words beside bm25s, over the same passages and the demo firm's judged questions."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import Stemmer

from knowledge.evaluation.judged import JudgedSet, read_judged_set
from knowledge.evaluation.measures import ndcg
from knowledge.model import SearchFilters
from knowledge.postgres import PostgresIndex
from knowledge.terms import query_terms
from server.database.connection import Connection
from tests.support.knowledge import founded

bm25s: Any = importlib.import_module("bm25s")
JUDGED = Path(__file__).parents[2] / "demo" / "judged"
PASSAGES = """
SELECT c.chunk_id::text AS id, d.uri AS document, concat_ws(E'\n', d.title, c.section, c.text) AS indexed, c.text
FROM knowledge_chunks c JOIN knowledge_documents d USING (organization_id, document_id) ORDER BY c.chunk_id
"""


def of_bm25s(ids: Sequence[str], passages: Sequence[str], questions: Mapping[str, str]) -> dict[str, list[str]]:
    """By question its ten best passages, as bm25s ranks them in its own way of Lucene's."""
    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index(
        bm25s.tokenize(list(passages), stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False
    )
    asked = bm25s.tokenize(list(questions.values()), stopwords="en", stemmer=stemmer, show_progress=False)
    found, scores = index.retrieve(asked, k=10, show_progress=False)
    return {
        key: [ids[int(place)] for place, score in zip(row, values, strict=True) if score > 0]
        for key, row, values in zip(questions, found, scores, strict=True)
    }


def relevant(judged: JudgedSet, passages: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """By question the passages that hold its answer whole."""
    found: dict[str, dict[str, int]] = {}
    for query in judged.queries:
        for answer in query.answers:
            for passage in passages:
                if " ".join(answer.words.split()) in " ".join(str(passage["text"]).split()):
                    found.setdefault(query.query_id, {})[str(passage["id"])] = 1
    return found


async def test_ndcg_is_within_a_hundredth_of_bm25s_or_above(
    owner_connection: Connection, app_connection: Connection, record_property: Callable[[str, object], None]
) -> None:
    judged = read_judged_set(JUDGED)
    firm = await founded(owner_connection)
    for document in judged.corpus():
        await firm.add(app_connection, document.text, title=document.title)
    async with firm.acting(app_connection):
        passages = [dict(row) for row in await app_connection.fetch(PASSAGES)]
        answered_by = relevant(judged, passages)
        questions = {query.query_id: query.text for query in judged.queries if query.query_id in answered_by}
        ours = {key: await best(app_connection, text) for key, text in questions.items()}
    theirs = of_bm25s([row["id"] for row in passages], [row["indexed"] for row in passages], questions)

    def mean(rankings: Mapping[str, Sequence[str]]) -> float:
        return sum(ndcg(rankings[key], answered_by[key]) for key in questions) / len(questions)

    assert len(questions) > 150
    record_property("ndcg_at_10", f"ours {mean(ours):.4f}, bm25s {mean(theirs):.4f}")
    assert mean(ours) >= 0.99 * mean(theirs)


async def best(connection: Connection, text: str) -> list[str]:
    found = await PostgresIndex(connection).search(query_terms(text), 10, SearchFilters())
    return [str(passage.chunk_id) for passage in found]
