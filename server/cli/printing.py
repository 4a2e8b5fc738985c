"""What commands print: plain lines and tables for people, JSON for machines, and nothing that a terminal would obey."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from tools.outcomes import CallOutcome

_KEPT = frozenset("\n\t")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and format characters: escape sequences, and marks that turn the direction of text."""


UNFOLDED = 10_000
"""Columns of what is no terminal: a program that reads lines gets each row as one."""
IDS = "id"
"""The heading of a column that is copied from, and therefore never folded."""


def plain(text: str) -> str:
    """The text with every character that a terminal would obey rather than show replaced."""
    return "".join(_shown(character) for character in text)


def say(text: str = "") -> None:
    """A line on standard output, at once: whoever reads a pipe waits for it."""
    sys.stdout.write(plain(text) + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(plain(text) + "\n")


def say_json(value: object) -> None:
    """A value as JSON on standard output."""
    sys.stdout.write(plain_json(json.dumps(value, ensure_ascii=False, indent=2)) + "\n")


def plain_json(text: str) -> str:
    """The same JSON with every character escaped that a terminal would obey; a machine reads the same value."""
    return "".join(each if plain(each) == each else _escaped(each) for each in text)


def say_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns for a person, folded to the width of a terminal and to nothing else; a machine asks for JSON."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=header == IDS)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = Console()
    if console.is_terminal:
        console.print(table)
        return
    console.width = UNFOLDED
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))


def why_not(outcome: CallOutcome) -> str:
    """One line that says how a call ended that was not done, and why."""
    parts: list[str] = [outcome.outcome]
    if outcome.error is not None:
        parts.append(outcome.error.message)
        if outcome.error.reference is not None:
            parts.append(f"(reference {outcome.error.reference})")
    elif outcome.verdict is not None:
        parts.append(", ".join(outcome.verdict.reasons))
    return ": ".join(parts[:2]) + "".join(f" {part}" for part in parts[2:])


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _shown(character: str) -> str:
    if character.isprintable() or character in _KEPT:
        return character
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in _UNSEEN else character
