# ruff: noqa: E501  (a file a line reads better than its bytes folded)
"""A folder of files that are odd, broken, or made to do harm; none is larger than a few megabytes on disk."""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

from pypdf import PdfReader, PdfWriter

from tests.support.office import packed, paragraph, relationships, unpacked, word
from tests.support.outlook import compound, msg
from tests.support.slides import deck, shape, slide

SECRET = "The canary sings at midnight."
"""What stands in the file outside that the hostile ones point to."""
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
GOOD = word(paragraph("The good letter is renewed in May."))
_ZEROS = 250_000_000


def hostile_folder(folder: Path, outside: Path) -> None:
    """Writes the files; `outside` is the file that some of them try to read."""
    for name, content in (
        *_texts().items(), *_pages(outside).items(), *_office(outside).items(), *_sheets().items(), *_pdfs().items(),
        *_archives(outside).items(), *_mails().items(), *_named().items(),
    ):  # fmt: skip
        (folder / name).write_bytes(content)


def _texts() -> dict[str, bytes]:
    return {
        "empty.txt": b"",
        "blank.txt": b" \n\t ",
        "nulls.txt": b"\0" * 5_000,
        "a null inside.txt": b"words \0 words",
        "utf16.txt": "Größe".encode("utf-16"),
        "utf16 without mark.txt": "words".encode("utf-16-le"),
        "cp1252.txt": "Prüfung – €".encode("cp1252"),
        "mixed.txt": "Prüfung ".encode() + "Prüfung".encode("latin-1"),
        "cut in a character.txt": "Größe €".encode()[:-1],
        "mark alone.txt": b"\xef\xbb\xbf",
        "one line.txt": b"x" * 1_000_000,
        "long words.md": ("ab" * 500 + " ").encode() * 500,
        "deep quotes.md": b"> " * 20_000 + b"x",
        "deep lists.md": b"".join(b" " * (2 * n) + b"- x\n" for n in range(700)),
        "controls.txt": bytes(range(1, 32)) * 100,
        "right to left.txt": "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd".encode(),
        "program.txt": b"MZ\x90\0" + b"\0" * 100,
        "rich.rtf": b"{\\rtf1 words}",
        "old.doc": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2_000,
        "archive.7z": b"7z\xbc\xaf\x27\x1c" + b"\0" * 50,
        "picture.pdf": b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        "text.pdf": b"plain words",
        "text.docx": b"plain words",
        "document.txt": GOOD,
        "injection.csv": b"Name,Value\n=cmd|' /C calc'!A0,1\n",
        "huge cell.csv": b"a,b\n1," + b"x" * 2_000_000,
        "wide.csv": b",".join(b"c%d" % n for n in range(20_000)),
        "tall.csv": b"a,b\n" + b"1,2\n" * 150_000,
        "open quote.csv": b'a,b\n"1,2\n' + b"3,4\n" * 100,
    }


def _pages(outside: Path) -> dict[str, bytes]:
    entity = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{outside.as_uri()}">]>'.encode()
    return {
        "outside.html": entity + b"<html><p>Shown &e;</p>",
        "outside.svg": entity + b"<svg xmlns='http://www.w3.org/2000/svg'><text>&e;</text></svg>",
        "laughs.html": _LAUGHS.encode() + b"<html><p>Ha &i;</p>",
        "laughs.svg": _LAUGHS.encode() + b"<svg><text>&i;</text></svg>",
        "deep.html": b"<html>" + b"<div>" * 50_000 + b"Deep.",
        "stray ends.html": b"<html>" + b"</p></td></b>" * 100_000 + b"x",
        "only script.html": b"<html><script>alert(1)</script>",
        "framed.html": f'<html><iframe src="{outside.as_uri()}"></iframe><p>Beside.</p>'.encode(),
        "unknown charset.html": b"<html><meta charset=x-none><p>Words.</p>",
        "false charset.html": "<html><meta charset=utf-16><p>Größe</p>".encode("latin-1"),
    }


_LAUGHS = (
    "<!DOCTYPE x [<!ENTITY a 'ha'>"
    + "".join(f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)


def _office(outside: Path) -> dict[str, bytes]:
    entity = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{outside.as_uri()}">]>'
    bomb = _with_zeros(GOOD, "word/document.xml")
    away = relationships(officeDocument=outside.as_uri()).replace("Target=", 'TargetMode="External" Target=')
    return {
        "outside.docx": word(paragraph("&e;"), before=entity),
        "laughs.docx": word(paragraph("&i;"), before=_LAUGHS),
        "outside.pptx": deck(slide(shape("&e;")), before=entity),
        "laughs.pptx": deck(slide(shape("&i;")), before=_LAUGHS),
        "away.docx": packed({**unpacked(GOOD), "_rels/.rels": away}),
        "traversing.docx": packed(
            {**unpacked(GOOD), "_rels/.rels": relationships(officeDocument=f"../../../..{outside}")}
        ),
        "bomb.docx": bomb,
        "bomb.pptx": _with_zeros(deck(slide(shape("x"))), "ppt/media/image1.png"),
        "lying.docx": _lying(bomb),
        "deep.docx": word("<w:ins>" * 50_000 + "</w:ins>" * 50_000),
        "cut.docx": GOOD[:-200],
        "cut.pptx": deck(slide(shape("x")))[:300],
        "no parts.docx": packed({"[Content_Types].xml": "<x/>", "word/document.xml": ""}),
        "password.docx": b"\xd0\xcf\x11\xe0" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"),
        "circle.pptx": deck(slide(shape("x")), **{"ppt/slides/_rels/slide0.xml.rels": relationships(notesSlide="slide0.xml")}),
    }  # fmt: skip


def _sheets() -> dict[str, bytes]:
    entity = _LAUGHS
    large = "<row>" + "<c t='inlineStr'><is><t>" + "x" * 2_000_000 + "</t></is></c></row>"
    return {
        "laughs.xlsx": sheet("<row><c t='inlineStr'><is><t>&i;</t></is></c></row>", before=entity),
        "hundred megabytes.xlsx": sheet(large * 52),
        "far away.xlsx": sheet("<row r='1048576'><c r='XFD1048576' t='n'><v>1</v></c></row>"),
        "merged.xlsx": sheet("<row r='1'><c r='A1'><v>1</v></c></row>", after="<mergeCells><mergeCell ref='A1:XFD1048576'/></mergeCells>"),
        "columns.xlsx": sheet("<row r='1'><c r='A1'><v>1</v></c></row>", first="<cols>" + "<col min='1' max='16384' hidden='1'/>" * 500 + "</cols>"),
        "never calculated.xlsx": sheet("<row r='1'><c r='A1'><f>1+1</f></c></row>"),
        "cut.xlsx": sheet("<row r='1'><c r='A1'><v>1</v></c></row>")[:-100],
    }  # fmt: skip


def sheet(rows: str, *, before: str = "", first: str = "", after: str = "") -> bytes:
    """A workbook of one sheet of these rows."""
    types = (
        "<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'>"
        "<Override PartName='/xl/workbook.xml' ContentType='application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml'/>"
        "<Override PartName='/xl/worksheets/sheet1.xml' ContentType='application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml'/>"
        "</Types>"
    )  # fmt: skip
    return packed(
        {
            "[Content_Types].xml": types,
            "_rels/.rels": relationships(officeDocument="xl/workbook.xml"),
            "xl/_rels/workbook.xml.rels": relationships(worksheet="worksheets/sheet1.xml"),
            "xl/workbook.xml": f"<workbook xmlns='{MAIN}' xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/relationships'>"
            "<sheets><sheet name='S' sheetId='1' r:id='r0'/></sheets></workbook>",
            "xl/worksheets/sheet1.xml": f"{before}<worksheet xmlns='{MAIN}'>{first}<sheetData>{rows}</sheetData>{after}</worksheet>",
        }
    )  # fmt: skip


def _pdfs() -> dict[str, bytes]:
    good = pdf(b"BT /F1 12 Tf 72 720 Td (A good page.) Tj ET")
    once = zlib.compress(bytes(_ZEROS), 9)
    return {
        "page.txt": good,
        "cut.pdf": good[: len(good) // 2],
        "noise.pdf": b"%PDF-1.7\n" + bytes(range(256)) * 200,
        "password.pdf": _locked_pdf(good),
        "kids of itself.pdf": pdf(b"", kids=b"2 0 R 3 0 R"),
        "parent of itself.pdf": good.replace(b"/Parent 2 0 R", b"/Parent 3 0 R"),
        "table before itself.pdf": good.replace(
            b"trailer\n<<", b"trailer\n<</Prev %d " % good.rfind(b"xref\n", 0, -20)
        ),
        "form in itself.pdf": pdf(b"/X Do", form=b"/X Do"),
        "bomb.pdf": pdf(once, filters=b"/Filter /FlateDecode"),
        "bomb in a bomb.pdf": pdf(zlib.compress(once, 9), filters=b"/Filter [/FlateDecode /FlateDecode]"),
        "no pages.pdf": pdf(b"", kids=b""),
        "many pages.pdf": pdf(b"", kids=b"3 0 R " * 2_500),
    }


def pdf(content: bytes, *, kids: bytes = b"3 0 R", filters: bytes = b"", form: bytes = b"") -> bytes:
    """A PDF of one page that draws `content`; `form`: what the form /X draws."""
    objects = [
        b"<</Type /Catalog /Pages 2 0 R>>",
        b"<</Type /Pages /Count %d /Kids [%b]>>" % (kids.count(b"R"), kids),
        b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources <</Font <</F1 5 0 R>> /XObject <</X 6 0 R>>>>>>",
        b"<</Length %d %b>>\nstream\n%b\nendstream" % (len(content), filters, content),
        b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>",
        b"<</Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources <</XObject <</X 6 0 R>>>> /Length %d>>\nstream\n%b\nendstream"
        % (len(form), form),
    ]  # fmt: skip
    written, places = b"%PDF-1.7\n", list[int]()
    for number, each in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<</Size %d /Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
    return written + head % (len(objects) + 1, table, len(objects) + 1, len(written))


def _locked_pdf(content: bytes) -> bytes:
    writer, buffer = PdfWriter(clone_from=PdfReader(BytesIO(content))), BytesIO()
    writer.encrypt("secret", algorithm="AES-128")
    writer.write(buffer)
    return buffer.getvalue()


def _archives(outside: Path) -> dict[str, bytes]:
    nested = b"core"
    for level in range(12):
        nested = packed({f"{level}.zip" if level else "core.txt": nested})
    tenth = packed({f"{n}.txt": bytes(900_000) for n in range(10)})
    zeros = _with_zeros(packed({"a.txt": "a"}), "zeros.txt")
    return {
        "nested.zip": nested,
        "bomb.zip": zeros,
        "bombs.zip": packed({f"{n}.zip": tenth for n in range(30)} | {"a.txt": "a"}, zipfile.ZIP_STORED),
        "lying.zip": _lying(zeros),
        "overlapping.zip": _overlapping(500),
        "many.zip": packed({f"{n}.txt": "x" for n in range(3_000)}),
        "traversing.zip": packed({f"../../../../..{outside}": "x", "..\\..\\b.txt": "x", "/etc/c.txt": "x", "C:\\d.txt": "x"}),
        "link.zip": _link(outside),
        "right to left.zip": packed({"\u202ecod.exe.txt": "x", "\u05e9\u05dc\u05d5\u05dd/a.txt": "x", "nul\u0001.txt": "x"}),
        "twins.zip": _twins(),
        "locked.zip": locked(packed({"a.txt": "a"})),
        "cut.zip": packed({"a.txt": "a"})[:-15],
        "no entries.zip": packed({}),
        "hostile inside.zip": packed({"bomb.docx": zeros, "x.exe": b"MZ\x90", "good.docx": GOOD, "empty.txt": ""}),
        "text.zip": b"plain words",
    }  # fmt: skip


def locked(content: bytes) -> bytes:
    """The same archive, each entry of which says that it has a password."""
    changed = bytearray(content)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = changed.find(mark)
        while place >= 0:
            changed[place + at] |= 1
            place = changed.find(mark, place + 4)
    return bytes(changed)


def _mails() -> dict[str, bytes]:
    head = b"From: a@b.example\nSubject: S\n"
    attached = b"Content-Type: application/zip\nContent-Disposition: attachment; filename=../../a.zip\nContent-Transfer-Encoding: base64\n\n"
    message = compound(msg("S", "Body", attachments=(b"x" * 5_000,)))
    circle = bytearray(message)
    struct.pack_into("<I", circle, _table(message), 0)  # the first sector is followed by itself
    loop = msg("Core", "x", embedded=True)
    for _ in range(12):
        loop = msg("Level", "x", attachments=(loop,), embedded=True)
    return {
        "not a message.eml": b"words\n\nand more",
        "deep parts.eml": head + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3_000)),
        "many parts.eml": head + b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\nz\n" * 8_000,
        "messages within.eml": head + (b"Content-Type: message/rfc822\n\n" + head) * 40 + b"\nCore.",
        "long header.eml": head + b"To: " + b"a@b.example, " * 6_000 + b"\n\nWords.",
        "odd words.eml": head + b"Date: \xff\nCc: =?x-none?q?=FF?= <,>\nContent-Type: text/plain; charset=x-none\n\nGr\xf6\xdfe",
        "bad attachment.eml": head + b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nHi.\n--x\n" + attached + b"UEsDBBQA\n--x--\n",
        "winmail.eml": head + b"Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\neJ8+IgAAAAA=\n",
        "cut.msg": message[:1_500],
        "circle.msg": bytes(circle),
        "messages within.msg": compound(msg("Top", "x", attachments=(loop,))),
    }  # fmt: skip


def _table(message: bytes) -> int:
    """Where the table of sectors begins in a compound file."""
    return 512 * (1 + struct.unpack_from("<I", message, 76)[0])


def _named() -> dict[str, bytes]:
    return {
        "\u202efdp.exe.txt": b"Turned round.",
        "\u05d7\u05d5\u05d6\u05d4.md": "# \u05d7\u05d5\u05d6\u05d4\n\nWords.".encode(),
        "n" * 250 + ".txt": b"A long name.",
        "two\nlines.txt": b"A name on two lines.",
        "..;rm -rf ~.txt": b"A name for a shell.",
        "%2e%2e%2fetc%2fpasswd.txt": b"A name for a server.",
    }


def _with_zeros(archive: bytes, name: str) -> bytes:
    """The archive with one entry that unpacks to a quarter of a gigabyte of nothing."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written:
        for each, content in unpacked(archive).items():
            if each != name:
                written.writestr(each, content)
        with written.open(name, "w") as entry:
            for _ in range(_ZEROS // 1_000_000):
                entry.write(bytes(1_000_000))
    return buffer.getvalue()


def _lying(archive: bytes) -> bytes:
    """The same, whose directory says of each entry that it unpacks to ten bytes."""
    changed = bytearray(archive)
    place = changed.find(b"PK\x01\x02")
    while place >= 0:
        struct.pack_into("<I", changed, place + 24, 10)
        place = changed.find(b"PK\x01\x02", place + 4)
    return bytes(changed)


def _overlapping(count: int) -> bytes:
    """An archive whose entries are all the same packed bytes."""
    whole = packed({"kernel.txt": b"0" * 900_000})
    start = whole.find(b"PK\x01\x02")
    end = whole.find(b"PK\x05\x06")
    tail = bytearray(whole[end:])
    struct.pack_into("<HHI", tail, 8, count, count, (end - start) * count)
    return whole[:start] + whole[start:end] * count + bytes(tail)


def _link(outside: Path) -> bytes:
    entry = zipfile.ZipInfo("link.txt")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, str(outside))
    return buffer.getvalue()


def _twins() -> bytes:
    first, second = packed({"twin.txt": "one"}), packed({"twjn.txt": "two"})
    both = packed({**unpacked(first), **unpacked(second)}, zipfile.ZIP_STORED)
    return both.replace(b"twjn.txt", b"twin.txt")
