"""Builds the demo firm's Word and Excel documents from office_sources/: run by hand after editing one.

    python demo/build_office.py

A Markdown source becomes a DOCX, a YAML source an XLSX. The same source gives the same bytes under one version of
python-docx and openpyxl, so that a rebuild without an edit shows no difference.
"""

import re
import sys
import zipfile
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import yaml
from docx import Document
from openpyxl import Workbook
from openpyxl.styles import Font

HERE = Path(__file__).parent
SOURCES = HERE / "office_sources"
DOCUMENTS = HERE / "documents"

ISSUED = datetime.fromisoformat("2026-01-01")
"""The time written into every file: the wall clock would make each build differ."""

Cell = str | int | float | date


class Sheet(TypedDict):
    """One sheet of a workbook, as its source tells it."""

    name: str
    rows: list[list[Cell]]
    percent: NotRequired[list[int]]


def document_of(source: str) -> bytes:
    """The DOCX of a Markdown source: headings, paragraphs and tables."""
    made = Document()
    made.core_properties.author, made.core_properties.created = "Acme Audit LLP", ISSUED
    made.core_properties.modified = ISSUED
    made.sections[0].header.paragraphs[0].text = "Acme Audit LLP - internal"
    for part in source.strip().split("\n\n"):
        if part.startswith("|"):
            rows = [_cells(line) for line in part.splitlines() if not line.startswith("|---")]
            table = made.add_table(len(rows), len(rows[0]), style="Table Grid")
            for cells, row in zip(rows, table.rows, strict=True):
                for text, cell in zip(cells, row.cells, strict=True):
                    cell.text = text
        elif part.startswith("#"):
            marks, _, text = part.partition(" ")
            made.add_heading(text, len(marks) - 1)
        else:
            made.add_paragraph(part)
    buffer = BytesIO()
    made.save(buffer)
    return repacked(buffer.getvalue())


def workbook_of(source: str) -> bytes:
    """The XLSX of a YAML source."""
    book = Workbook()
    book.remove(book.worksheets[0])
    for told in cast("dict[str, list[Sheet]]", yaml.safe_load(source))["sheets"]:
        sheet = book.create_sheet(told["name"])
        for row in told["rows"]:
            sheet.append(row)
        for column in told.get("percent", []):
            for row in sheet.iter_rows(min_col=column + 1, max_col=column + 1):
                row[0].number_format = "0.0%"
        sheet["A1"].font = Font(bold=True)
    buffer = BytesIO()
    book.save(buffer)
    return repacked(buffer.getvalue())


def repacked(content: bytes) -> bytes:
    """The same file with one time for all its parts, and in its properties."""
    buffer = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, ISSUED.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            stamped = re.sub(
                rb"(<dcterms:(created|modified)[^>]*>)[^<]*", rb"\g<1>2026-01-01T00:00:00Z", old.read(name)
            )
            new.writestr(entry, stamped if name == "docProps/core.xml" else old.read(name))
    return buffer.getvalue()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def pairs() -> list[tuple[Path, Path]]:
    """Each source with the document it becomes."""
    suffixes = {".md": ".docx", ".yaml": ".xlsx"}
    return [
        (path, (DOCUMENTS / path.relative_to(SOURCES)).with_suffix(suffixes[path.suffix]))
        for path in sorted(SOURCES.rglob("*"))
        if path.suffix in suffixes
    ]


def main() -> None:
    """Writes every document and says which."""
    for source, target in pairs():
        text = source.read_text(encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(document_of(text) if target.suffix == ".docx" else workbook_of(text))
        sys.stdout.write(f"{target.relative_to(HERE)}\n")


if __name__ == "__main__":
    main()
