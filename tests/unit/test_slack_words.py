"""Text to and from Slack: nothing pings, nothing is lost where it is cut, and a person is heard as it was meant."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.slack.words import cut, escaped, fitting, heard, mrkdwn


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("**bold** and *slanted* and ~~gone~~", "*bold* and _slanted_ and ~gone~"),
        ("__bold__ 2*3*4 snake_case_name", "*bold* 2*3*4 snake_case_name"),
        ("# A heading", "*A heading*"),
        ("## **Bold** heading", "*Bold heading*"),
        ("- one\n* two\n  + three", "• one\n• two\n  • three"),
        ("> quoted", "> quoted"),
        ("[the page](https://example.com/a?b=1&c=2)", "<https://example.com/a?b=1&amp;c=2|the page>"),
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
