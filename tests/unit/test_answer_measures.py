"""The measures of answers: right citations, refusals where nothing answers, and refusals where something does."""

import pytest

from knowledge.evaluation.answers import Answered, answer_figures, answers_figures
from knowledge.evaluation.judged import Answer, JudgedQuery
from knowledge.evaluation.retrieval import FoundPassage, Searched, overall_figures, question_figures

WORDS = JudgedQuery(
    query_id="1", text="?", relevant={"a": 1}, answers=(Answer(document="a", words="it is\nrenewed yearly"),)
)
DOCUMENT = JudgedQuery(query_id="2", text="?", relevant={"a": 1}, answers=())
NOTHING = JudgedQuery(query_id="3", text="?", relevant={}, answers=())
RIGHT = FoundPassage(document="a", text="So it is renewed   yearly, they say.")
BESIDE = FoundPassage(document="a", text="Another place.")
WRONG = FoundPassage(document="b", text="It is renewed yearly.")


def answered(
    query: JudgedQuery, *cited: FoundPassage, refused: bool = False, failed: int = 0, completed: bool = True
) -> dict[str, float]:
    given = Answered(query=query, cited=cited, refused=refused, failed_citations=failed, completed=completed)
    return answer_figures(given)


@pytest.mark.parametrize(
    ("query", "passage", "right"),
    [(WORDS, RIGHT, 1), (WORDS, BESIDE, 0), (WORDS, WRONG, 0), (DOCUMENT, BESIDE, 1), (DOCUMENT, WRONG, 0)],
)
def test_a_citation_is_right_where_its_passage_holds_the_words_else_by_its_document(
    query: JudgedQuery, passage: FoundPassage, right: int
) -> None:
    assert answered(query, passage)["right_citations"] == right


def test_all_are_counted_by_what_could_be_answered() -> None:
    figures = answers_figures(
        {
            "a": answered(WORDS, RIGHT, WRONG, failed=2),
            "b": answered(WORDS, RIGHT, refused=True),
            "c": answered(DOCUMENT, completed=False),
            "d": answered(NOTHING, WRONG),
            "e": answered(NOTHING, refused=True),
        }
    )
    assert figures == {
        "questions": 5,
        "unanswerable": 2,
        "citation_precision": 0.5,
        "answered_right": pytest.approx(1 / 3),
        "answerable_refused": pytest.approx(1 / 3),
        "refusal_rate": 0.5,
        "failed_citations": 2,
        "not_completed": 1,
    }


def test_a_share_of_nothing_is_left_out() -> None:
    assert answers_figures({"a": answered(NOTHING, refused=True)}).keys() == {
        "questions",
        "unanswerable",
        "refusal_rate",
        "failed_citations",
        "not_completed",
    }


def test_passages_are_judged_where_the_words_are_known() -> None:
    found = Searched(query=WORDS, passages=[WRONG, BESIDE, RIGHT], seconds=0.02)
    figures = question_figures(found, 2)
    # Documents b, a; the passage with the words is the third: 1/log2(3) of documents, 1/log2(4) of passages.
    assert figures == {
        "ndcg@10": pytest.approx(0.6309297535714575),
        "recall@2": 1.0,
        "mrr": 0.5,
        "passage_ndcg@10": 0.5,
        "answered@2": 0.0,
    }
    overall = overall_figures([found, Searched(query=NOTHING, passages=[], seconds=0.04)], {"1": figures})
    assert (overall["questions"], overall["mrr"]) == (1, 0.5)
    assert (overall["latency_p50_ms"], overall["latency_p95_ms"]) == (20, 40)
