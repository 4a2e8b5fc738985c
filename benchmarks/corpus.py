"""The search benchmark's corpus: words as language has them, vectors as topics have, and the exact answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from benchmarks.firms import Member, documents, organizations
from knowledge.model import chunk_ids

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

WORDS_A_CHUNK: Final = 110
"""Besides the commonest, which no analyser keeps."""
VOCABULARY: Final = 60_000
TERMS_A_QUERY: Final = 6
MODEL: Final = "text-embedding-3-small"
DIMENSIONS: Final = 1_536
TOPIC_SPREAD: Final = 1.2
"""Length of what is a chunk's own beside its topic's direction: neighbours have a cosine of about 0.4."""
LETTERS: Final = "bcdfghjklmnpqrtvwxz"
SEED: Final = 2_026
_FIRST_INDEXED = datetime(2026, 1, 1, tzinfo=UTC)
_NAMESPACE = UUID("0d3f1d52-3a47-4c1e-8f9f-5f1b8b1f0c11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question: words of the vocabulary, and where it lies."""

    terms: tuple[int, ...]
    vector: Floats

    @property
    def words(self) -> list[str]:
        """Its terms as the index keeps them."""
        return [word(term) for term in self.terms]


def word(term: int) -> str:
    """A word of the vocabulary, the commonest first; of letters that no analyser takes for an ending or a stop word."""
    letters: list[str] = []
    for _ in range(4):
        term, letter = divmod(term, len(LETTERS))
        letters.append(LETTERS[letter])
    return "".join(letters)


class Corpus:
    """So many chunks of a large organization, and those of the small ones beside it; the same for the same number."""

    def __init__(self, chunks: int) -> None:
        self.organizations = organizations(chunks)
        self.documents = [document for firm in self.organizations for document in documents(firm)]
        self.chunks = self.organizations[-1].chunks.stop
        self._random = np.random.default_rng(SEED)
        # Zipf and Mandelbrot: the word of rank r is about r times rarer than the first.
        # The hundred commonest are stop words, which stand in no index.
        weights = 1.0 / np.power(np.arange(VOCABULARY) + 100.0, 1.07)
        self._cumulative = np.cumsum(weights / weights.sum())
        draws = np.searchsorted(self._cumulative, self._random.random((self.chunks, WORDS_A_CHUNK)))
        self.drawn: Ints = np.minimum(draws, VOCABULARY - 1).astype(np.int64)
        keys = (np.arange(self.chunks)[:, None] * VOCABULARY + self.drawn).ravel()
        unique, counts = np.unique(keys, return_counts=True)
        self.posting_chunk: Ints = unique // VOCABULARY
        """Of each posting, in this order."""
        self.posting_frequency: Ints = counts.astype(np.int64)
        sizes = [len(firm.chunks) for firm in self.organizations]
        firm_of = np.repeat(np.arange(len(sizes)), sizes)
        of_firm = firm_of[self.posting_chunk] * VOCABULARY + unique % VOCABULARY
        terms, places = np.unique(of_firm, return_inverse=True)
        self.terms: Ints = terms.astype(np.int64)
        """Words of organizations, in order: the organization's number times VOCABULARY, and the word."""
        self.posting_term: Ints = places.astype(np.int64)
        """Place in `terms`."""
        self._topics = self._directions(max(20, chunks // 200))
        self.vectors: Floats = self._near_topics(self.chunks)
        self._seen: dict[Member, NDArray[np.bool_]] = {}

    @cached_property
    def ids(self) -> NDArray[np.void]:
        """The chunks' ids, as 16 bytes each: as indexing makes them, one document after the other."""
        numbers = iter(range(self.chunks))
        listed = [
            chunk_id.bytes
            for place, document in enumerate(self.documents)
            for chunk_id in chunk_ids(
                len(document.chunks),
                lambda: uuid5(_NAMESPACE, f"chunk {next(numbers)}"),
                _FIRST_INDEXED + place * timedelta(minutes=1),
            )
        ]
        return np.frombuffer(b"".join(listed), dtype=np.dtype("V16"))

    @cached_property
    def place(self) -> dict[UUID, int]:
        """Which chunk has an id."""
        return {UUID(bytes=bytes(each)): number for number, each in enumerate(self.ids)}

    def seen_by(self, member: Member) -> NDArray[np.bool_]:
        """Of each chunk of the member's organization, whether the member may see it."""
        if member not in self._seen:
            first = member.organization.chunks.start
            seen = np.zeros(len(member.organization.chunks), dtype=np.bool_)
            for document in self.documents:
                if member.sees(document):
                    seen[document.chunks.start - first : document.chunks.stop - first] = True
            self._seen[member] = seen
        return self._seen[member]

    def queries(self, member: Member, count: int) -> list[Query]:
        """Questions that share words with some chunk that the member may see, and lie near some topic."""
        vectors = self._near_topics(count)
        return [Query(terms=self._terms(member), vector=vectors[number]) for number in range(count)]

    def nearest(self, member: Member, queries: Sequence[Query], limit: int) -> list[set[int]]:
        """Of each question the chunks that are really nearest, by comparing all that the member may see.

        Those that are as near as the last of them too.
        """
        chunks = member.organization.chunks
        near = self.vectors[chunks.start : chunks.stop] @ np.stack([query.vector for query in queries]).T
        near[~self.seen_by(member)] = -2
        return [_best(near[:, number], limit, 2e-4, chunks.start) for number in range(len(queries))]

    def best_by_words(self, member: Member, query: Query, limit: int) -> set[int]:
        """The chunks that are really best by BM25, by summing all that the member may see.

        Those that are as good as the last of them too; fewer than `limit` where fewer have a word of the question.
        """
        seen, first = self.seen_by(member), member.organization.chunks.start
        order, starts = self._by_term
        scores = np.zeros(len(seen))
        for term in query.terms:
            key = member.organization.number * VOCABULARY + term
            place = int(np.searchsorted(self.terms, key))
            if place == len(self.terms) or self.terms[place] != key:
                continue
            postings = order[starts[place] : starts[place + 1]]
            postings = postings[seen[self.posting_chunk[postings] - first]]
            idf = np.log(1 + (int(seen.sum()) - len(postings) + 0.5) / (len(postings) + 0.5))
            frequency = self.posting_frequency[postings]
            # All chunks are equally long, so that their length is the mean.
            scores[self.posting_chunk[postings] - first] += idf * frequency * 2.2 / (frequency + 1.2)
        found = min(limit, int(np.count_nonzero(scores)))
        return _best(scores, found, 1e-9, first) if found else set()

    @cached_property
    def _by_term(self) -> tuple[Ints, Ints]:
        """Postings in the order of their terms, and where each term's begin."""
        order = np.argsort(self.posting_term, kind="stable")
        counts = np.bincount(self.posting_term, minlength=len(self.terms))
        return order.astype(np.int64), np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    def _terms(self, member: Member) -> tuple[int, ...]:
        chunk = member.organization.chunks.start + int(self._random.choice(np.flatnonzero(self.seen_by(member))))
        held = np.unique(self.drawn[chunk])
        chosen = self._random.choice(held, size=min(TERMS_A_QUERY, len(held)), replace=False)
        return tuple(int(term) for term in chosen)

    def _directions(self, count: int) -> Floats:
        drawn = self._random.standard_normal((count, DIMENSIONS), dtype=np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    def _near_topics(self, count: int) -> Floats:
        """Unit vectors around topics, each as half precision keeps it."""
        made = np.empty((count, DIMENSIONS), dtype=np.float32)
        for start in range(0, count, 10_000):
            size = min(10_000, count - start)
            topics = self._topics[self._random.integers(len(self._topics), size=size)]
            own = self._directions(size) * TOPIC_SPREAD
            mixed = topics + own
            made[start : start + size] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
        return made.astype(np.float16).astype(np.float32)


def _best(scores: NDArray[Any], limit: int, as_good: float, first: int) -> set[int]:
    least = np.partition(scores, -limit)[-limit] - as_good
    return set((first + np.flatnonzero(scores >= least)).tolist())
