"""A file to everything that indexing stores of it: pure, CPU-bound work, done before any transaction opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from knowledge.chunk import DEFAULT_BUDGET, Chunk, chunk_document
from knowledge.parse.document import DEFAULT_LIMITS, MediaType, ParseLimits, Part
from knowledge.parse.reader import parse_document
from knowledge.terms import term_frequencies


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedChunk:
    """A passage with the terms it is found by: its own, and those of the title and the headings above it."""

    chunk: Chunk
    terms: Mapping[str, int]

    @property
    def length(self) -> int:
        """Terms, repetitions included: what BM25 takes for the passage's length."""
        return sum(self.terms.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDocument:
    """A document ready to be stored and found; nothing in it needs the file any more."""

    text: str
    page_starts: tuple[int, ...]
    chunks: tuple[PreparedChunk, ...]
    note: str | None = None
    """What of the file is not in the text, in words for people."""
    parts: tuple[Part, ...] = ()
    """Files inside of it that become documents of their own."""

    @property
    def token_count(self) -> int:
        """Tokens of all passages."""
        return sum(prepared.chunk.token_count for prepared in self.chunks)


def prepare_document(
    content: bytes,
    *,
    title: str,
    media_type: MediaType,
    limits: ParseLimits = DEFAULT_LIMITS,
    budget: int = DEFAULT_BUDGET,
    unpack: bool = True,
) -> PreparedDocument:
    """Parses, chunks and analyses a file; `unpack`: what lies inside of it becomes its parts.

    Shape   its time is bounded by nothing here: run it through knowledge.isolate wherever the file is not one's own.
    Raises  Unreadable: the file cannot be read, in words that a person understands.
    """
    document = parse_document(content, media_type=media_type, limits=limits, unpack=unpack)
    chunks = (
        PreparedChunk(chunk=chunk, terms=term_frequencies(indexed_text(title, chunk)))
        for chunk in chunk_document(document, budget=budget)
    )
    return PreparedDocument(
        text=document.text,
        page_starts=document.page_starts,
        chunks=tuple(chunks),
        note=document.note,
        parts=document.parts,
    )


def indexed_text(title: str, chunk: Chunk) -> str:
    """What a passage is found by: a passage deep in a section seldom repeats what the section is about."""
    return "\n".join((title, chunk.section or "", chunk.text))
