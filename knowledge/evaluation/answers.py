"""How well answers hold: whether they cite what answers the question, and say so where nothing does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knowledge.evaluation.judged import JudgedQuery
from knowledge.evaluation.retrieval import FoundPassage, holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question's answer: the passages that it cites, whether it says that nothing answers, and what failed."""

    query: JudgedQuery
    cited: Sequence[FoundPassage]
    """Those whose citation survived its check."""
    refused: bool
    failed_citations: int
    completed: bool
    """False: the run came to no answer."""


def answer_figures(answered: Answered) -> dict[str, float]:
    """The figures of one question. Of an answer that says that nothing was found, citations bear nothing."""
    cited = () if answered.refused else answered.cited
    return {
        "answerable": float(answered.query.answerable),
        "completed": float(answered.completed),
        "refused": float(answered.refused),
        "citations": len(cited),
        "right_citations": sum(_is_right(passage, answered.query) for passage in cited),
        "failed_citations": answered.failed_citations,
    }


def answers_figures(questions: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The figures of all questions; a share of nothing is left out."""
    answerable = [each for each in questions.values() if each["answerable"]]
    unanswerable = [each for each in questions.values() if not each["answerable"]]
    figures: dict[str, float] = {"questions": len(questions), "unanswerable": len(unanswerable)}
    cited = _sum(answerable, "citations")
    if cited:
        figures["citation_precision"] = _sum(answerable, "right_citations") / cited
    if answerable:
        figures["answered_right"] = sum(each["right_citations"] > 0 for each in answerable) / len(answerable)
        figures["answerable_refused"] = _sum(answerable, "refused") / len(answerable)
    if unanswerable:
        figures["refusal_rate"] = _sum(unanswerable, "refused") / len(unanswerable)
    figures["failed_citations"] = _sum(list(questions.values()), "failed_citations")
    figures["not_completed"] = len(questions) - _sum(list(questions.values()), "completed")
    return figures


def _is_right(passage: FoundPassage, query: JudgedQuery) -> bool:
    """Whether the passage holds the words of an answer; where the set knows none, whether its document is relevant."""
    if passage.document not in query.relevant:
        return False
    words = [answer for answer in query.answers if answer.document == passage.document]
    return not words or any(holds(passage.text, answer) for answer in words)


def _sum(questions: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(each[name] for each in questions)
