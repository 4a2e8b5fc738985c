"""A presentation becomes text that reads slide by slide, and a hostile or broken one costs nothing."""

from __future__ import annotations

import pytest

from knowledge.chunk import chunk_document, page_of
from knowledge.parse.document import DOCX, PPTX, MediaType, ParsedDocument, ParseLimits, Unreadable
from knowledge.parse.media import media_type_of
from knowledge.parse.reader import parse_document
from tests.support.office import packed, paragraph, relationships, word
from tests.support.slides import DRAWN, DRAWN_THERE, deck, diagram, notes, shape, slide, table

LIMITS = ParseLimits(pages=5, characters=2_000, unpacked_bytes=1_000_000)
TITLE, BODY = 'type="title"', 'idx="1"'


def parsed(content: bytes) -> ParsedDocument:
    assert media_type_of(content, "a.pptx") == PPTX
    return parse_document(content, media_type=PPTX, limits=LIMITS)


def described(document: ParsedDocument) -> list[tuple[str, tuple[str, ...], str]]:
    return [(block.kind, block.path, document.text[block.start : block.end]) for block in document.blocks]


def test_a_slide_is_a_page_under_its_title_with_bullets_tables_and_notes() -> None:
    first = slide(
        shape("Sent by the firm.", "Kept ten years.", place=BODY),
        shape("Bank letters", place=TITLE),
        table(("Bank", "Balance"), ("Narro", "12")),
        shape("12", place='type="sldNum"'),
    )
    rels = relationships(notesSlide="../notesSlides/n.xml")
    document = parsed(
        deck(
            first,
            slide(shape("A box by itself.")),
            **{"ppt/slides/_rels/slide0.xml.rels": rels, "ppt/notesSlides/n.xml": notes("Say it slowly.")},
        )
    )
    under = ("Bank letters",)
    assert described(document) == [
        ("heading", under, "Bank letters"),
        ("list_item", under, "- Sent by the firm."),
        ("list_item", under, "- Kept ten years."),
        ("table", under, "Bank | Balance\nNarro | 12"),
        ("paragraph", under, "Notes: Say it slowly."),
        ("paragraph", (), "A box by itself."),
    ]
    assert document.title == "Bank letters"
    assert [page_of(document, block.start) for block in document.blocks] == [1, 1, 1, 1, 1, 2]
    assert [chunk.page for chunk in chunk_document(document)] == [1, 2]


def test_what_a_presentation_hides_is_left_out_and_the_slides_keep_their_numbers() -> None:
    document = parsed(
        deck(
            slide(shape("One."), shape("Not shown.", hidden=True)),
            slide(shape("Secret."), attributes='show="0"'),
            slide(shape("Three."), f"<mc:AlternateContent><mc:Choice>{shape('New.')}</mc:Choice>"
                  f"<mc:Fallback>{shape('Old.')}</mc:Fallback></mc:AlternateContent>"),
            slide(),
        )
    )  # fmt: skip
    assert document.text == "One.\n\nThree.\n\nNew."
    assert [page_of(document, document.text.index(word)) for word in ("One", "Three", "New")] == [1, 3, 3]
    assert len(document.page_starts) == 4


def test_the_words_of_a_diagram_and_of_groups_are_read() -> None:
    parts = {"ppt/slides/_rels/slide0.xml.rels": DRAWN_THERE, "ppt/diagrams/data1.xml": diagram("Plan", "Act")}
    document = parsed(deck(slide(f"<p:grpSp>{shape('Grouped.')}</p:grpSp>", DRAWN), **parts))
    assert document.text == "Grouped.\n\n- Plan\n- Act"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (deck(slide(shape("x")), before='<!DOCTYPE x [<!ENTITY a "b">]>'), "declares entities"),
        (deck(slide(shape("x")), before='<!DOCTYPE x SYSTEM "file:///etc/passwd">'), "declares entities"),
        (deck(*[slide(shape("x"))] * 6), "more than 5 slides"),
        (deck(slide(*[shape("long " * 200)] * 4)), "more than 2,000 characters"),
        (deck(slide()), "no slide shows any text"),
        (packed({"[Content_Types].xml": "<x/>", "ppt/presentation.xml": "<x/>"}), "damaged"),
        (deck("<p:sld"), "damaged"),
        (deck(slide("<p:grpSp>" * 3_000 + "</p:grpSp>" * 3_000)), "nested too deeply"),
        (deck(slide(shape("x")), **{"ppt/media/bomb": "0" * 2_000_000}), "at most 1,000,000 are read"),
    ],
    ids=["entities", "outside", "slides", "characters", "empty", "no-deck", "torn", "deep", "bomb"],
)  # fmt: skip
def test_a_bad_presentation_is_refused_in_words(content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        parsed(content)


LONG = [("Customer", "Balance"), *((f"Customer number {number} of the ledger", f"{number}.50") for number in range(60))]
AS_WORD = "<w:tbl>{}</w:tbl>".format(
    "".join("<w:tr>" + "".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) + "</w:tr>" for row in LONG)
)
AS_HTML = (
    "<table>" + "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in LONG) + "</table>"
)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(deck(slide(table(*LONG))), PPTX), (word(AS_WORD), DOCX), (AS_HTML.encode(), "text/html")],
    ids=["slides", "word", "html"],
)
def test_each_passage_of_a_long_table_says_what_its_columns_are(content: bytes, media_type: MediaType) -> None:
    chunks = chunk_document(parse_document(content, media_type=media_type), budget=64)
    assert len(chunks) > 5
    assert all("Customer: Customer number" in chunk.text and "Balance: " in chunk.text for chunk in chunks)
