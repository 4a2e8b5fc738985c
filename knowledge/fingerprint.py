"""What tells passages that say the same: a sketch of their words, and every figure in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from knowledge.terms import words_of

_BITS: Final = 64
_LANE: Final = 20
"""Bits for the count of one bit of the sketch: up to a million words."""
_SPREAD: Final = tuple(sum(1 << (_LANE * bit) for bit in range(8) if byte >> bit & 1) for byte in range(256))
NEAR: Final = 3
"""Bits of 64 by which sketches of passages that say the same may differ: about one word in a hundred."""
SHORT: Final = 30
"""Words up to which a sketch is too coarse: then only the same words are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Units  simhash, figures: 64 bits, signed as PostgreSQL keeps them. words: how many."""

    simhash: int
    figures: int
    words: int

    def is_near(self, other: Fingerprint) -> bool:
        """Whether a reader would take both for one: a year or an amount that differs makes them two."""
        if self.figures != other.figures:
            return False
        apart = (self.simhash ^ other.simhash) & (1 << _BITS) - 1
        return apart.bit_count() <= (NEAR if min(self.words, other.words) > SHORT else 0)


def fingerprint_of(text: str) -> Fingerprint:
    """Of a text's folded words in pairs.  Source  Charikar, STOC 2002; the distance: Manku and others, WWW 2007."""
    words = words_of(text)
    figures = [word for word in words if word.isdigit()]
    return Fingerprint(simhash=_simhash(words), figures=_signed(_digest(" ".join(figures))), words=len(words))


def _simhash(words: Sequence[str]) -> int:
    pairs = [f"{one} {other}" for one, other in pairwise(words)] or list(words)
    lanes = [0] * 8
    for pair in pairs:
        for place, byte in enumerate(_digest(pair)):
            lanes[place] += _SPREAD[byte]
    half, mask = len(pairs) / 2, (1 << _LANE) - 1
    bits = (lane >> (_LANE * bit) & mask for lane in lanes for bit in range(8))
    return _signed(sum(1 << place for place, count in enumerate(bits) if count > half).to_bytes(8, "big"))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _signed(digest: bytes) -> int:
    return int.from_bytes(digest, "big", signed=True)
