"""What says the same is shown once, and neighbours are shown as one passage whose range is right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import RFC_4122, uuid4

from hypothesis import given
from hypothesis import strategies as st

from domain.kernel import new_id
from knowledge.fingerprint import fingerprint_of
from knowledge.model import ChunkId, DocumentId, Passage, Ranks, chunk_ids
from knowledge.passages import MOST_JOINED, folded, joined

LONG = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300))
DOCUMENT = DocumentId(uuid4())


def passage(
    ordinal: int, text: str = "", *, section: str | None = "S", page: int | None = None, document: DocumentId = DOCUMENT
) -> Passage:
    chunk_id = ChunkId(uuid4())
    return Passage(
        document_id=document,
        chunk_id=chunk_id,
        title="T",
        text=text,
        score=1.0,
        page=page,
        section=section,
        start=ordinal * 10,
        end=ordinal * 10 + 9,
        uri="/",
        trust="internal",
        audience="firm",
        engagement_id=None,
        chunk_ids=(chunk_id,),
        first_ordinal=ordinal,
        last_ordinal=ordinal,
        fingerprint=fingerprint_of(text) if text else None,
        ranks=Ranks(lexical=1, lexical_score=1.0, vector=None, similarity=None),
    )


def near(one: str, other: str) -> bool:
    return fingerprint_of(one).is_near(fingerprint_of(other))


def test_texts_that_differ_in_case_signs_or_a_word_are_near_and_in_a_figure_are_not() -> None:
    assert near(LONG, LONG.upper().replace(" ", ",  "))
    assert near(LONG, LONG + " more")
    assert not near(f"{LONG} of 2025", f"{LONG} of 2026")
    assert not near(LONG, " ".join(reversed(LONG.split())))
    assert not near("letter one", "letter two")
    assert near("Letter one.", "letter ONE")


@given(st.text(max_size=200))
def test_a_text_is_near_itself(text: str) -> None:
    assert near(text, text)
    assert -(2**63) <= fingerprint_of(text).simhash < 2**63


def test_the_best_of_those_that_say_the_same_names_the_others() -> None:
    best, other, twin = passage(1, LONG), passage(5, "something else"), passage(9, LONG, document=DocumentId(uuid4()))
    kept = folded([best, other, twin, passage(20), passage(30)])
    assert [each.chunk_id for each in kept[:2]] == [best.chunk_id, other.chunk_id]
    assert [also.chunk_id for also in kept[0].also_in] == [twin.chunk_id]
    assert len(kept) == 4  # what was never analysed is like nothing


def test_neighbours_under_one_heading_are_one_passage_of_the_best_ones_place() -> None:
    best, apart, before, after = passage(4), passage(9), passage(3), passage(5)
    one, two = joined([best, apart, before, after], 4)
    assert (one.start, one.end, one.chunk_id) == (30, 59, best.chunk_id)
    assert one.chunk_ids == (before.chunk_id, best.chunk_id, after.chunk_id)
    assert two == apart


def test_another_heading_page_or_document_is_no_neighbour() -> None:
    for other in (passage(2, section="Other"), passage(2, page=2), passage(2, document=DocumentId(uuid4()))):
        assert len(joined([passage(1), other], 5)) == 2


@given(st.lists(st.integers(0, 12), unique=True, max_size=13), st.integers(1, 6))
def test_joined_passages_never_overlap_and_are_never_more_than_asked(ordinals: list[int], limit: int) -> None:
    shown = joined([passage(ordinal) for ordinal in ordinals], limit)
    assert len(shown) <= limit
    assert {chunk for each in shown for chunk in range(each.first_ordinal, each.last_ordinal + 1)} <= set(ordinals)
    places = sorted((each.first_ordinal, each.last_ordinal) for each in shown)
    assert all(one[1] < two[0] for one, two in pairwise(places))
    assert all(each.last_ordinal - each.first_ordinal + 1 == len(each.chunk_ids) <= MOST_JOINED for each in shown)
    assert all((each.start, each.end) == (each.first_ordinal * 10, each.last_ordinal * 10 + 9) for each in shown)


def test_ids_of_passages_stand_in_the_order_of_their_documents_and_are_no_less_random_than_others() -> None:
    earlier = datetime(2026, 11, 30, 12, tzinfo=UTC)
    later = earlier + timedelta(milliseconds=1)
    first, second = (chunk_ids(200, new_id, now) for now in (earlier, later))
    assert max(first) < min(second)
    assert len({chunk_id.int & ((1 << 62) - 1) for chunk_id in (*first, *second)}) == 400
    assert {(chunk_id.version, chunk_id.variant) for chunk_id in (*first, *second)} == {(7, RFC_4122)}
