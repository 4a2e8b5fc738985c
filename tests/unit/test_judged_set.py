"""The judged set about the demo firm holds together, and sets in the BEIR layout are read as they are meant."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from demo.build_judged import JUDGED, corpus, judgements
from knowledge.evaluation.judged import JudgedQuery, JudgedSet, SetUnreadable, read_judged_set

QUERIES = '{"_id": "1", "text": "one?"}\n{"_id": "2", "text": "two?", "metadata": {"url": []}}\n'
JUDGEMENTS = "query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n2\tb\t1\n"


@cache
def demo() -> JudgedSet:
    return read_judged_set(JUDGED, "demo")


@cache
def texts() -> dict[str, str]:
    return {document.id: on_one_line(document.text) for document in demo().corpus()}


def on_one_line(words: str) -> str:
    return " ".join(words.split())


def written(folder: Path, queries: str = QUERIES, qrels: str = JUDGEMENTS, corpus: str = "") -> Path:
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(qrels)
    (folder / "queries.jsonl").write_text(queries)
    (folder / "corpus.jsonl").write_text(corpus)
    return folder


def test_the_demo_set_has_enough_questions_and_enough_that_nothing_answers() -> None:
    answerable = Counter(query.answerable for query in demo().queries)
    assert answerable[True] >= 150
    assert answerable[False] >= 25
    assert len({query.text for query in demo().queries}) == len(demo().queries)


def test_every_document_of_the_firm_is_asked_about() -> None:
    assert {document for query in demo().queries for document in query.relevant} == set(texts())


@pytest.mark.parametrize("query", [query for query in demo().queries if query.answerable], ids=lambda each: each.text)
def test_the_words_of_each_answer_stand_in_the_document_that_is_named(query: JudgedQuery) -> None:
    assert query.relevant == dict.fromkeys((answer.document for answer in query.answers), 1)
    for answer in query.answers:
        assert texts()[answer.document].count(on_one_line(answer.words)) == 1, answer


def test_corpus_and_judgements_are_what_the_documents_and_questions_give() -> None:
    assert (JUDGED / "corpus.jsonl").read_text("utf-8").splitlines() == list(corpus())
    assert (JUDGED / "qrels" / "test.tsv").read_text("utf-8").splitlines() == list(judgements())


def test_a_set_of_the_plain_layout_is_read_with_its_judged_questions_only(tmp_path: Path) -> None:
    queries = QUERIES + '{"_id": "3", "text": "of the training split?"}\n'
    read = read_judged_set(written(tmp_path, queries, corpus='{"_id": 7, "text": "words"}\n'))
    assert [(query.query_id, query.relevant) for query in read.queries] == [("1", {"a": 2}), ("2", {"b": 1})]
    assert [(document.id, document.title, document.text) for document in read.corpus()] == [("7", "", "words")]
    assert read.name == tmp_path.name


def test_another_judgement_is_another_set(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    read = read_judged_set(written(tmp_path / "a"))
    other = read_judged_set(written(tmp_path / "b", qrels=JUDGEMENTS.replace("2\n", "1\n", 1)))
    assert read.digest != other.digest


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"queries": '{"_id": "1"}\n'}, "queries.jsonl: line 1: text"),
        ({"queries": "no json\n"}, "queries.jsonl: line 1"),
        ({"queries": QUERIES + QUERIES}, "line 3: there is a '1' before"),
        ({"queries": ""}, "holds no question"),
        ({"qrels": "1\ta\n"}, "test.tsv: line 2|no question"),
        ({"qrels": JUDGEMENTS + "1\tb\tmuch\n"}, "test.tsv: line 5 is no question"),
    ],
)
def test_what_is_no_such_set_is_refused_by_file_and_line(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(SetUnreadable, match=said):
        read_judged_set(written(tmp_path, **files))


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetUnreadable, match="qrels"):
        read_judged_set(tmp_path)
