"""Pages that are pictures are told from pages of words, by number or as the reason why nothing is read."""

from __future__ import annotations

from io import BytesIO

import pytest

from knowledge.isolate import IsolatedPreparer
from knowledge.parse.document import Unreadable
from knowledge.parse.reader import parse_document

fpdf = pytest.importorskip("fpdf", reason="fpdf2 makes these PDFs; it is not installed")


def pdf(*pages: str | None) -> bytes:
    """A page for each: its words, or None for a picture as a scanner makes it, with a page number at its foot."""
    from PIL import Image

    made = fpdf.FPDF()
    made.set_font("Helvetica")
    for number, words in enumerate(pages, 1):
        made.add_page()
        if words is None:
            made.image(Image.new("L", (200, 280), 255 - number), x=0, y=0, w=210)
            made.text(100, 290, str(number))
        elif words:
            made.multi_cell(0, 8, words)
    buffer = BytesIO()
    made.output(buffer)
    return buffer.getvalue()


def test_scanned_pages_among_others_are_named() -> None:
    document = parse_document(pdf("The first page has words.", None, "", None), media_type="application/pdf")
    assert document.note == "2 pages are scans, whose words were not read: 2, 4"
    assert len(document.page_starts) == 4
    one = parse_document(pdf("The first page has words.", None), media_type="application/pdf")
    assert one.note == "page 2 is a scan, whose words were not read"


def test_a_document_of_words_has_nothing_said_of_it() -> None:
    assert parse_document(pdf("Words.", ""), media_type="application/pdf").note is None


def test_many_scanned_pages_are_counted_and_the_first_ones_named() -> None:
    note = parse_document(pdf("Words that stand here.", *[None] * 20), media_type="application/pdf").note
    assert note == ("20 pages are scans, whose words were not read: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 and others")


@pytest.mark.parametrize(
    ("pages", "words"),
    [((None,), "its page holds"), ((None, None, ""), "its 3 pages hold"), (("",), "the PDF holds no text")],
)
def test_a_document_of_nothing_but_pictures_cannot_be_read_and_says_why(
    pages: tuple[str | None, ...], words: str
) -> None:
    with pytest.raises(Unreadable, match=words) as refused:
        parse_document(pdf(*pages), media_type="application/pdf")
    assert "recognizes no text in images" in refused.value.reason


async def test_what_is_said_of_a_document_comes_back_from_the_process_apart() -> None:
    async with IsolatedPreparer() as preparer:
        prepared = await preparer.prepare(pdf("Some words here.", None), title="Letters", media_type="application/pdf")
    assert prepared.note == "page 2 is a scan, whose words were not read"
