"""Stored passages to the terms that the analysis of today finds them by: no file is read and nothing is cut anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from knowledge.fingerprint import Fingerprint, fingerprint_of
from knowledge.languages import Language
from knowledge.model import ChunkId
from knowledge.prepare import passage_terms
from knowledge.terms import detected_language


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPassage:
    """A passage as it stands."""

    chunk_id: ChunkId
    section: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPassages:
    """All passages of a document, in order, and what else says by which terms they are found."""

    title: str
    language: Language | None
    """What it is said to be written in."""
    passages: tuple[StoredPassage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysedPassage:
    """What a passage is to be found by, and what tells it from others."""

    terms: Mapping[str, int]
    fingerprint: Fingerprint

    @property
    def length(self) -> int:
        """Terms, repetitions and weights included."""
        return sum(self.terms.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysedDocument:
    """A document's passages, analysed."""

    language: Language | None
    passages: Mapping[ChunkId, AnalysedPassage]

    @property
    def term_count(self) -> int:
        """Terms of all passages, weights multiplied in."""
        return sum(passage.length for passage in self.passages.values())


def analysed(stored: StoredPassages) -> AnalysedDocument:
    """The terms of a document's passages; CPU-bound, about a second for a million characters."""
    language = stored.language or detected_language("\n".join(passage.text for passage in stored.passages))
    return AnalysedDocument(
        language=language,
        passages={
            passage.chunk_id: AnalysedPassage(
                terms=passage_terms(stored.title, passage.section, passage.text, language),
                fingerprint=fingerprint_of(passage.text),
            )
            for passage in stored.passages
        },
    )
