"""What models, documents and tools say is shown at a terminal and never obeyed by it."""

import io
import json
import re

import pytest
from rich.console import Console

from server.cli.chat.rich_view import RichView, settled
from server.cli.chat.views import JsonLines, Known, Plain, citation_line, lines_of
from server.cli.laying_out import approval_lines, one_line, shown
from server.cli.printing import plain_json
from tools.outcomes import Json

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\x1b]8;;http://evil.example\x1b\\press\x1b[A\r\u202eevil\x08"
"""A window's title, a cleared screen, 8-bit colours, a hidden link, a line overwritten, text turned round."""
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
OWN = re.compile(r"\x1b\[[0-9;?]*[mKhlAGJ]|\r")
"""Colours, cursor moves and erased lines, by which the view redraws its own last block."""

EVENTS: tuple[Json, ...] = (
    {"type": "tool.called", "call_id": "1", "tool": HOSTILE, "arguments": {"a": HOSTILE}},
    {"type": "tool.decided", "call_id": "1", "decision": "deny", "reasons": [HOSTILE]},
    {"type": "tool.completed", "call_id": "1", "outcome": "failed", "error": {"message": HOSTILE}},
    {"type": "tool.progress", "call_id": "1", "progress": 0.5, "message": HOSTILE},
    {"type": "message.started", "message_id": "m"},
    *({"type": "message.delta", "message_id": "m", "delta": each} for each in HOSTILE),
    {
        "type": "message.completed",
        "message_id": "m",
        "text": HOSTILE,
        "citations": [{"marker": 1, "title": HOSTILE, "section": HOSTILE, "start": 1, "end": 2}],
    },
    {"type": "message.reset", "message_id": "m", "reason": HOSTILE},
    {"type": "run.failed", "code": "x", "message": HOSTILE, "retryable": True},
)


def test_plain_text_holds_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    view = Plain()
    for event in EVENTS:
        view.show("", event)
    out = capsys.readouterr().out
    assert "press" in out
    assert not OBEYED.search(out)


def test_markdown_holds_no_sequence_but_the_views_own() -> None:
    file = io.StringIO()
    view = RichView(Console(file=file, force_terminal=True, width=80))
    for event in EVENTS:
        view.show("", event)
    view.close()
    assert not OBEYED.search(OWN.sub("", file.getvalue()))


def test_json_lines_are_the_same_values_and_harmless_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = json.dumps({"delta": HOSTILE + "\U000e0001"}, ensure_ascii=False)
    JsonLines().show(text, {})
    out = capsys.readouterr().out
    assert not OBEYED.search(out)
    assert json.loads(out) == json.loads(text) == json.loads(plain_json(text))


def rendered(words: str) -> str:
    file = io.StringIO()
    view = RichView(Console(file=file, force_terminal=True, width=100, color_system=None))
    for at in range(0, len(words), 7):
        view.show("", {"type": "message.delta", "message_id": "m", "delta": words[at : at + 7]})
    view.close()
    return file.getvalue()


def test_markup_is_shown_as_text_and_a_link_as_where_it_leads() -> None:
    out = rendered("Look: <script>alert(1)</script> and [here](http://evil.example/x).\n")
    assert "<script>alert(1)</script>" in out
    assert "http://evil.example/x" in out
    assert "\x1b]8" not in out


def test_what_is_settled_is_never_drawn_again() -> None:
    out = rendered("First block.\n\nSecond block.\n\nThird block, which is the last.")
    assert out.rindex("First block.") < out.index("Third")
    after = out[out.rindex("First block.") + len("First block.") :]
    assert "First" not in after


@pytest.mark.parametrize(
    ("words", "done"),
    [
        ("one", ""),
        ("one\n\ntw", "one\n\n"),
        ("```\ncode\n\nmore", ""),
        ("```\ncode\n\n```\n\nafter", "```\ncode\n\n```\n\n"),
        ("- a\n- b\n", ""),
    ],
)
def test_a_block_is_settled_by_the_blank_line_behind_it(words: str, done: str) -> None:
    assert settled(words) == (done, words[len(done) :])


def test_lines_are_kept_short_and_in_one_piece() -> None:
    assert one_line("a\nb  c") == "a b c"
    assert len(one_line("x" * 1000)) == 160
    assert shown("a\r\nb") == "a\nb"


def test_who_answers_is_told_when_it_is_another_than_before() -> None:
    known = Known()
    agents = ("assistant", "assistant", "tax", HOSTILE)
    said = [lines_of({"type": "run.started", "agent": agent, "model": "m"}, known) for agent in agents]
    assert said[:3] == [["(assistant, model m)"], [], ["(tax, model m)"]]
    assert not OBEYED.search("".join(said[3]))


def test_a_call_tells_verdict_and_outcome() -> None:
    known = Known()
    said = [line for event in EVENTS[:3] for line in lines_of(event, known)]
    assert [line.strip()[0] for line in said] == ["→", known.tools["1"][0], "←"]
    found: Json = {"type": "tool.completed", "call_id": "1", "outcome": "done", "result": {"items": [1]}}
    assert lines_of(found, Known(tools={"1": "task_list"})) == ["← task_list done: 1 item"]


WAITS: tuple[Json, ...] = (
    {"type": "tool.called", "call_id": "1", "tool": "task_run_get", "arguments": {}},
    {"type": "tool.progress", "call_id": "1", "progress": 0.0, "message": "queued"},
    {"type": "tool.progress", "call_id": "1", "progress": 1 / 3, "message": "by_day …"},
    {"type": "tool.completed", "call_id": "1", "outcome": "done", "result": {}},
)


def test_how_far_a_call_has_come_is_a_line_each_time_where_nothing_can_be_redrawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = Plain()
    for event in WAITS:
        view.show("", event)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["  task_run_get   0 % queued", "  task_run_get  33 % by_day …", "← task_run_get done"]


def test_at_a_terminal_how_far_a_call_has_come_is_one_line_that_is_gone_at_the_end() -> None:
    file = io.StringIO()
    view = RichView(Console(file=file, force_terminal=True, width=100, color_system=None))
    for event in WAITS:
        view.show("", event)
    view.close()
    queued, by_day, ended = (file.getvalue().index(words) for words in ("0 % queued", "33 % by_day …", "← task"))
    assert queued < by_day < ended
    assert "\x1b[2K" in file.getvalue()[queued:by_day]
    assert "\x1b[2K" in file.getvalue()[by_day:ended]


def test_a_question_says_what_why_who_and_until_when() -> None:
    item: Json = {
        "id": "a1",
        "tool": "release_submit",
        "arguments": {"control": HOSTILE},
        "reasons": ["irreversible_needs_approval"],
        "requested_by": "eva@firm.example",
        "needs_role": "PARTNER",
        "four_eyes": True,
        "expires_at": "2026-11-29T17:54:00+00:00",
    }
    said = "\n".join(approval_lines(item))
    for words in ("release_submit", "irreversible_needs_approval", "eva@firm.example", "four eyes", "2026-11-29 17:54"):
        assert words in said
    assert not OBEYED.search(said)


def test_a_citation_names_document_page_section_and_characters() -> None:
    citation: Json = {"marker": 2, "title": "Letters", "section": "EL-4", "page": 3, "start": 5, "end": 23}
    assert citation_line(citation) == "[2] Letters, EL-4, page 3, characters 5-23"
