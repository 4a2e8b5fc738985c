"""Files to what indexing stores of them, format by format, beside the same library used as its documentation shows."""

import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from html.parser import HTMLParser
from io import BytesIO, StringIO
from statistics import median
from time import process_time
from typing import Any, TypeVar, cast

from benchmarks.processes import machine, pin_this_process
from benchmarks.tally import Row, Target, table
from knowledge.chunk import chunk_document
from knowledge.parse.document import DOCX, EML, PPTX, XLSX, ZIP, MediaType
from knowledge.parse.reader import parse_document
from knowledge.prepare import PreparedDocument, prepare_document
from knowledge.tokens import count_tokens

PASSES = 5
PARAGRAPHS = 160
ROWS = 800
WINDOW = 1_000
"""Characters of a passage of the floor's."""
CHUNKED_BYTES = 2_000_000
MEGABYTE = 1_000_000
Result = TypeVar("Result")
_RANDOM = random.Random(2_026)
_SYLLABLES = ("ba", "len", "tor", "is", "an", "cre", "di", "um", "ve", "so")
_WORDS = ["".join(_RANDOM.choices(_SYLLABLES, k=number % 4 + 1)) for number in range(400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One document of a format, and how a developer without this product would get its text."""

    name: str
    media_type: MediaType
    content: bytes
    floor: Callable[[bytes], str]


def main() -> None:
    """Measure and print."""
    pin_this_process()
    print(f"\ningest on {machine()}", flush=True)
    print(f"\n{table('A file to text, passages, tokens and terms', measure())}", flush=True)


def measure() -> list[Row]:
    """The benchmark's table: the floor reads the text, cuts it at fixed places and counts tokens."""
    rows: list[Row] = []
    count_tokens("warm")
    for sample in samples():
        ours, floor, size = list[float](), list[float](), 0
        for _ in range(PASSES):
            seconds, prepared = _timed(partial(_prepared, sample))
            ours.append(seconds)
            size = len(prepared.text.encode())
            floor.append(_timed(partial(_floor, sample))[0])
        if size == 0:
            raise AssertionError(f"{sample.name}: nothing was read")
        rows += _rows(sample.name, median(ours), median(floor), size)
    return [*rows, _chunking()]


def _prepared(sample: Sample) -> PreparedDocument:
    return prepare_document(sample.content, title=sample.name, media_type=sample.media_type)


def _floor(sample: Sample) -> int:
    return _cut(sample.floor(sample.content))


def _rows(name: str, ours: float, floor: float, size: int) -> Iterator[Row]:
    documents, megabytes = "documents a CPU second", size / MEGABYTE
    yield Row(name=f"{name}, {size / 1_000:,.0f} kB of text", unit=documents, ours=1 / ours, floor=1 / floor)
    yield Row(name=name, unit="MB of text a CPU second", ours=megabytes / ours, floor=megabytes / floor)


def _chunking() -> Row:
    """What performance.md asks of chunking alone, as its inverse: 5 MB a CPU second are 200 ms a MB."""
    text = "\n\n".join(paragraphs(CHUNKED_BYTES // 300))
    document = parse_document(text.encode(), media_type="text/plain")
    size = len(document.text.encode()) / MEGABYTE
    ours, floor = list[float](), list[float]()
    for _ in range(PASSES):
        ours.append(_timed(lambda: chunk_document(document))[0] / size)
        floor.append(_timed(lambda: _cut(document.text))[0] / size)
    target = Target(of="figure", must=200, aim=100)
    name = "chunking with token counts"
    return Row(
        name=name, unit="CPU ms a MB of text", ours=median(ours) * 1_000, floor=median(floor) * 1_000, target=target
    )


def samples() -> list[Sample]:
    """About the same words in each format: forty pages, or eight hundred rows."""
    held, rows = list(paragraphs(PARAGRAPHS)), list(_table(ROWS))
    plain = "\n\n".join(held)
    markdown = "\n\n".join(f"## {each[:30]}\n\n{each}" for each in held)
    html = "<!doctype html>" + "".join(f"<h2>{each[:30]}</h2><p>{each}</p>" for each in held)
    mail = EmailMessage()
    mail["From"], mail["Subject"], mail["Date"] = "a@narro.example", "Letters", "Mon, 02 Nov 2026 09:00:00 +0100"
    mail.set_content(plain)
    docx = _docx(held)
    return [
        Sample(name="text", media_type="text/plain", content=plain.encode(), floor=bytes.decode),
        Sample(name="Markdown", media_type="text/markdown", content=markdown.encode(), floor=_read_markdown),
        Sample(name="HTML", media_type="text/html", content=html.encode(), floor=_read_html),
        Sample(name="CSV", media_type="text/csv", content=_csv(rows), floor=_read_csv),
        Sample(name="DOCX", media_type=DOCX, content=docx, floor=_read_docx),
        Sample(name="XLSX", media_type=XLSX, content=_xlsx(rows), floor=_read_xlsx),
        Sample(name="PPTX", media_type=PPTX, content=_pptx(held), floor=_read_pptx),
        Sample(name="PDF", media_type="application/pdf", content=_pdf(held), floor=_read_pdf),
        Sample(name="EML", media_type=EML, content=mail.as_bytes(), floor=_read_eml),
        Sample(name="ZIP of 200 notes", media_type=ZIP, content=_zip(held), floor=_read_zip),
    ]


def paragraphs(count: int) -> Iterator[str]:
    """So many, of four sentences each."""
    for _ in range(count):
        sentences = (" ".join(_RANDOM.choices(_WORDS, k=12)).capitalize() for _ in range(4))
        yield ". ".join(sentences) + "."


def _table(count: int) -> Iterator[list[str]]:
    yield ["Customer", "Invoice", "Amount", "Due"]
    for number in range(count):
        yield [" ".join(_RANDOM.choices(_WORDS, k=3)), f"R-{number:05}", f"{number * 13.7:.2f}", "2026-11-02"]


def _csv(rows: list[list[str]]) -> bytes:
    return "\n".join(map(",".join, rows)).encode()


def _docx(paragraphs: list[str]) -> bytes:
    from docx import Document

    made, buffer = Document(), BytesIO()
    for each in paragraphs:
        made.add_heading(each[:30], 2)
        made.add_paragraph(each)
    made.save(buffer)
    return buffer.getvalue()


def _xlsx(rows: list[list[str]]) -> bytes:
    from openpyxl import Workbook

    book, buffer = Workbook(), BytesIO()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(buffer)
    return buffer.getvalue()


_NAMES = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
_RELATIONSHIPS = "http://schemas.openxmlformats.org/package/2006/relationships"


def _pptx(paragraphs: list[str]) -> bytes:
    """The parts that are read, a slide for four paragraphs."""
    slides = [paragraphs[start : start + 4] for start in range(0, len(paragraphs), 4)]
    numbers = range(len(slides))
    ids = "".join(f'<p:sldId id="{256 + each}" r:id="r{each}"/>' for each in numbers)
    targets = "".join(f'<Relationship Id="r{each}" Type="t/slide" Target="slides/s{each}.xml"/>' for each in numbers)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "ppt/presentation.xml", f"<p:presentation {_NAMES}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>"
        )
        archive.writestr(
            "ppt/_rels/presentation.xml.rels", f'<Relationships xmlns="{_RELATIONSHIPS}">{targets}</Relationships>'
        )
        for number, held in enumerate(slides):
            words = "".join(f"<a:p><a:r><a:t>{each}</a:t></a:r></a:p>" for each in held)
            shape = f"<p:sp><p:nvSpPr><p:cNvPr id='1' name='n'/></p:nvSpPr><p:txBody>{words}</p:txBody></p:sp>"
            archive.writestr(
                f"ppt/slides/s{number}.xml", f"<p:sld {_NAMES}><p:cSld><p:spTree>{shape}</p:spTree></p:cSld></p:sld>"
            )
    return buffer.getvalue()


def _pdf(paragraphs: list[str]) -> bytes:
    from fpdf import FPDF

    made, buffer = FPDF(), BytesIO()
    made.set_font("Helvetica", size=11)
    made.add_page()
    for each in paragraphs:
        made.multi_cell(0, 6, f"{each}\n\n")
    made.output(buffer)
    return buffer.getvalue()


def _zip(paragraphs: list[str]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(200):
            archive.writestr(f"{number % 10}/note {number}.md", paragraphs[number % len(paragraphs)])
    return buffer.getvalue()


def _read_markdown(content: bytes) -> str:
    from markdown_it import MarkdownIt

    return "\n".join(each.content for each in MarkdownIt().parse(content.decode()) if each.type == "inline")


def _read_html(content: bytes) -> str:
    reader = _Words()
    reader.feed(content.decode())
    return "\n".join(reader.words)


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _read_csv(content: bytes) -> str:
    import csv

    return "\n".join(map(" ".join, csv.reader(StringIO(content.decode()))))


def _read_docx(content: bytes) -> str:
    from docx import Document

    return "\n".join(each.text for each in Document(BytesIO(content)).paragraphs)


def _read_xlsx(content: bytes) -> str:
    from openpyxl import load_workbook

    sheet: Any = load_workbook(BytesIO(content), read_only=True, data_only=True).worksheets[0]
    rows = cast(Iterator[tuple[object, ...]], sheet.iter_rows(values_only=True))
    return "\n".join(" ".join(map(str, row)) for row in rows)


def _read_pptx(content: bytes) -> str:
    from defusedxml.ElementTree import fromstring

    with zipfile.ZipFile(BytesIO(content)) as archive:
        slides = (fromstring(archive.read(name)) for name in archive.namelist() if name.startswith("ppt/slides/"))
        return "\n".join(" ".join(slide.itertext()) for slide in slides)


def _read_pdf(content: bytes) -> str:
    from pypdf import PdfReader

    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages)


def _read_eml(content: bytes) -> str:
    body = message_from_bytes(content, policy=policy.default).get_body()
    return "" if body is None else str(body.get_content())


def _read_zip(content: bytes) -> str:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return "\n".join(f"{name} {len(archive.read(name))}" for name in archive.namelist())


def _cut(text: str) -> int:
    """Passages cut at fixed places, their tokens counted by tiktoken."""
    return sum(count_tokens(text[start : start + WINDOW]) for start in range(0, len(text), WINDOW))


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    began = process_time()
    result = work()
    return process_time() - began, result


if __name__ == "__main__":
    main()
