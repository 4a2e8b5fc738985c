"""Markdown: the canonical text is the source itself, so that offsets point into what its author wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from knowledge.parse.decode import decode_text
from knowledge.parse.document import Block, BlockKind, Outline, ParsedDocument, first_heading

if TYPE_CHECKING:
    from markdown_it.token import Token

_LEAVES: dict[str, BlockKind] = {
    "heading_open": "heading",
    "paragraph_open": "paragraph",
    "table_open": "table",
    "fence": "code",
    "code_block": "code",
    "html_block": "paragraph",
}
_FRONT_MATTER = re.compile(r"---\n(?:[^\n]*\n){0,60}?---[ \t]*(?:\n|\Z)")
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
_NEWLINE = re.compile("\n")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"[*_`~]{1,3}(?=\S)|(?<=\S)[*_`~]{1,3}")


def parse_markdown(content: bytes) -> ParsedDocument:
    """Headings, paragraphs, list items, tables and code, by the CommonMark rules with GitHub's tables.

    Raises  Unreadable: the bytes are no text.
    """
    text = decode_text(content)
    front = _FRONT_MATTER.match(text)
    blocks = tuple(_without_gaps(text, _leaves(text, front.end() if front else 0)))
    named = _FRONT_TITLE.search(front.group()) if front else None
    title = named.group(1) if named else first_heading(blocks)
    return ParsedDocument(media_type="text/markdown", text=text, blocks=blocks, title=title)


def plain_words(inline: str) -> str:
    """Inline Markdown without its marks, as a heading is cited."""
    return _MARKS.sub("", _LINK.sub(r"\1", inline))


def _leaves(text: str, body: int) -> Iterator[Block]:
    """The leaves of the syntax tree, each by the lines it stands on."""
    starts = [body, *(newline.end() for newline in _NEWLINE.finditer(text, body)), len(text)]
    outline = Outline()
    items_open = 0
    tokens = _tokens(text[body:])
    for index, token in enumerate(tokens):
        if token.type in ("list_item_open", "list_item_close"):
            items_open += token.nesting
        kind = _LEAVES.get(token.type)
        if kind is None or token.map is None:
            continue
        if kind == "heading":
            outline.enter(int(token.tag[1]), plain_words(tokens[index + 1].content))
        elif kind == "paragraph" and items_open:
            kind = "list_item"
        yield Block(kind=kind, start=starts[token.map[0]], end=starts[token.map[1]], path=outline.path)


def _tokens(text: str) -> Sequence[Token]:
    """Block tokens only: the marks inside a line do not matter here, and reading them is most of the work."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").disable("inline").parse(text)


def _without_gaps(text: str, leaves: Iterator[Block]) -> Iterator[Block]:
    """`leaves` trimmed, and what stands on no leaf's lines (rules, link targets, front matter) as paragraphs."""
    reached = 0
    path: tuple[str, ...] = ()
    for leaf in leaves:
        yield from _trimmed(text, Block(kind="paragraph", start=reached, end=leaf.start, path=path))
        yield from _trimmed(text, replace(leaf, start=max(leaf.start, reached)))
        reached, path = max(reached, leaf.end), leaf.path
    yield from _trimmed(text, Block(kind="paragraph", start=reached, end=len(text), path=path))


def _trimmed(text: str, block: Block) -> Iterator[Block]:
    body = text[block.start : block.end]
    if body and not body.isspace():
        start = block.start + len(body) - len(body.lstrip())
        yield replace(block, start=start, end=block.start + len(body.rstrip()))
