"""Pages that are pictures are told from pages of words, by number or as the reason why nothing is read."""

from __future__ import annotations

from io import BytesIO

import pytest

from knowledge.isolate import IsolatedPreparer
from knowledge.parse.document import Unreadable
from knowledge.parse.ocr import in_reading_order, is_installed
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


def scan() -> bytes:
    """A page as a scanner makes it of a letter."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (1_240, 1_754), 255)
    words = "The balance of account 4711 is EUR 174,000.50."
    ImageDraw.Draw(page).text((120, 140), words, font=ImageFont.load_default(size=34), fill=0)
    made, buffer = fpdf.FPDF(), BytesIO()
    made.add_page()
    made.image(page, x=0, y=0, w=210)
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
    assert "recognizes no text in images" in refused.value.reason or "no words were recognized" in refused.value.reason


def test_pieces_of_lines_are_put_in_reading_order_without_those_that_are_unsure() -> None:
    found = [
        ([(50, 41), (90, 41), (90, 60), (50, 60)], "below", 0.9),
        ([(60, 10), (90, 10), (90, 30), (60, 30)], "right", 0.9),
        ([(0, 12), (50, 12), (50, 31), (0, 31)], "left", 0.8),
        ([(0, 80), (50, 80), (50, 99), (0, 99)], "smudge", 0.2),
    ]
    assert in_reading_order(found) == "left right\nbelow"


@pytest.mark.skipif(not is_installed(), reason="the extra `ocr` is not installed: no page is recognized")
async def test_the_words_of_a_scan_are_read_in_the_process_apart_and_said_to_be_so() -> None:
    async with IsolatedPreparer() as preparer:
        prepared = await preparer.prepare(scan(), title="Letter", media_type="application/pdf")
    assert "The balance of account 4711 is EUR 174,000.50." in prepared.text
    assert prepared.note == "page 1 is a scan, whose words were read from the picture and may be wrong"


async def test_what_is_said_of_a_document_comes_back_from_the_process_apart() -> None:
    async with IsolatedPreparer() as preparer:
        prepared = await preparer.prepare(pdf("Some words here.", None), title="Letters", media_type="application/pdf")
    assert prepared.note == "page 2 is a scan, whose words were not read"
