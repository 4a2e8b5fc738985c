"""Which judged set is meant, and in which organization its documents are found."""

import re
from pathlib import Path

from domain.resources import resource_folder
from knowledge.evaluation.judged import JudgedSet, read_judged_set

DEMO = "demo"
DEMO_ORGANIZATION = "acme-audit"


def judged_set(named: str) -> JudgedSet:
    """The shipped set of that name, else the set in the folder of that name.

    Raises  SetUnreadable.
    """
    if named == DEMO:
        return read_judged_set(resource_folder("demo") / "judged", DEMO)
    return read_judged_set(Path(named))


def scratch_slug(judged: JudgedSet) -> str:
    """The organization that holds a set's corpus and nothing else."""
    words = re.sub(r"[^a-z0-9]+", "-", judged.name.lower()).strip("-") or "set"
    return f"eval-{words}"[:63].rstrip("-")
