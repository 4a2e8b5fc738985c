"""The offline model's quotes hold the answers to the demo firm's own questions."""

from functools import cache
from pathlib import Path
from typing import cast

import yaml

from agent.offline.passages import Extract, Passage, extract
from agent.offline.sentences import terms_of
from knowledge.parse.media import media_type_of
from knowledge.prepare import prepare_document

DEMO = Path(__file__).parents[2] / "demo"
Question = dict[str, str]


def questions() -> list[Question]:
    return cast("dict[str, list[Question]]", yaml.safe_load((DEMO / "questions.yaml").read_text("utf-8")))["questions"]


@cache
def chunks_of(organization: str) -> list[tuple[str, str]]:
    """Each chunk of an organization's documents as title and text."""
    paths = [path for path in sorted((DEMO / "documents" / organization).rglob("*")) if path.is_file()]
    return [(path.stem, chunk) for path in paths for chunk in _chunks(path)]


def _chunks(path: Path) -> list[str]:
    content = path.read_bytes()
    prepared = prepare_document(content, title=path.stem, media_type=media_type_of(content, path.name))
    return [chunk.chunk.text for chunk in prepared.chunks]


def answer(question: Question) -> Extract:
    """The quotes from the passages that share the most words with the question, as a search would give them."""
    asked = set(terms_of(question["question"]))
    ranked = sorted(chunks_of(question["organization"]), key=lambda chunk: -len(asked & set(terms_of(" ".join(chunk)))))
    passages = [Passage(marker=marker, title=title, text=text) for marker, (title, text) in enumerate(ranked[:8], 1)]
    return extract(question["question"], passages)


def answered(question: Question) -> bool:
    said = " ".join(" ".join(quote.text.split()) for quote in answer(question).quotes)
    return " ".join(question["answer"].split()) in said


def test_most_questions_of_the_demo_firm_are_answered_by_a_quote() -> None:
    asked = questions()
    missed = [question["question"] for question in asked if not answered(question)]
    assert len(missed) <= len(asked) // 5, missed


def test_the_question_of_the_readme_has_one_right_answer_in_each_organization() -> None:
    letters = [
        question for question in questions() if question["question"].startswith("When must the engagement letter")
    ]
    assert {question["organization"] for question in letters} == {"acme-audit", "borealis-tax"}
    for question in letters:
        found = answer(question)
        assert found.clear
        assert " ".join(question["answer"].split()) in " ".join(found.quotes[0].text.split())
