"""Text to and from Slack: nothing pings, nothing is lost where it is cut, and a person is heard as it was meant."""

import html
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.slack.blocks import Footing
from server.slack.words import (
    MESSAGE_CHARACTERS,
    cut,
    escaped,
    escaped_within,
    fitting,
    heard,
    mrkdwn,
    unlinked,
    visible,
)


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("**bold** and *slanted* and ~~gone~~", "*bold* and _slanted_ and ~gone~"),
        ("__bold__ 2*3*4 snake_case_name", "*bold* 2*3*4 snake_case_name"),
        ("# A heading", "*A heading*"),
        ("## **Bold** heading", "*Bold heading*"),
        ("- one\n* two\n  + three", "• one\n• two\n  • three"),
        ("> quoted", "> quoted"),
        ("[the page](https://example.com/a?b=1&c=2)", "the page (<https://example.com/a?b=1&amp;c=2>)"),
        ("[https://a.test](https://a.test)", "<https://a.test>"),
        ("[evil](javascript:alert(1))", "[evil](javascript:alert(1))"),
        ("`**not bold** <x>`", "`**not bold** &lt;x&gt;`"),
        ("```python\na ** b\n```", "```\na ** b\n```"),
        ("<!channel> <@U1> & co", "&lt;!channel&gt; &lt;@U1&gt; &amp; co"),
        ("a | b", "a | b"),
    ],
)
def test_markdown_becomes_mrkdwn(markdown: str, shown: str) -> None:
    assert mrkdwn(markdown) == shown


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_no_text_makes_a_mention_or_a_tag(text: str) -> None:
    for shown in (mrkdwn(text), escaped(text)):
        assert "<!" not in shown
        assert "<@" not in shown
        assert "<#" not in shown


@given(st.text(alphabet="ab &<>\n;", max_size=400), st.integers(min_value=20, max_value=90))
def test_what_is_cut_is_whole_again_when_joined(text: str, limit: int) -> None:
    pieces = list(cut(text, limit))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= limit for piece in pieces)


@given(st.text(alphabet="ab&<> \n", max_size=2000), st.integers(min_value=0, max_value=900))
def test_what_fits_is_a_beginning_that_fits_escaped(text: str, room: int) -> None:
    piece = fitting(text, room)
    assert text.startswith(piece)
    assert len(escaped(piece)) <= room
    assert html.unescape(escaped(piece)) == piece


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("<@UBOT> hello", "hello"),
        ("<@UBOT>", ""),
        ("hello <@U2|eva>, <!here> in <#C1|general>", "hello @eva, @here in #general"),
        ("see <https://a.test/x?y=1&amp;z=2|a.test>", "see https://a.test/x?y=1&z=2"),
        ("or <mailto:a@b.test|a@b.test>", "or a@b.test"),
        ("1 &lt; 2 &amp;amp; 3 &gt; 2", "1 < 2 &amp; 3 > 2"),
    ],
)
def test_what_a_person_wrote_is_heard_as_it_was_meant(sent: str, meant: str) -> None:
    assert heard(sent, "UBOT") == meant


@given(st.text(alphabet="ab&<> \n", max_size=500), st.integers(min_value=20, max_value=90))
def test_what_is_shortened_escaped_is_no_longer_than_asked_and_whole_characters(text: str, limit: int) -> None:
    shown = escaped_within(text, limit)
    assert len(shown) <= limit
    assert text.startswith(html.unescape(shown).removesuffix("…"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, über, 日本\n\tindented", "plain, über, 日本\n\tindented"),
        ("pay \u202e0001\u202c EUR", "pay ⟨U+202E⟩0001⟨U+202C⟩ EUR"),
        ("1\u200b000", "1⟨U+200B⟩000"),
        ("a\u2067b\u2069\u00ad\r", "a⟨U+2067⟩b⟨U+2069⟩⟨U+00AD⟩⟨U+000D⟩"),
        ("\U000e0041\u3164", "⟨U+E0041⟩⟨U+3164⟩"),
    ],
)
def test_what_is_agreed_to_hides_no_character(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(alphabet="a[](): \n", max_size=60), st.integers(min_value=0, max_value=60))
def test_the_beginning_of_a_text_is_shown_as_the_beginning_of_the_text(text: str, place: int) -> None:
    whole = unlinked(text)
    assert whole.startswith(unlinked(text[:place]))
    assert "](" not in whole
    assert "]:" not in whole


def test_what_stands_below_an_answer_leaves_room_for_its_text() -> None:
    signs = "&" * 500
    call: dict[str, object] = {"tool": "t", "outcome": "denied", "reasons": [signs]}
    cited: dict[str, object] = {"marker": 1, "title": signs, "section": signs, "start": 1, "end": 2}

    blocks = Footing(calls=[call] * 30, citations=[cited] * 30, notes=[signs] * 2).blocks()

    assert sum(len(block["elements"][0]["text"]) for block in cast(Any, blocks)) + MESSAGE_CHARACTERS <= 12_000
    assert "calls more, which the record has" in str(blocks)
