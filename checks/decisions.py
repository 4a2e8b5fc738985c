"""Keeps docs/adr whole: every decision has a status and the form's sections, and the index lists each exactly once."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "adr"
SECTIONS = (
    "## Context and Problem Statement",
    "## Considered Options",
    "## Decision Outcome",
    "### Consequences",
)
_NAME = re.compile(r"^(\d{4})-[a-z0-9-]+\.md$")
_STATUS = re.compile(r"^(proposed|accepted|rejected|deprecated|superseded by ADR-\d{4})$")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_FIELD = re.compile(r"\A---\n(?:.*\n)*?status: (?P<status>.+)\n(?:.*\n)*?---\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One file of docs/adr, as far as the index is concerned."""

    file: str
    title: str
    status: str
    missing: tuple[str, ...]
    """The form's sections that it lacks."""

    @property
    def number(self) -> str:
        """The four digits that other documents cite it by."""
        return self.file[:4]

    @property
    def index_row(self) -> str:
        """The line that the index must have of it."""
        return f"| [{self.number}]({self.file}) | {self.title} | {self.status} |"


def read_decision(file: str, text: str) -> Decision:
    """What a decision's text says of itself; an absent title or status is empty."""
    title, status = _TITLE.search(text), _FIELD.match(text)
    return Decision(
        file=file,
        title=title.group(1) if title else "",
        status=status.group("status") if status else "",
        missing=tuple(section for section in SECTIONS if f"\n{section}\n" not in text),
    )


def faults(decisions: list[Decision], index: str) -> list[str]:
    """What is wrong with the decisions or their index; empty when all is well."""
    numbers = [decision.number for decision in decisions]
    found = [f"{number} is used twice" for number in sorted({n for n in numbers if numbers.count(n) > 1})]
    found += [f"{decision.file}: {fault}" for decision in decisions for fault in _faults_of(decision, numbers)]
    expected = {decision.index_row for decision in decisions}
    rows = [line for line in index.splitlines() if line.startswith("| [")]
    found += [f"index lacks: {row}" for row in sorted(expected - set(rows))]
    found += [f"index has a row of no decision: {row}" for row in sorted(set(rows) - expected)]
    found += [f"index has a row twice: {row}" for row in sorted({row for row in rows if rows.count(row) > 1})]
    return found


def read_folder(folder: Path) -> list[Decision]:
    """Every decision of a folder by number; the index and the template are none."""
    files = sorted(path for path in folder.glob("*.md") if _NAME.match(path.name))
    return [read_decision(path.name, path.read_text()) for path in files]


def main() -> int:
    """Check docs/adr; exit status."""
    decisions = read_folder(FOLDER)
    found = faults(decisions, (FOLDER / "README.md").read_text())
    found += [
        f"{path.name}: not named NNNN-words.md"
        for path in sorted(FOLDER.glob("*.md"))
        if path.name not in ("README.md", "template.md") and not _NAME.match(path.name)
    ]
    print("\n".join(found) or f"decisions: {len(decisions)}, each with a status and in the index")
    return 1 if found else 0


def _faults_of(decision: Decision, numbers: list[str]) -> list[str]:
    found = [] if decision.title else ["has no title"]
    if not _STATUS.match(decision.status):
        found.append(f"status is {decision.status!r}")
    elif decision.status.startswith("superseded") and decision.status[-4:] not in numbers:
        found.append(f"{decision.status}, which is not there")
    return found + [f"lacks the section {section!r}" for section in decision.missing]


if __name__ == "__main__":
    sys.exit(main())
