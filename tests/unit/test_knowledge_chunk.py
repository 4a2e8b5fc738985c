"""Chunks hold every word of a document once, in order, at exact offsets and within their budget."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.chunk import Chunk, chunk_document, page_of
from knowledge.parse.document import ParsedDocument, Unreadable
from knowledge.parse.markdown import parse_markdown
from knowledge.parse.pdf import document_of_pages
from knowledge.parse.plain import parse_plain
from knowledge.tokens import count_tokens


def assert_chunks_are_sound(document: ParsedDocument, chunks: tuple[Chunk, ...], budget: int) -> None:
    reached = 0
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert document.text[reached : chunk.start].strip() == ""
        assert chunk.text == document.text[chunk.start : chunk.end]
        assert chunk.text == chunk.text.strip() != ""
        assert count_tokens(chunk.text) <= chunk.token_count <= budget
        assert chunk.page == page_of(document, chunk.start)
        reached = chunk.end
    assert document.text[reached:].strip() == ""


WORDS = st.sampled_from(
    ["the", "letter", "is", "renewed", "Émile", "IFRS 16.22(b)", "漢字", "1,250.00", "x" * 90, "e.g."]
)
SENTENCES = st.lists(WORDS, min_size=1, max_size=12).map(lambda words: " ".join(words).capitalize() + ".")
PARAGRAPHS = st.lists(SENTENCES, min_size=1, max_size=8).map(" ".join)
ROWS = st.lists(WORDS, min_size=1, max_size=3).map(lambda cells: "| " + " | ".join(cells) + " |")
BLOCKS = st.one_of(
    PARAGRAPHS,
    st.sampled_from(["# One", "## Two", "### Three\n#### Four", "- item\n- item", "---", "```\ncode\n\nmore\n```"]),
    ROWS.map(lambda row: "| a |\n|---|\n" + "\n".join([row] * 30)),
    st.text(max_size=60),
    st.integers(1, 300).map(" ".__mul__),
)
SOURCES = st.lists(BLOCKS, min_size=1, max_size=8).map("\n\n".join)


@settings(deadline=None, max_examples=200)
@given(SOURCES, st.sampled_from([16, 40, 320]))
def test_markdown_chunks_hold_all_text_once_in_order_and_within_budget(source: str, budget: int) -> None:
    try:
        document = parse_markdown(source.encode("utf-8", "replace"))
    except Unreadable:
        return
    assert_chunks_are_sound(document, chunk_document(document, budget=budget), budget)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.one_of(PARAGRAPHS, st.just(""), st.text(max_size=80)), min_size=1, max_size=5),
    st.sampled_from([16, 64]),
)
def test_page_chunks_hold_all_text_once_in_order_and_within_budget(pages: list[str], budget: int) -> None:
    try:
        document = document_of_pages([page.encode("utf-8", "replace").decode() for page in pages])
    except Unreadable:
        return
    assert_chunks_are_sound(document, chunk_document(document, budget=budget), budget)


@settings(deadline=None, max_examples=200)
@given(st.text(min_size=1, max_size=2_000), st.integers(16, 50))
def test_any_text_whatever_is_chunked_soundly(text: str, budget: int) -> None:
    try:
        document = parse_plain(text.encode("utf-8", "replace"))
    except Unreadable:
        return
    assert_chunks_are_sound(document, chunk_document(document, budget=budget), budget)


def test_a_chunk_ends_with_its_section_and_says_which_it_is() -> None:
    document = parse_markdown(
        b"# Policy\n\nIntro.\n\n## Renewal\n\nEach year.\n\n- by the partner\n\n## Filing\n\nAt once.\n"
    )
    assert [(chunk.section, chunk.text) for chunk in chunk_document(document)] == [
        ("Policy", "# Policy\n\nIntro."),
        ("Policy > Renewal", "## Renewal\n\nEach year.\n\n- by the partner"),
        ("Policy > Filing", "## Filing\n\nAt once."),
    ]


def test_headings_stand_with_what_follows_them() -> None:
    document = parse_markdown(("# A\n\n## B\n\n" + "One sentence of the section. " * 40).encode())
    first = chunk_document(document, budget=60)[0]
    assert first.text.startswith("# A\n\n## B\n\nOne sentence")
    assert first.section == "A > B"


def test_a_paragraph_over_budget_is_cut_between_sentences_only() -> None:
    sentence = "The partner of Art. 5 signs it, e.g. Mr. Bastide, before work begins."
    document = parse_plain(" ".join([sentence] * 60).encode())
    chunks = chunk_document(document, budget=64)
    assert len(chunks) > 10
    assert all(chunk.text.startswith("The partner") and chunk.text.endswith("begins.") for chunk in chunks)


def test_a_table_over_budget_is_cut_between_rows_only() -> None:
    rows = "\n".join(f"| client {number} | 1,250.00 | due. Or not |" for number in range(60))
    document = parse_markdown(f"| name | fee | state |\n|---|---|---|\n{rows}\n".encode())
    for chunk in chunk_document(document, budget=100):
        assert all(line.startswith(("| ", "|-")) for line in chunk.text.splitlines())
        assert all(line.endswith("|") for line in chunk.text.splitlines())


def test_paragraphs_are_kept_whole_while_they_fit() -> None:
    paragraphs = [f"Paragraph {number} has a few words. And two sentences." for number in range(20)]
    document = parse_plain("\n\n".join(paragraphs).encode())
    for chunk in chunk_document(document, budget=50):
        assert all(paragraph in paragraphs for paragraph in chunk.text.split("\n\n"))


def test_a_chunk_begins_with_each_page_unless_a_sentence_runs_over() -> None:
    document = document_of_pages(["First page.", "Second page and it", "goes on here. End.", "Fourth."])
    assert [(chunk.page, chunk.text) for chunk in chunk_document(document)] == [
        (1, "First page."),
        (2, "Second page and it\n\ngoes on here. End."),
        (4, "Fourth."),
    ]


def test_a_word_longer_than_the_budget_is_cut_and_nothing_is_lost() -> None:
    document = parse_plain(("x7Q" * 5_000).encode())
    chunks = chunk_document(document, budget=100)
    assert "".join(chunk.text for chunk in chunks) == document.text


def test_a_budget_that_a_few_characters_may_exceed_is_refused() -> None:
    with pytest.raises(ValueError, match="16 tokens or more"):
        chunk_document(parse_plain(b"x"), budget=15)


PLAIN = st.sampled_from(["the", "letter", "is", "renewed", "Émile", "IFRS 16.22(b)", "1,250.00", "VAT-2024/07", "by"])
PROSE = st.lists(
    st.lists(PLAIN, min_size=1, max_size=7).map(lambda words: "The " + " ".join(words) + "s."), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=150)
@given(st.lists(PROSE, min_size=1, max_size=5), st.sampled_from([64, 96, 320]))
def test_no_sentence_that_fits_the_budget_is_cut(paragraphs: list[list[str]], budget: int) -> None:
    text = "\n\n".join(map(" ".join, paragraphs))
    chunks = chunk_document(parse_plain(text.encode()), budget=budget)
    at = 0
    for sentence in (sentence for paragraph in paragraphs for sentence in paragraph):
        at = text.index(sentence, at)
        assert any(chunk.start <= at and at + len(sentence) <= chunk.end for chunk in chunks), sentence
        at += len(sentence)
