"""Builds the demo firm's PDF documents from pdf_sources/: run by hand after editing one, never by the product.

    python demo/build_pdfs.py

The sources are the Markdown that these documents need: headings, paragraphs and tables. The same source gives the same
bytes under one version of fpdf2, so that a rebuild without an edit shows no difference.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

from fpdf import FPDF

HERE = Path(__file__).parent
SOURCES = HERE / "pdf_sources"
DOCUMENTS = HERE / "documents"

ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
"""The creation date written into every file: the wall clock would make each build differ."""

FONT, TEXT_PT, TABLE_PT, LINE_MM = "Helvetica", 11, 10, 6
HEADING_PT = {1: 17, 2: 13}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """One `#` or `##` line."""

    level: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Running text, one paragraph a line in the source."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells, the header first."""

    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Table


def blocks(source: str) -> Iterator[Block]:
    """The document in order; a `|---|` line under a header row is dropped."""
    for part in source.strip().split("\n\n"):
        if part.startswith("|"):
            yield Table(rows=tuple(_cells(line) for line in part.splitlines() if not line.startswith("|---")))
        elif part.startswith("#"):
            marks, _, text = part.partition(" ")
            yield Heading(level=len(marks), text=text)
        else:
            yield Paragraph(text=part)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


def _widths(table: Table) -> tuple[int, ...]:
    """Shares of the page by each column's longest cell, so that few cells wrap and extracted rows stay on one line."""
    return tuple(max(len(cell) for cell in column) + 6 for column in zip(*table.rows, strict=True))


class Policy(FPDF):
    """A page with the firm's running head and a page number at its foot."""

    def __init__(self, *, title: str) -> None:
        super().__init__(format="A4")
        self.running_title = title
        self.set_margins(24, 22, 24)
        self.set_auto_page_break(True, margin=24)
        self.set_title(title)
        self.set_author("Acme Audit LLP")
        self.set_producer("demo/build_pdfs.py")
        self.set_lang("en")
        self.set_creation_date(ISSUED)

    def header(self) -> None:
        """Called by fpdf2 at the top of each page."""
        self.set_font(FONT, size=8)
        self.cell(0, 5, f"Acme Audit LLP - {self.running_title}", new_x="LMARGIN", new_y="NEXT")
        self.ln(4)

    def footer(self) -> None:
        """Called by fpdf2 at the foot of each page."""
        self.set_y(-16)
        self.set_font(FONT, size=8)
        self.cell(0, 5, f"Page {self.page_no()}", align="C")

    def put(self, block: Block) -> None:
        """Sets one block below what is there."""
        match block:
            case Heading():
                self._heading(block)
            case Paragraph():
                self._paragraph(block)
            case Table():
                self._table(block)
            case _:
                assert_never(block)

    def _heading(self, heading: Heading) -> None:
        # A heading that would stand alone at the foot of a page goes to the next one with its first paragraph.
        if self.will_page_break(30):
            self.add_page()
        self.ln(2)
        self.set_font(FONT, "B", HEADING_PT[heading.level])
        self.multi_cell(0, 7, heading.text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(1.5)

    def _paragraph(self, paragraph: Paragraph) -> None:
        self.set_font(FONT, size=TEXT_PT)
        self.multi_cell(0, LINE_MM, paragraph.text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(2.2)

    def _table(self, table: Table) -> None:
        self.set_font(FONT, size=TABLE_PT)
        with self.table(table.rows, line_height=LINE_MM, text_align="LEFT", padding=1, col_widths=_widths(table)):
            pass  # drawn when the block ends
        self.ln(4)


def render(source: str) -> bytes:
    """The PDF of one source text, whose first block is its title."""
    parts = list(blocks(source))
    title = parts[0]
    if not isinstance(title, Heading):
        raise ValueError("a source begins with its title")
    document = Policy(title=title.text)
    document.add_page()
    for part in parts:
        document.put(part)
    return bytes(document.output())


def pairs() -> list[tuple[Path, Path]]:
    """Each source with the document it becomes."""
    sources = sorted(SOURCES.rglob("*.md"))
    return [(path, (DOCUMENTS / path.relative_to(SOURCES)).with_suffix(".pdf")) for path in sources]


def main() -> None:
    """Writes every PDF and says which."""
    for source, target in pairs():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(render(source.read_text(encoding="utf-8")))
        sys.stdout.write(f"{target.relative_to(HERE)}\n")


if __name__ == "__main__":
    main()
