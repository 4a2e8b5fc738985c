"""A list that a program reads has each row on one line, and at a terminal no id is folded."""

import sys
from uuid import uuid4

import pytest

from server.cli.printing import say_table

WORDS = "somebody is there when it is released " * 10


def test_what_is_no_terminal_gets_each_row_as_one_line_without_blanks_behind_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    say_table(("id", "says", "by"), [("1", WORDS, "a"), ("2", "no", "b")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["id", "1", "2"]
    assert WORDS.strip() in lines[1]
    assert [line for line in lines if line != line.rstrip()] == []


def test_at_a_terminal_words_are_folded_and_an_id_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    known = str(uuid4())
    say_table(("id", "says"), [(known, WORDS)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2
    assert any(known in line for line in lines)
