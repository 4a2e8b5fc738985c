"""What the documents name is there: tests that show a guarantee, pages that are linked, pictures that are shown."""

import re
from pathlib import Path

import pytest

from tests.support.environment import names_of_settings

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
NAMED = re.compile(r"`((?:tests|agent|tools|server|domain|knowledge|manifests|migrations|docs|checks)/[\w./*{}-]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", ["docs/guarantees.md", "docs/architecture.md"])
def test_every_file_that_is_named_exists(page: str) -> None:
    named = NAMED.findall((ROOT / page).read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not list(ROOT.glob(name.rstrip("/")))] == []


def test_every_variable_of_the_environment_stands_in_the_table_of_settings_and_no_other() -> None:
    _, _, rest = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").partition("## The variables\n")
    rows = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    documented = [name for row in rows for name in re.findall(r"`([A-Z0-9_]+)`", row.split("|")[1])]
    assert sorted(documented) == sorted(names_of_settings())


def test_every_guarantee_names_a_test() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8").splitlines()
        if re.match(r"\| \d+ \|", line)
    ]
    assert len(rows) >= 10
    assert [row for row in rows if "`tests/" not in row] == []
