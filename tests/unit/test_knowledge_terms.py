"""The analyser gives documents and questions the same terms, codes whole and by their parts, in each language."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.languages import LANGUAGES, STOP_WORDS, Language
from knowledge.terms import MAX_QUERY_TERMS, detected_language, query_terms, term_frequencies, without_mark

LANGUAGE = st.sampled_from([*LANGUAGES, None])


def terms_of(text: str, language: Language | None = "en") -> list[str]:
    return [without_mark(term) for term in term_frequencies(text, language)]


def findable(question: str, text: str, language: Language | None) -> bool:
    """Whether each word of the question stands in the text, as its language has it."""
    indexed = term_frequencies(text, language).keys()
    return all(any(form in indexed for form in term.variants) for term in query_terms(question))


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("EL-4.2", ["el-4.2", "el", "4", "2"]),
        ("VAT-2024/07", ["vat-2024/07", "vat", "2024", "07"]),
        ("IFRS 16.22(b)", ["ifr", "16.22(b)", "16", "22", "b", "ifrs16.22(b)", "ifrs16"]),
        ("IFRS 16", ["ifr", "16", "ifrs16"]),
        ("IFRS16", ["ifrs16", "ifr", "16"]),
        ("ISA\u00a0220.", ["isa", "220", "isa220"]),
        ("recordTime", ["recordtime", "record", "time"]),
        ("PDFFile", ["pdffile", "pdf", "file"]),
        ("PDFs and VATs", ["pdf", "vat"]),
        ("vat_return_2024", ["vat_return_2024", "vat", "return", "2024"]),
        ("year-end", ["year-end", "year", "end"]),
        ("EUR 1,250,000.50", ["eur", "1250000.50", "1250000", "50", "eur1250000.50", "eur1250000"]),
        ("the client's letter", ["client", "letter"]),
        ("O’Neil", ["oneil", "o", "neil"]),
        ("R&D", ["r&d", "r", "d"]),
        ("Größe ﬁne ÉMILE", ["gross", "fine", "emil"]),
        ("Who is it?", []),
        ("... !!! §", []),
        ("must", ["must"]),
        ("x" * 70, ["x" * 64]),
    ],
)
def test_terms_of_a_text(text: str, terms: list[str]) -> None:
    assert terms_of(text) == terms


@pytest.mark.parametrize(
    ("language", "forms"),
    [
        ("en", ["sign", "signs", "signed", "signing"]),
        ("en", ["plan", "plans", "planned", "planning"]),
        ("en", ["policy", "policies"]),
        ("en", ["lease", "leases", "leased", "leasing"]),
        ("en", ["renew", "renews", "renewed", "Renewing"]),
        ("de", ["Prüfung", "Prüfungen", "PRUEFUNG", "pruefungen"]),
        ("de", ["Vertrag", "Vertrags", "Verträge", "Vertraege"]),
        ("fr", ["société", "sociétés", "SOCIETE", "l’société"]),
        ("fr", ["impôt", "impots", "l'impôt", "d’impôts"]),
        ("it", ["azienda", "aziende", "dell'azienda", "DELL’AZIENDA"]),
        ("es", ["auditoría", "auditorías", "auditoria"]),
        ("nl", ["rekening", "rekeningen"]),
        ("pt", ["imposto", "impostos"]),
    ],
)
def test_forms_of_a_word_are_one_term_in_its_language(language: Language, forms: list[str]) -> None:
    assert len({term for form in forms for term in term_frequencies(form, language)}) == 1
    for form in forms:
        assert findable(form, forms[0], language)


@pytest.mark.parametrize("word", ["exceed", "status", "loss", "thing", "red", "gas", "annex"])
def test_words_that_only_look_inflected_are_left_alone(word: str) -> None:
    assert terms_of(word) == [word]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The letter is renewed every year by the partner who signs it.", "en"),
        ("Der Vertrag ist von der Firma zu unterschreiben und wird an den Kunden gesandt.", "de"),
        ("L'entreprise doit conserver les factures pendant dix ans et la TVA est due.", "fr"),
        ("Il contratto deve essere firmato dal socio e la fattura viene inviata al cliente.", "it"),
        ("El contrato debe ser firmado por el socio y la factura se envía al cliente.", "es"),
        ("De brief wordt elk jaar vernieuwd door de vennoot die het heeft ondertekend.", "nl"),
        ("O contrato não deve ser assinado pelo sócio e a fatura é enviada ao cliente.", "pt"),
        ("Umowa zostanie podpisana przez spółkę, a faktura zostanie wysłana do klienta", None),
        ("Договор подписан клиентом", None),
        ("Invoice;Amount;VAT\n4711;1,250.00;EL-4.2", "en"),
        ("", "en"),
    ],
)
def test_the_language_of_a_text_is_told_by_its_common_words(text: str, language: Language | None) -> None:
    assert detected_language(text) == language


def test_a_question_asks_for_a_word_in_every_language_and_drops_the_common_words_of_its_own() -> None:
    (due, invoice) = query_terms("Wann ist fällig die Rechnung?")
    assert (due.written, invoice.written) == ("fallig", "rechnung")
    assert {"rechnung", "rechnung~de", "rechnung~en"} <= set(invoice.variants)
    assert [term.written for term in query_terms("die casting")] == ["die", "casting"]
    assert [term.written for term in query_terms("What is per diem?")] == ["per", "diem"]


def test_forms_of_one_word_count_once_in_a_question() -> None:
    first, second = query_terms("signs signed")
    assert "sign~en" in first.variants
    assert not set(first.variants) & set(second.variants)


def test_a_word_counts_as_often_as_the_question_says_it_in_any_form() -> None:
    asked = {
        term.written: term.asked for term in query_terms("Audit letters: when is a letter of the audit late? EL-4")
    }
    assert asked == {"audit": 2, "letters": 2, "letter": 1, "late": 1, "el-4": 1, "el": 1, "4": 1}


def test_a_document_indexed_by_the_first_analysis_is_found_until_it_is_analysed_again() -> None:
    stored = {"fil", "leas", "apply", "el-4.2"}  # as the first analysis had them
    for question in ("files", "leasing", "applied", "EL-4.2"):
        assert set(query_terms(question)[0].variants) & stored


def test_frequencies_count_each_occurrence_of_a_folded_term() -> None:
    counted = term_frequencies("Letters, a letter and LETTER EL-4 or el-4")
    assert counted == {"letter~en": 3, "el-4": 2, "el~en": 2, "4": 2}


def test_a_query_is_searched_by_its_first_terms_only() -> None:
    terms = query_terms(" ".join(f"w{number}x" for number in range(500)))
    assert [term.written for term in terms[:2]] == ["w0x", "w"]
    assert len(terms) == MAX_QUERY_TERMS


@settings(deadline=None)
@given(st.text(max_size=300), LANGUAGE)
def test_a_text_is_found_by_each_of_its_own_words(text: str, language: Language | None) -> None:
    common = STOP_WORDS[language] if language else frozenset[str]()
    for word in text.split():
        asked = [term.written for term in query_terms(word)]
        assert findable(word, text, language) or any(written in common for written in asked)


@settings(deadline=None)
@given(st.text(alphabet="éüñçÉÜabcEXs '-.3", max_size=60), LANGUAGE)
def test_neither_case_nor_accents_nor_their_encoding_change_the_terms(text: str, language: Language | None) -> None:
    decomposed = unicodedata.normalize("NFD", text)
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    assert term_frequencies(text, language) == term_frequencies(decomposed, language)
    assert term_frequencies(text, language) == term_frequencies(bare, language)


@settings(deadline=None)
@given(st.text(max_size=300), LANGUAGE)
def test_terms_are_short_and_never_blank(text: str, language: Language | None) -> None:
    for term in term_frequencies(text, language):
        assert 0 < len(without_mark(term)) <= 64
        assert term == term.strip()
        assert "\x00" not in term
