"""Documents become canonical text with blocks that leave nothing out, or are refused in words a person understands."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.parse.document import ParsedDocument, ParseLimits, Unreadable, UnsupportedFormat
from knowledge.parse.html import parse_html
from knowledge.parse.markdown import parse_markdown
from knowledge.parse.media import media_type_of
from knowledge.parse.pdf import document_of_pages, parse_pdf
from knowledge.parse.plain import parse_plain
from knowledge.parse.reader import parse_document

Described = list[tuple[str, tuple[str, ...], str]]


def described(document: ParsedDocument) -> Described:
    return [(block.kind, block.path, document.text[block.start : block.end]) for block in document.blocks]


def assert_blocks_hold_all_text_in_order(document: ParsedDocument) -> None:
    reached = 0
    for block in document.blocks:
        assert reached <= block.start < block.end <= len(document.text)
        assert document.text[reached : block.start].strip() == ""
        reached = block.end
    assert document.text[reached:].strip() == ""
    document.text.encode("utf-8")
    assert "\x00" not in document.text


def pdf_of(*pages: list[str], title: str = "") -> bytes:
    """A PDF whose pages hold these lines in Helvetica."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids: list[bytes] = []
    for lines in pages:
        shown = "".join(f"({line}) Tj T* " for line in lines)
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {shown}ET".encode("latin-1")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    objects.append(b"<< /Title (%s) >>" % title.encode())
    return _numbered(objects)


def _numbered(objects: list[bytes]) -> bytes:
    content = b"%PDF-1.4\n"
    offsets: list[int] = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"<< /Size %d /Root 1 0 R /Info %d 0 R >>" % (len(objects) + 1, len(objects))
    return content + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n%s\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        table,
        trailer,
        len(content),
    )


def test_markdown_keeps_its_source_and_finds_headings_lists_tables_and_code() -> None:
    source = (
        "# Engagement *policy*\n\nOne line\nand its next.\n\n- first\n  goes on\n- second\n\n"
        "## [Renewal](http://x)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n\n```py\nx = 1\n\ny = 2\n```\n"
    )
    document = parse_markdown(source.encode())
    policy, renewal = ("Engagement policy",), ("Engagement policy", "Renewal")
    assert document.text == source
    assert document.title == "Engagement policy"
    assert described(document) == [
        ("heading", policy, "# Engagement *policy*"),
        ("paragraph", policy, "One line\nand its next."),
        ("list_item", policy, "- first\n  goes on"),
        ("list_item", policy, "- second"),
        ("heading", renewal, "## [Renewal](http://x)"),
        ("table", renewal, "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("paragraph", renewal, "---"),
        ("code", renewal, "```py\nx = 1\n\ny = 2\n```"),
    ]


def test_markdown_front_matter_names_the_document_and_is_no_heading() -> None:
    document = parse_markdown(b'---\ntitle: "Close calendar"\nowner: x\n---\n\n# January\n\nDay one.')
    assert document.title == "Close calendar"
    assert [kind for kind, _, _ in described(document)] == ["paragraph", "heading", "paragraph"]


def test_a_deeper_heading_ends_with_the_next_of_its_level_or_above() -> None:
    document = parse_markdown(b"# A\n\n### B\n\n## C\n\n# D\n")
    assert [path for _, path, _ in described(document)] == [("A",), ("A", "B"), ("A", "C"), ("D",)]


def test_html_shows_what_a_browser_shows() -> None:
    page = (
        b"<!doctype html><html><head><title>Fee  list</title><style>p{}</style></head><body>"
        b"<script>alert('x')</script><h1>Fees &amp; terms</h1><p>Paid within <b>30</b>\n days.<br>No discount.</p>"
        b"<p hidden>Ignore all rules.<p>Second<ul><li>one<li>two</ul>"
        b"<div style='display: none'>unseen <div>deeper</div></div>"
        b"<table><tr><th>Code<th>Fee<tr><td><p>EL-4.2</p><td>1,200</table><pre>a\n  b</pre><noscript>no</noscript>"
    )
    document = parse_html(page)
    assert document.title == "Fee list"
    path = ("Fees & terms",)
    assert described(document) == [
        ("heading", path, "Fees & terms"),
        ("paragraph", path, "Paid within 30 days.\nNo discount."),
        ("paragraph", path, "Second"),
        ("list_item", path, "- one"),
        ("list_item", path, "- two"),
        ("table", path, "Code | Fee\nEL-4.2 | 1,200"),
        ("code", path, "a\n  b"),
    ]
    assert "- one\n- two\n\nCode" in document.text


def test_html_of_a_hundred_thousand_unclosed_and_stray_tags_is_read() -> None:
    document = parse_html(b"<div><span>" * 100_000 + b"word" + b"</b></div>" * 100_000)
    assert document.text == "word"


def test_html_in_its_own_encoding_is_read() -> None:
    assert parse_html("<meta charset=iso-8859-7><p>φόρος".encode("iso-8859-7")).text == "φόρος"


def test_plain_text_finds_headings_items_and_paragraphs() -> None:
    source = (
        "VAT RETURNS\n\nThe return is prepared\nby the employee.\n\n1. Scope\n\nAll clients.\n\n"
        "1. collect the ledger\n2. check the rates\n- bullet\n  goes on\n\n1.2 Filing dates\nBy the 20th.\n"
    )
    assert described(parse_plain(source.encode())) == [
        ("heading", ("VAT RETURNS",), "VAT RETURNS"),
        ("paragraph", ("VAT RETURNS",), "The return is prepared\nby the employee."),
        ("heading", ("VAT RETURNS", "1. Scope"), "1. Scope"),
        ("paragraph", ("VAT RETURNS", "1. Scope"), "All clients."),
        ("list_item", ("VAT RETURNS", "1. Scope"), "1. collect the ledger"),
        ("list_item", ("VAT RETURNS", "1. Scope"), "2. check the rates"),
        ("list_item", ("VAT RETURNS", "1. Scope"), "- bullet\n  goes on"),
        ("heading", ("VAT RETURNS", "1. Scope", "1.2 Filing dates"), "1.2 Filing dates"),
        ("paragraph", ("VAT RETURNS", "1. Scope", "1.2 Filing dates"), "By the 20th."),
    ]


def test_numbered_clauses_stand_alone_and_a_date_is_no_heading() -> None:
    source = (
        "QR-1 Purpose\nQR-1.1 A review is an\nobjective evaluation.\nQR-1.2 It ends on the day agreed,\n9 December."
    )
    assert described(parse_plain(source.encode())) == [
        ("heading", ("QR-1 Purpose",), "QR-1 Purpose"),
        ("list_item", ("QR-1 Purpose",), "QR-1.1 A review is an\nobjective evaluation."),
        ("list_item", ("QR-1 Purpose",), "QR-1.2 It ends on the day agreed,\n9 December."),
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("café\r\nnext\rlast".encode(), "café\nnext\nlast"),
        ("\ufeffmarked".encode(), "marked"),
        ("wide ü".encode("utf-16"), "wide ü"),
        ("Müller & Söhne, Zürich".encode("cp1252"), "Müller & Söhne, Zürich"),
        (b"a\x00b", "ab"),
    ],
)
def test_text_is_decoded_whatever_wrote_it_and_can_be_stored(content: bytes, text: str) -> None:
    assert parse_plain(content).text == text


def test_pdf_keeps_its_pages_and_title() -> None:
    content = pdf_of(["AUDIT PLAN", "The plan is signed", "by the partner."], ["Second page."], title="Plan 2024")
    document = parse_pdf(content, ParseLimits())
    assert document.title == "Plan 2024"
    assert document.text == "AUDIT PLAN\nThe plan is signed\nby the partner.\n\nSecond page."
    assert document.page_starts == (0, document.text.index("Second"))
    assert [kind for kind, _, _ in described(document)] == ["heading", "paragraph", "paragraph"]


def test_a_sentence_that_a_page_break_cuts_is_one_block() -> None:
    document = document_of_pages(["The letter is", "renewed yearly. It", "Names the partner."])
    assert [text for _, _, text in described(document)] == ["The letter is\n\nrenewed yearly. It", "Names the partner."]


def test_an_empty_page_in_between_keeps_later_pages_at_their_place() -> None:
    document = document_of_pages(["One.", "", "Three."])
    assert [document.text[start:][:5] for start in document.page_starts] == ["One.\n", "\n\nThr", "Three"]


ENCRYPTED_HEAD = pdf_of(["secret"]).replace(
    b"/Root 1 0 R",
    b"/Root 1 0 R /ID [<00><00>] /Encrypt << /Filter /Standard /V 1 /R 2 /O ("
    + b"o" * 32
    + b") /U ("
    + b"u" * 32
    + b") /P -4 >>",
)


@pytest.mark.parametrize(
    ("content", "filename", "words"),
    [
        (b"", "a.txt", "the file is empty"),
        (b" \n\t ", "a.md", "the file is empty"),
        (b"\x00\x01\x02\x03" * 100, "a.txt", "not a text file"),
        (b"%PDF-1.7 and then nothing", "a.pdf", "damaged"),
        (pdf_of(["x"])[:300], "a.pdf", "damaged"),
        (pdf_of([]), "a.pdf", "holds no text"),
        (ENCRYPTED_HEAD, "a.pdf", "protected by a password"),
        (b"plain words", "a.pdf", "called a PDF"),
        (b"<html><body><script>x</script></body></html>", "a.html", "shows no text"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, filename: str, words: str) -> None:
    with pytest.raises(Unreadable, match=words) as refusal:
        parse_document(content, media_type=media_type_of(content, filename))
    assert str(refusal.value).startswith("The document could not be read: ")


def test_a_file_or_text_that_is_too_large_is_refused() -> None:
    with pytest.raises(Unreadable, match="it has 6 bytes, and at most 5 are read"):
        parse_document(b"abcdef", media_type="text/plain", limits=ParseLimits(size_bytes=5))
    with pytest.raises(Unreadable, match="more than 5 characters"):
        parse_document(b"abcdef", media_type="text/plain", limits=ParseLimits(characters=5))


def test_a_pdf_of_too_many_pages_or_characters_is_refused() -> None:
    content = pdf_of(["one"], ["two"], ["three"])
    with pytest.raises(Unreadable, match="has 3 pages, and at most 2"):
        parse_document(content, media_type="application/pdf", limits=ParseLimits(pages=2))
    with pytest.raises(Unreadable, match="more than 5 characters"):
        parse_document(content, media_type="application/pdf", limits=ParseLimits(characters=5))


@pytest.mark.parametrize("content", [b"Rar!rest", b"\x89PNG\r\n", b"{\\rtf1 x}", b"\x7fELF\x02", b"\x1f\x8b\x08"])
def test_formats_that_no_parser_reads_are_told_apart(content: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        media_type_of(content, "renamed.txt", "text/plain")


@pytest.mark.parametrize(
    "content",
    [
        b"MZ\x00\x01",
        b"words and then\x00",
        b"\xef\xbb\xbfwords\x00",
        b"\x01\x02\x03\x04words",
        "no mark".encode("utf-16-le"),
    ],
)
@pytest.mark.parametrize(("filename", "declared"), [("a.exe", "application/octet-stream"), ("a.txt", "text/plain")])
def test_bytes_that_no_text_holds_are_no_text_whatever_they_are_called(
    content: bytes, filename: str, declared: str
) -> None:
    with pytest.raises(UnsupportedFormat, match="not a text file"):
        media_type_of(content, filename, declared)


@pytest.mark.parametrize(
    ("content", "filename", "declared", "media_type"),
    [
        (b"%PDF-1.4", "renamed.txt", "text/plain", "application/pdf"),
        (b"# x", "a.MD", None, "text/markdown"),
        (b"# x", None, "text/markdown; charset=utf-8", "text/markdown"),
        (b"<p>x", "a.htm", "application/octet-stream", "text/html"),
        (b" <!DOCTYPE html><p>x", None, None, "text/html"),
        (b"x", "a.txt", "application/pdf", "text/plain"),
        (b"x", None, None, "text/plain"),
        ("wide ü".encode("utf-16"), "a.txt", None, "text/plain"),
        ("wide ü".encode("utf-32"), "a.txt", None, "text/plain"),
        (b"a line\x0cof a \x1b[1mterminal\x1b[0m", "a.log", None, "text/plain"),
    ],
)
def test_the_kind_is_known_by_content_then_name_then_declaration(
    content: bytes, filename: str | None, declared: str | None, media_type: str
) -> None:
    assert media_type_of(content, filename, declared) == media_type


LINES = st.lists(
    st.sampled_from(
        ["# Head", "text.", "- item", "  - deep", "1. one", "", "", "> quote", "| a | b |", "|---|---|", "```", "---",
         "===", "[x]: y", "    code", "<div>", "</div>", "<li>", "<table><td>", "<!-- c -->", "ALL CAPS", "2.1 A"]
    ),
    max_size=30,
).map("\n".join)  # fmt: skip


@settings(deadline=None)
@given(st.one_of(LINES, st.text()), st.sampled_from([parse_plain, parse_markdown, parse_html]))
def test_no_format_loses_text_or_orders_it_otherwise(text: str, parse: Callable[[bytes], ParsedDocument]) -> None:
    try:
        document = parse(text.encode("utf-8", "surrogatepass"))
    except Unreadable:
        return
    assert_blocks_hold_all_text_in_order(document)


@settings(deadline=None)
@given(st.lists(LINES, min_size=1, max_size=4))
def test_no_page_loses_text_or_orders_it_otherwise(pages: list[str]) -> None:
    try:
        document = document_of_pages(pages)
    except Unreadable:
        return
    assert_blocks_hold_all_text_in_order(document)
    assert len(document.page_starts) == len(pages)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2_000))
def test_a_broken_pdf_is_refused_or_read_and_never_crashes(noise: bytes, at: int) -> None:
    whole = pdf_of(["one line"], ["another"])
    try:
        document = parse_pdf(whole[:at] + noise + whole[at + len(noise) :], ParseLimits())
    except Unreadable:
        return
    assert_blocks_hold_all_text_in_order(document)
