"""Phrases and filters in a question are understood without a model, and nonsense is refused in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.parse.document import DOCX, MediaType
from knowledge.parse.media import SUFFIXES
from knowledge.questions import KINDS, InvalidFilter, folded, understood


def test_a_question_is_taken_apart() -> None:
    asked = understood(
        'renewal "engagement letter" type:pdf TYPE:Word after:2025-03 before:2026 engagement:"Maribeck Ltd"'
    )
    assert asked.words == "renewal engagement letter"
    assert [phrase.pattern for phrase in asked.phrases] == [
        "(^|[^[:alnum:]])engagement[^[:alnum:]]+letter([^[:alnum:]]|$)"
    ]
    assert asked.media_types == ("application/pdf", DOCX)
    assert (asked.after, asked.before) == (datetime(2025, 3, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    assert asked.engagements == ("Maribeck Ltd",)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_whatever_is_taken_in_can_be_looked_for_by_the_end_of_its_name(suffix: str) -> None:
    assert understood(f"tax type:{suffix[1:]}").media_types is not None


def test_every_kind_can_be_looked_for_and_is_named_where_one_is_not_known() -> None:
    assert set(KINDS.values()) == set(get_args(MediaType))
    with pytest.raises(InvalidFilter) as refused:
        understood("tax type:exe")
    assert all(kind in str(refused.value) for kind in KINDS)


@pytest.mark.parametrize(
    "text",
    ["note: see below", "ratio 3:1", "type : pdf", "subtype:pdf", 'a lone " sign', "https://a.example/type:x", ""],
)
def test_what_only_looks_like_a_filter_is_words(text: str) -> None:
    asked = understood(text)
    assert asked.words == " ".join(text.replace('"', " ").split())
    assert (asked.phrases, asked.media_types, asked.engagements) == ((), None, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tax type:exe", "type: there is no kind 'exe'"),
        ("tax after:yesterday", "after: 'yesterday' is no date"),
        ("tax before:2025-13", "before: '2025-13' is no date"),
        ("tax before:2025-02-30", "is no date"),
        ("tax before:0000", "is no date"),
        ("tax after:2025 after:2026", "after: is given 2 times"),
        ("tax after:2026 before:2025", "after: nothing lies"),
        ("type:pdf", "query: say what to look for"),
        ('tax engagement:""', "engagement: give its name"),
        ('"who is it"', "holds only common words"),
        (" ".join(f'"phrase {n}"' for n in range(9)), "9 phrases"),
    ],
)
def test_nonsense_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(InvalidFilter, match=re.escape(words)):
        understood(text)


@given(st.text(max_size=200))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        asked = understood(text)
    except InvalidFilter:
        return
    assert '"' not in asked.words


@given(st.lists(st.text(alphabet="abcXYZ019éß", min_size=1, max_size=6), min_size=1, max_size=4), st.text(" -/.\n"))
def test_a_phrase_matches_its_own_words_whatever_stands_between_them(words: list[str], sign: str) -> None:
    try:
        (phrase,) = understood(f'"{" ".join(words)}"').phrases
    except InvalidFilter:
        return
    pattern = phrase.pattern.replace("[^[:alnum:]]", r"[\W_]")
    assert re.search(pattern, folded(f" {sign or ' '}".join(words)))
    assert not re.search(pattern, folded("x".join([*words, "y"])))
