"""What a search found, as a reader wants it: each thing said once, and what stands side by side in one passage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from knowledge.model import Folded, Passage

MOST_JOINED: Final = 3
"""Chunks in one passage; more would be a page and no passage."""


def folded(found: Sequence[Passage]) -> list[Passage]:
    """The passages in their order; one that says what a better one says stands with that one, as `also_in`."""
    kept: list[Passage] = []
    for passage in found:
        for place, better in enumerate(kept):
            if _says_the_same(better, passage):
                also = Folded(
                    document_id=passage.document_id, chunk_id=passage.chunk_id, title=passage.title, uri=passage.uri
                )
                kept[place] = replace(better, also_in=(*better.also_in, also))
                break
        else:
            kept.append(passage)
    return kept


def joined(found: Sequence[Passage], limit: int) -> list[Passage]:
    """At most `limit` passages: those of the first `limit` that stand side by side are one, and more come after.

    The range of a joined one reaches from the first to the last; its text is the best one's until it is read again.
    """
    passages: list[Passage] = []
    for place, passage in enumerate(found):
        beside = next((at for at, before in enumerate(passages) if _stand_side_by_side(before, passage)), None)
        if beside is not None and place < limit:
            passages[beside] = _one_of(passages[beside], passage)
        elif len(passages) < limit:
            passages.append(passage)
    return passages


def _says_the_same(one: Passage, other: Passage) -> bool:
    # Who wrote it and whom it is for is a passage's own: what was read of one is not what was read of the other.
    if (one.trust, one.audience, one.engagement_id) != (other.trust, other.audience, other.engagement_id):
        return False
    return one.fingerprint is not None and other.fingerprint is not None and one.fingerprint.is_near(other.fingerprint)


def _stand_side_by_side(one: Passage, other: Passage) -> bool:
    """Neighbours under the same heading and on the same page, which then still pin the passage down."""
    return (
        (one.document_id, one.section, one.page) == (other.document_id, other.section, other.page)
        and len(one.chunk_ids) < MOST_JOINED
        and (other.first_ordinal == one.last_ordinal + 1 or other.last_ordinal == one.first_ordinal - 1)
    )


def _one_of(best: Passage, other: Passage) -> Passage:
    first, last = (best, other) if best.first_ordinal < other.first_ordinal else (other, best)
    return replace(
        best,
        start=first.start,
        end=last.end,
        first_ordinal=first.first_ordinal,
        last_ordinal=last.last_ordinal,
        chunk_ids=(*first.chunk_ids, *last.chunk_ids),
        also_in=best.also_in + other.also_in,
    )
