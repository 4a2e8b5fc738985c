"""The analyser gives documents and questions the same terms, codes whole and by their parts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.terms import MAX_QUERY_TERMS, query_terms, term_frequencies


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("EL-4.2", ["el-4.2", "el", "4", "2"]),
        ("VAT-2024/07", ["vat-2024/07", "vat", "2024", "07"]),
        ("IFRS 16.22(b)", ["ifr", "16.22(b)", "16", "22", "b", "ifrs16.22(b)", "ifrs16"]),
        ("IFRS 16", ["ifr", "16", "ifrs16"]),
        ("IFRS16", ["ifrs16", "ifr", "16"]),
        ("ISA\u00a0220.", ["isa", "220", "isa220"]),
        ("recordTime", ["recordtime", "record", "tim"]),
        ("PDFFile", ["pdffile", "pdf", "fil"]),
        ("PDFs and VATs", ["pdf", "vat"]),
        ("vat_return_2024", ["vat_return_2024", "vat", "return", "2024"]),
        ("year-end", ["year-end", "year", "end"]),
        ("EUR 1,250,000.50", ["eur", "1250000.50", "1250000", "50", "eur1250000.50", "eur1250000"]),
        ("the client's letter", ["client", "letter"]),
        ("O’Neil", ["oneil", "o", "neil"]),
        ("R&D", ["r&d", "r", "d"]),
        ("Größe ﬁne ÉMILE", ["gross", "fin", "emil"]),
        ("Who is it?", []),
        ("... !!! §", []),
        ("must", ["must"]),
        ("x" * 70, ["x" * 64]),
    ],
)
def test_terms_of_a_text(text: str, terms: list[str]) -> None:
    assert query_terms(text) == terms


@pytest.mark.parametrize(
    "forms",
    [
        ["sign", "signs", "signed", "signing"],
        ["plan", "plans", "planned", "planning"],
        ["policy", "policies"],
        ["apply", "applies", "applied", "applying"],
        ["lease", "leases", "leased", "leasing"],
        ["file", "files", "filed", "filing"],
        ["tax", "taxes", "taxed"],
        ["process", "processes", "processed"],
        ["renew", "renews", "renewed", "Renewing"],
        ["bill", "bills", "billed", "billing"],
    ],
)
def test_forms_of_a_word_are_one_term(forms: list[str]) -> None:
    assert len({term for form in forms for term in query_terms(form)}) == 1


@pytest.mark.parametrize("word", ["exceed", "status", "basis", "loss", "thing", "red", "gas", "annex"])
def test_words_that_only_look_inflected_are_left_alone(word: str) -> None:
    assert query_terms(word) == [word]


def test_frequencies_count_each_occurrence_of_a_folded_term() -> None:
    assert term_frequencies("Letters, a letter and LETTER EL-4 or el-4") == {"letter": 3, "el-4": 2, "el": 2, "4": 2}


def test_a_query_is_searched_by_its_first_terms_only() -> None:
    assert query_terms(" ".join(f"w{number}x" for number in range(500)))[:2] == ["w0x", "w"]
    assert len(query_terms(" ".join(f"w{number}x" for number in range(500)))) == MAX_QUERY_TERMS


@settings(deadline=None)
@given(st.text(max_size=300))
def test_a_text_is_found_by_each_of_its_own_words(text: str) -> None:
    indexed = term_frequencies(text)
    for word in text.split():
        assert set(query_terms(word)) <= indexed.keys()


@settings(deadline=None)
@given(st.text(max_size=300))
def test_terms_are_short_and_never_blank(text: str) -> None:
    for term in term_frequencies(text):
        assert 0 < len(term) <= 64
        assert term == term.strip()
        assert "\x00" not in term
