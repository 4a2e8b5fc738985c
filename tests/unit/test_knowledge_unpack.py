"""Archives and messages: their own words, what lies inside of them as parts, and why a file is none, each by itself."""

from __future__ import annotations

import contextlib
import struct
import zipfile
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.isolate import IsolatedPreparer
from knowledge.parse.archive import entry_path
from knowledge.parse.document import EML, MSG, ZIP, MediaType, ParsedDocument, ParseLimits, Unreadable, is_of_mail
from knowledge.parse.media import media_type_of
from knowledge.parse.reader import parse_document
from tests.support.office import packed, paragraph, word
from tests.support.outlook import compound, msg

LIMITS = ParseLimits(size_bytes=2_000_000, parts=20, parts_bytes=3_000_000)
NUMBERS = b"".join(b"%d," % number for number in range(270_000))
LETTER = word(paragraph("The letter."))


def parsed(content: bytes, name: str, limits: ParseLimits = LIMITS, *, unpack: bool = True) -> ParsedDocument:
    return parse_document(content, media_type=media_type_of(content, name), limits=limits, unpack=unpack)


def paths(document: ParsedDocument) -> list[str]:
    return [part.path for part in document.parts]


def locked(content: bytes) -> bytes:
    """The same archive, each entry of which says that it has a password."""
    changed = bytearray(content)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = changed.find(mark)
        while place >= 0:
            changed[place + at] |= 1
            place = changed.find(mark, place + 4)
    return bytes(changed)


def mail(subject: str = "Bank letters", body: str | None = "Dear all,\n\nthe letters are attached.") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "Ana Ruiz <ana@narro.example>", "firm@acme.example"
    message["Subject"], message["Date"] = subject, "Mon, 02 Nov 2026 09:00:00 +0100"
    if body is not None:
        message.set_content(body)
    return message


@pytest.mark.parametrize(
    ("path", "media_type", "messages", "of_mail"),
    [
        ("in/a.eml", EML, (), True),
        ("in/a.msg", MSG, (), True),
        ("in/a.eml/bill.txt", "text/plain", ("in/a.eml",), True),
        ("in/a.eml/all.zip/q1/bill.txt", "text/plain", ("in/a.eml",), True),
        ("in/a.eml (2).txt", "text/plain", ("in/a.eml",), False),
        ("in/bill.txt", "text/plain", ("in/a.eml",), False),
        ("in/a.eml/bill.txt", "text/plain", ("a.eml",), False),
        # Of a path that was cut nobody can say that it lies elsewhere.
        ("…/bill.txt", "text/plain", ("in/a.eml",), True),
        ("…/bill.txt", "text/plain", (), False),
    ],
)
def test_what_came_with_a_message_is_told_from_what_lies_beside_it(
    path: str, media_type: str, messages: tuple[str, ...], of_mail: bool
) -> None:
    assert is_of_mail(path, media_type, frozenset(messages)) is of_mail


def test_an_archive_is_a_list_of_its_files_and_each_that_is_read_is_a_part() -> None:
    content = packed(
        {"2026/": "", "2026/q1/letter.docx": LETTER, "2026/notes.md": "# Notes", "2026/q1/a.exe": b"MZ\x90"}
    )
    document = parsed(content, "client.zip")
    assert (document.media_type, paths(document)) == (ZIP, ["2026/q1/letter.docx", "2026/notes.md"])
    assert document.parts[0].content == LETTER
    assert document.text == (
        "An archive of 3 files.\n\n2026\n\n- notes.md (a document of its own)\n\n2026/q1\n\n"
        "- letter.docx (a document of its own)\n- a.exe (not taken in: it is a program)"
    )
    assert document.note == "1 file in it was not taken in: 2026/q1/a.exe (it is a program)"


def test_archives_within_archives_are_folders_up_to_a_depth() -> None:
    content = b"words"
    for depth in range(6):
        content = packed({f"level{depth}.zip" if depth else "core.txt": content, f"beside{depth}.txt": "x"})
    document = parsed(content, "nested.zip")
    assert paths(document) == [
        "level5.zip/level4.zip/level3.zip/beside2.txt",
        "level5.zip/level4.zip/beside3.txt",
        "level5.zip/beside4.txt",
        "beside5.txt",
    ]
    assert document.note is not None
    assert "more than 4 archives or messages deep" in document.note


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"a.txt": NUMBERS, "b.txt": NUMBERS}, "more than 3,000,000 bytes would have to be unpacked"),
        ({"bomb.txt": b"0" * 3_000_000, "a.txt": "x"}, "more than 200 times its size"),
        ({"large.csv": NUMBERS * 2, "a.txt": "x"}, "at most 2,000,000 are read"),
        ({"empty.txt": b"", "a.txt": "x"}, "the file is empty"),
        ({"scan.png": b"\x89PNG..", "a.txt": "x"}, "image"),
    ],
    ids=["together", "ratio", "large", "empty", "image"],
)  # fmt: skip
def test_a_file_that_is_not_taken_in_costs_only_itself(entries: dict[str, str | bytes], words: str) -> None:
    document = parsed(packed(entries), "a.zip")
    assert paths(document) == ["a.txt"]
    assert document.note is not None
    assert words in document.note


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (packed({}), "holds no file"),
        (packed({"letter.txt": "x"})[:-8], "damaged or was cut short"),
        (
            locked(packed({"letter.txt": "x"})),
            r"nothing in it could be taken in: letter.txt \(it is protected by a pass",
        ),
        (packed({f"{number}.txt": "x" for number in range(21)}), "more than 20 files"),
        (packed({"__MACOSX/._a": "x", "b/.DS_Store": "x"}), "holds no file"),
    ],
    ids=["none", "torn", "locked", "many", "litter"],
)
def test_an_archive_without_anything_to_read_says_why(content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        parsed(content, "a.zip")


def test_names_are_places_in_words_and_never_on_this_machine() -> None:
    document = parsed(
        packed(
            {"../../etc/passwd": "x", "/abs.txt": "x", "C:\\x\\y.txt": "x", "a/./b/../c.txt": "x", "a/b/c.txt": "y"}
        ),
        "a.zip",
    )
    assert paths(document) == ["etc/passwd", "abs.txt", "C:/x/y.txt", "a/b/c.txt", "a/b/c (2).txt"]


@given(st.text())
def test_no_name_leads_out(name: str) -> None:
    steps = entry_path(name).split("/")
    assert not {".", ".."} & set(steps)
    assert "\\" not in entry_path(name)
    assert not entry_path(name).startswith("/")


def test_names_of_old_programs_are_read_as_utf8_where_they_are() -> None:
    content = packed({"Pr\xfcfung.txt": "x"})
    unsaid = content.replace(b"\x00\x08", b"\x00\x00")  # without the bit that says UTF-8
    assert paths(parsed(content, "a.zip")) == paths(parsed(unsaid, "a.zip")) == ["Pr\xfcfung.txt"]


def test_an_archive_is_a_document_of_office_only_by_the_parts_it_holds_itself() -> None:
    assert media_type_of(packed({"work/word/document.xml": "x"}), "a.zip") == ZIP
    assert media_type_of(packed({"content.xml": "x", "xl/workbook.xml.bak.txt/a": "x"}), "b.zip") != EML
    with pytest.raises(Unreadable, match="OpenDocument"):
        media_type_of(packed({"mimetype": "application/vnd.oasis.opendocument.text"}, zipfile.ZIP_STORED), "a.odt")


def test_a_message_is_its_subject_who_wrote_to_whom_and_its_words() -> None:
    message = mail()
    message.add_attachment(LETTER, maintype="application", subtype="octet-stream", filename="letter.docx")
    message.add_attachment(b"\x7fELF", maintype="application", subtype="octet-stream", filename="../run")
    document = parsed(message.as_bytes(), "mail.eml")
    assert (document.media_type, document.title, paths(document)) == (EML, "Bank letters", ["letter.docx"])
    assert document.text == (
        "Bank letters\n\nFrom: Ana Ruiz <ana@narro.example>\nTo: firm@acme.example\n"
        "Date: Mon, 02 Nov 2026 09:00:00 +0100\n\nDear all,\n\nthe letters are attached."
        "\n\nFiles\n\n- letter.docx (a document of its own)"
        "\n- run (not taken in: it is a program)"
    )
    assert "Attachments: letter.docx, run" in parsed(message.as_bytes(), "mail.eml", unpack=False).text
    assert parsed(message.as_bytes(), "mail.eml", unpack=False).parts == ()


def test_the_words_of_a_page_are_read_where_there_is_no_text_and_its_pictures_are_no_attachments() -> None:
    message = mail(body=None)
    message.set_content("<h1>Hi</h1><p>Shown.<script>no()</script><img src='cid:1'>", subtype="html")
    message.add_related(b"\x89PNG", maintype="image", subtype="png", cid="<1>")
    document = parsed(message.as_bytes(), "mail.eml")
    assert document.text.endswith("Hi\n\nShown.")
    assert document.note is None


def test_a_message_within_a_message_is_a_part_and_so_is_what_came_with_it() -> None:
    inner = mail("Inner: letter")
    inner.add_attachment("a,b\n1,2\n", subtype="csv", filename="t.csv")
    outer = mail("Outer")
    outer.add_attachment(inner)
    document = parsed(outer.as_bytes(), "mail.eml")
    assert paths(document) == ["Inner: letter.eml", "Inner: letter.eml/t.csv"]
    assert parsed(document.parts[0].content, "i.eml", unpack=False).title == "Inner: letter"


def test_messages_within_messages_end_at_a_depth() -> None:
    message = mail("Core")
    for number in range(6):
        outer = mail(f"Level {number}")
        outer.add_attachment(message)
        message = outer
    document = parsed(message.as_bytes(), "mail.eml")
    assert len(document.parts) == 3
    assert document.note is not None
    assert "messages deep" in document.note


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no headers here\n\nat all", "has no sender, date or attachment"),
        (
            b"From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\nz\n" * 6_000,
            "more than 5,000",
        ),
        (
            b"From: a@b.example\n"
            + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3_000)),
            "nested too deeply|damaged",
        ),
    ],
    ids=["none", "pieces", "deep"],
)
def test_a_message_that_is_none_says_why(content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        parsed(content, "mail.eml")


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["utf-8", "x-none", "utf-16", "cp1251", "iso-2022-jp"]))
def test_no_message_raises_but_to_say_that_it_cannot_be_read(body: bytes, charset: str) -> None:
    head = b"From: =?%b?q?=FF?= <a@b>\nDate: \xff\nTo: ,,<>;:\nContent-Type: text/plain; charset=%b\n\n"
    with contextlib.suppress(Unreadable):
        parsed(head % (charset.encode(), charset.encode()) + body, "mail.eml")


def test_a_message_of_outlook_reads_as_any_other_with_what_is_attached() -> None:
    inner = msg("Re: Confirmation", "Confirmed.", attachments=(b"a;b\n1;2\n",), names=("t.csv",), embedded=True)
    content = compound(
        msg("Confirmation ✓", "Please see below.\r\n\r\nBest", attachments=(LETTER, inner), names=("letter.docx",))
    )
    document = parsed(content, "mail.msg")
    assert document.media_type == MSG
    assert document.text.startswith(
        "Confirmation ✓\n\nFrom: Ana Ruiz <ana@narro.example>\nTo: Firm\nDate: Tue, 03 Nov 2026 15:00:00 +0000"
    )
    assert "Please see below.\n\nBest" in document.text
    assert paths(document) == ["letter.docx", "Re: Confirmation.eml", "Re: Confirmation.eml/t.csv"]
    assert document.parts[0].content == LETTER
    assert "Confirmed." in parsed(document.parts[1].content, "i.eml", unpack=False).text


def test_a_message_of_outlook_without_text_is_read_from_its_page() -> None:
    document = parsed(compound(msg("S", html="<p>Prüfung</p>".encode("cp1252"))), "a.msg")
    assert document.text.endswith("Prüfung")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damaged_file_raises_but_to_say_that_it_cannot_be_read(data: st.DataObject) -> None:
    whole = data.draw(
        st.sampled_from([compound(msg("S", "Body", attachments=(LETTER,))), packed({"a": LETTER, "b": "x"})])
    )
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    media_type: MediaType = MSG if whole.startswith(b"\xd0") else ZIP
    with contextlib.suppress(Unreadable):
        parse_document(bytes(broken), media_type=media_type, limits=LIMITS)


async def test_parts_come_out_of_the_process_apart_as_they_are() -> None:
    content = packed({"a/letter.docx": LETTER, "b.md": "# B"})
    async with IsolatedPreparer() as preparer:
        prepared = await preparer.prepare(content, title="client.zip", media_type=ZIP)
        assert [(part.path, part.content) for part in prepared.parts] == [("a/letter.docx", LETTER), ("b.md", b"# B")]
        message = mail()
        message.add_attachment(LETTER, maintype="application", subtype="octet-stream", filename="letter.docx")
        kept = await preparer.prepare(message.as_bytes(), title="m", media_type=EML, unpack=False)
        assert kept.parts == ()


def test_a_directory_that_claims_other_sizes_than_it_unpacks_to_is_damaged() -> None:
    content = bytearray(packed({"a.txt": b"x" * 5_000, "b.txt": "fine"}))
    struct.pack_into("<I", content, content.find(b"PK\x01\x02") + 24, 10)
    document = parsed(bytes(content), "a.zip")
    assert paths(document) == ["b.txt"]
