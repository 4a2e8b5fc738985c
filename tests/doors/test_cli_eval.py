"""`glow eval` on a real database: a set's corpus is searched alone and taken in once; figures are kept and compared."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from knowledge.evaluation.weights import GRID
from tests.doors.test_cli_commands import Glow, firm, glow, installation
from tests.support.fake_embeddings import served_embeddings

__all__ = ["firm", "glow", "installation"]

CORPUS = {
    "herons": "Herons stand still in shallow water and wait for fish.",
    "swifts": "Swifts sleep on the wing and land only to breed.",
    "owls": "Owls hear a mouse under the snow.",
    "wrens": "Wrens weigh nine grams and sing louder than a rooster.",
}
QUESTIONS = {"1": "what do herons wait for in water", "2": "where do swifts sleep", "3": "how loud do wrens sing"}
RELEVANT = {"1": {"herons": 1}, "2": {"swifts": 1, "owls": 1}, "3": {"herons": 1}}


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    folder = tmp_path / "Birds of 2026"
    (folder / "qrels").mkdir(parents=True)
    lines = [f"{query}\t{document}\t{grade}" for query, each in RELEVANT.items() for document, grade in each.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    (folder / "queries.jsonl").write_text(_jsonl({"_id": key, "text": text} for key, text in QUESTIONS.items()))
    write_corpus(folder, CORPUS)
    return folder


def write_corpus(folder: Path, corpus: dict[str, str]) -> None:
    lines = ({"_id": key, "title": key.title(), "text": text} for key, text in corpus.items())
    (folder / "corpus.jsonl").write_text(_jsonl(lines))


def _jsonl(lines: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_a_folder_is_taken_in_once_measured_kept_and_compared_with_the_last(glow: Glow, birds: Path) -> None:
    assert glow("eval", "retrieval", str(birds), "--json") == 0, glow.err
    assert "4 documents taken in to the organization eval-birds-of-2026" in glow.err
    first = glow.json
    figures = first["evaluation"]["figures"]
    # By hand: question 1 finds its document first, question 2 one of its two (1 of 1 + 1/log2 3), question 3 none.
    assert figures["ndcg@10"] == pytest.approx((1 + 1 / 1.6309297535714575 + 0) / 3, abs=1e-9)
    assert figures["recall@10"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert figures["mrr"] == pytest.approx(2 / 3)
    assert figures["questions"] == 3
    assert "passage_ndcg@10" not in figures
    assert 0 < figures["latency_p50_ms"] <= figures["latency_p95_ms"]
    assert first["evaluation"]["conditions"] == {"mode": "lexical", "k": 10, "role": "SERVICE_ACCOUNT"}
    assert "last" not in first
    assert glow("eval", "retrieval", str(birds)) == 0
    assert "0 documents taken in" in glow.err
    assert "difference" in glow.out
    assert "same" in glow.out
    assert glow("eval", "retrieval", str(birds), "--k", "1", "--json") == 0
    assert "recall@1" in glow.json["evaluation"]["figures"]
    assert "last" not in glow.json


def test_a_changed_corpus_replaces_what_was_taken_in(glow: Glow, birds: Path) -> None:
    assert glow("eval", "retrieval", str(birds), "--json") == 0, glow.err
    write_corpus(birds, {"herons": CORPUS["herons"], "wrens": "Nothing.", "swifts": "Swifts sleep on the wing."})
    assert glow("eval", "retrieval", str(birds), "--json") == 0, glow.err
    assert "2 documents taken in" in glow.err
    assert glow.json["evaluation"]["figures"]["mrr"] == glow.json["last"]["figures"]["mrr"]
    assert glow("search", "mouse under the snow", "--organization", "eval-birds-of-2026", "--json") == 0
    assert glow.json["items"] == []


def test_the_set_of_the_demo_is_asked_of_the_firm_as_the_user_that_is_named(glow: Glow) -> None:
    assert glow("eval", "retrieval", "demo", "--user", "employee@acme.example", "--json") == 0, glow.err
    evaluation = glow.json["evaluation"]
    assert (evaluation["set_name"], evaluation["conditions"]["role"]) == ("demo", "EMPLOYEE")
    assert evaluation["figures"]["questions"] >= 150
    assert {"passage_ndcg@10", "answered@10"} <= evaluation["figures"].keys()


def test_answers_are_measured_by_the_real_chat_and_compared(glow: Glow, birds: Path) -> None:
    answers = {"1": ("herons", "wait for fish"), "2": ("swifts", "sleep on the wing")}
    lines = [
        {
            "_id": key,
            "text": text,
            "metadata": {"answers": [{"document": each[0], "words": each[1]}] if (each := answers.get(key)) else []},
        }
        for key, text in {**QUESTIONS, "3": "Which pension fund must the cook join?"}.items()
    ]
    (birds / "queries.jsonl").write_text(_jsonl(lines))
    (birds / "qrels" / "test.tsv").write_text("1\therons\t1\n2\tswifts\t1\n")
    assert glow("eval", "answers", str(birds), "--json") == 0, glow.err
    evaluation = glow.json["evaluation"]
    assert evaluation["conditions"] == {"agent": "assistant", "model": "offline", "role": "SERVICE_ACCOUNT"}
    figures = evaluation["figures"]
    assert (figures["questions"], figures["unanswerable"], figures["not_completed"]) == (3, 1, 0)
    assert (figures["citation_precision"], figures["answered_right"], figures["refusal_rate"]) == (1, 1, 1)
    assert (figures["answerable_refused"], figures["failed_citations"]) == (0, 0)
    assert glow("eval", "answers", str(birds)) == 0
    assert "difference" in glow.out
    assert glow("eval", "answers", str(birds), "--agent", "nobody") == 1
    assert "no such agent" in glow.err


def test_who_may_not_keep_figures_is_refused(glow: Glow) -> None:
    assert glow("eval", "retrieval", "demo", "--user", "readonly@acme.example") == 1
    assert "role_too_low" in glow.err


def test_what_is_no_set_is_refused_in_words(glow: Glow, tmp_path: Path) -> None:
    assert glow("eval", "retrieval", str(tmp_path)) == 1
    assert "there is no .tsv file with judgements" in glow.err


def test_what_words_and_meaning_should_count_is_tried_and_nothing_is_changed(
    glow: Glow, installation: pytest.MonkeyPatch, birds: Path
) -> None:
    birds = birds.rename(birds.parent / "Birds with vectors")
    with served_embeddings() as server:
        installation.setenv("GLOW_EMBEDDING_BASE_URL", server.url)
        assert glow("eval", "weights", str(birds), "--constant", "5", "--json") == 0, glow.err
        weighed = glow.json
    chosen, exchanged = (weighed["figures"]["ndcg@10"][half] for half in ("chosen_on_first", "chosen_on_second"))
    assert weighed["figure"] == "ndcg@10", "the set does not say which words answer"
    assert set(chosen["hybrid"]) == {f"{weight:g}" for weight in GRID}
    assert chosen["hybrid"]["0"]["all"] == pytest.approx(exchanged["hybrid"]["0"]["all"])
    assert chosen["held_out"] == chosen["hybrid"][f"{chosen['vector_weight']:g}"]["held_out"]
    assert chosen["lexical"]["all"] == pytest.approx((1 + 1 / 1.6309297535714575 + 0) / 3)


def test_without_vectors_there_is_nothing_to_weigh(glow: Glow, birds: Path) -> None:
    assert glow("eval", "weights", str(birds)) == 1
    assert "there are no embeddings to search" in glow.err
