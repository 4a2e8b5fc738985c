"""Puts canonical text together block by block, for the formats whose own source is not what people read."""

from __future__ import annotations

from knowledge.parse.document import Block, BlockKind, Outline


class DocumentBuilder:
    """The canonical text as it grows, and the blocks in it."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.outline = Outline()
        self.length = 0
        """Code points so far, for a parser that stops at a limit."""
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All that was added."""
        return "".join(self._parts)

    def add(self, kind: BlockKind, text: str) -> None:
        """Appends a block below the headings that are open; blank text is none."""
        if not text or text.isspace():
            return
        if self.blocks:
            together = kind == "list_item" and self.blocks[-1].kind == "list_item"
            self._append("\n" if together else "\n\n")
        start = self.length
        self._append(text)
        self.blocks.append(Block(kind=kind, start=start, end=self.length, path=self.outline.path))

    def add_heading(self, level: int, text: str) -> None:
        """Closes the headings of this level and below, and appends this one."""
        if text and not text.isspace():
            self.outline.enter(level, text)
            self.add("heading", text)

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self.length += len(text)
