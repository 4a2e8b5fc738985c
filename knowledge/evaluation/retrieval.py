"""How well a search found what a judged set says is relevant: of each question, and of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knowledge.evaluation.judged import Answer, JudgedQuery
from knowledge.evaluation.measures import mean, ndcg, percentile, recall, reciprocal_rank

P50, P95 = 0.5, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassage:
    """A passage that a search gave; `document` is its document's id in the corpus."""

    document: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What one question found, best first, and how long that took."""

    query: JudgedQuery
    passages: Sequence[FoundPassage]
    seconds: float


def question_figures(searched: Searched, k: int) -> dict[str, float]:
    """The figures of one question that something answers.

    Documents are ranked by their best passage. Where the set says which words answer, passages are judged too: each
    answer is found by the first passage in which all its words stand.
    """
    query = searched.query
    documents = list(dict.fromkeys(passage.document for passage in searched.passages))
    figures = {
        "ndcg@10": ndcg(documents, query.relevant),
        f"recall@{k}": recall(documents, query.relevant, k),
        "mrr": reciprocal_rank(documents, query.relevant),
    }
    if query.answers:
        found = _answers_found(searched.passages, query.answers)
        wanted = {str(number): 1 for number in range(len(query.answers))}
        figures |= {
            "passage_ndcg@10": ndcg(found, wanted),
            f"answered@{k}": float(any(place in wanted for place in found[:k])),
        }
    return figures


def overall_figures(searched: Sequence[Searched], questions: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The means of the questions' figures, and the time that the searches took.

    Units   latency: milliseconds, of each search whether or not anything answers its question.
    """
    figures: dict[str, float] = {"questions": len(questions)}
    for name in dict.fromkeys(name for each in questions.values() for name in each):
        average = mean([each[name] for each in questions.values() if name in each])
        if average is not None:
            figures[name] = average
    seconds = [each.seconds for each in searched]
    if seconds:
        figures["latency_p50_ms"] = percentile(seconds, P50) * 1000
        figures["latency_p95_ms"] = percentile(seconds, P95) * 1000
    return figures


def holds(text: str, answer: Answer) -> bool:
    """Whether the answer's words stand in the text, blanks and line ends counting as one blank."""
    return _on_one_line(answer.words) in _on_one_line(text)


def _answers_found(passages: Sequence[FoundPassage], answers: Sequence[Answer]) -> list[str]:
    """The passages as a ranking: the number of the answer that each is the first to hold, else what stands for none."""
    left = dict(enumerate(answers))
    ranking: list[str] = []
    for place, passage in enumerate(passages):
        held = next(
            (
                number
                for number, answer in left.items()
                if answer.document == passage.document and holds(passage.text, answer)
            ),
            None,
        )
        if held is not None:
            del left[held]
        ranking.append(f"none {place}" if held is None else str(held))
    return ranking


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
