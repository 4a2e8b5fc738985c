"""The offline model's quotes: the sentences that answer, as they stand in their passage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.offline.passages import Passage, extract, passages_of
from agent.offline.sentences import blocks_of, sentences_of, terms_of

LETTER = """## EL-4 Renewal

EL-4.1 A letter does not renew itself.

EL-4.2 The engagement letter must be renewed every twelve months, at the latest 30 days
before the first day of the financial year. It is signed by the engagement partner for the firm.

EL-4.3 The manager puts the date into the calendar, e.g. with a reminder 90 days ahead."""

RENEWED = (
    "EL-4.2 The engagement letter must be renewed every twelve months, at the latest 30 days before the first day"
    " of the financial year."
)

GIFTS = """# Gifts

| Item | Limit |
|---|---|
| Gift | EUR 100 |

- Gifts are accepted only when trivial [3]. The limit is EUR 100 for each client.
- Cash is never accepted."""


def passage(marker: int, text: str, title: str = "Policy") -> Passage:
    return Passage(marker=marker, title=title, text=text, section="S-1")


def test_sentences_are_cut_at_their_ends_and_soft_line_ends_are_joined() -> None:
    assert blocks_of(LETTER)[2] == [
        RENEWED,
        "It is signed by the engagement partner for the firm.",
    ]
    assert sentences_of(GIFTS) == [
        "Gifts",
        "| Item | Limit |",
        "| Gift | EUR 100 |",
        "Gifts are accepted only when trivial [3].",
        "The limit is EUR 100 for each client.",
        "Cash is never accepted.",
    ]
    assert sentences_of('He said "Stop." Then it was over. See No. 5 of it.') == [
        'He said "Stop."',
        "Then it was over.",
        "See No. 5 of it.",
    ]


def test_words_of_one_stem_are_one_term() -> None:
    assert terms_of("renewed renews renewal renewing") == ["renew"] * 4
    assert terms_of("When must the firm’s letters be signed?") == terms_of("firm letter sign")


def test_a_question_of_two_parts_is_answered_from_the_paragraph_that_holds_both() -> None:
    found = extract(
        "When must the engagement letter be renewed, and who signs it?", [passage(1, GIFTS), passage(2, LETTER)]
    )
    assert found.clear
    assert found.quotes[0].passage.marker == 2
    assert found.quotes[0].text.startswith("EL-4.2 The engagement letter must be renewed every twelve months")
    assert found.quotes[0].text.endswith("It is signed by the engagement partner for the firm.")


def test_a_number_in_brackets_of_the_document_is_no_citation() -> None:
    found = extract("When are gifts accepted, only when trivial?", [passage(1, GIFTS)])
    assert "trivial (3)." in found.quotes[0].text


def test_what_the_documents_do_not_say_is_not_made_up() -> None:
    assert extract("What is the capital of France?", [passage(1, LETTER), passage(2, GIFTS)]).quotes == ()
    assert extract("anything", []).quotes == ()
    assert extract("", [passage(1, LETTER)]).quotes == ()
    assert not extract("Which pension fund does the partner use for the cook?", [passage(1, LETTER)]).clear


def test_the_same_sentence_in_two_passages_is_quoted_once() -> None:
    found = extract("Is cash accepted?", [passage(1, "Cash is never accepted."), passage(2, "Cash is never accepted.")])
    assert [quote.passage.marker for quote in found.quotes] == [1]


def test_a_sentence_that_points_back_brings_the_one_before_it() -> None:
    text = "The reviewer is appointed in May. He needs ten years of experience. " + "Other matters follow here. " * 30
    found = extract("How many years of experience are needed?", [passage(1, text)])
    assert found.quotes[0].text.startswith("The reviewer is appointed in May. He needs ten years of experience.")
    assert len(found.quotes[0].text) <= 500


def test_passages_are_read_from_results_with_gaps() -> None:
    items = [{"marker": 4, "title": "A", "text": "x", "page": 2, "section": "S"}, {"text": "y"}, {"text": " "}, None, 7]
    first, second = passages_of({"items": items})
    assert (first.marker, first.place) == (4, "A, S, page 2")
    assert (second.marker, second.place) == (2, "untitled")


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("Engagement letters (EL) > EL-4 Renewal", "Engagement letters (EL), EL-4 Renewal"),
        ("Engagement letters (EL)", "Engagement letters (EL)"),
        ("EL-4 Renewal", "Engagement letters (EL), EL-4 Renewal"),
        ("", "Engagement letters (EL)"),
    ],
)
def test_a_place_says_the_title_once_though_it_is_the_first_heading_too(section: str, place: str) -> None:
    passage = Passage(marker=1, title="Engagement letters (EL)", text="Renew it.", section=section)
    assert passage.place == place
    assert passages_of({}) == []


@pytest.mark.parametrize("question", ["When is it due?", "Who? Why? How much?", "[1] ((( \\ *"])
@given(texts=st.lists(st.text(), max_size=4))
def test_every_quote_stands_in_its_passage(question: str, texts: list[str]) -> None:
    found = extract(question + " ".join(texts[:1]), [passage(at, text) for at, text in enumerate(texts, 1)])
    for quote in found.quotes:
        assert quote.passage.text == texts[quote.passage.marker - 1]
