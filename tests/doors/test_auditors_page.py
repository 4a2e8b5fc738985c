"""A stranger who types what docs/for-your-auditor.md says, with nothing but Python and one file, sees what it shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doors.test_cli_audit import EMPLOYEE, MANAGER, sealed
from tests.doors.test_cli_commands import Glow, firm, glow, installation
from tests.support.database import Database, run_apart
from tests.support.ledger import KEY
from tests.support.readme import Ids
from tests.support.verifiers import STANDALONE

__all__ = ["firm", "glow", "installation"]

PAGE = (Path(__file__).parents[2] / "docs" / "for-your-auditor.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"^\$ ((?:[^'\n]|'[^']*')*)\n((?:(?!\$ |```).*\n)*)", re.MULTILINE)
"""A command, an argument in quotes over several lines included, and what is shown of its output."""
SHOWN = [(found[1], found[2].strip()) for found in COMMAND.finditer(PAGE)]

needs_a_shell = pytest.mark.skipif(shutil.which("bash") is None, reason="the page's commands need bash")


@needs_a_shell
def test_every_command_of_the_auditor_s_page_prints_what_it_shows(glow: Glow, firm: Database, tmp_path: Path) -> None:
    folder, bin = tmp_path / "auditor", tmp_path / "bin"
    for each in (folder, bin):
        each.mkdir()
    call_id = _handed_out(glow, firm, folder)
    assert call_id
    shutil.copy(STANDALONE, folder / "verify.py")
    # Python as it comes: no package, nothing of this environment.
    python = bin / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    environment = {"PATH": f"{bin}:{os.defpath}", "KEY_ID": KEY.key_id}
    assert len(SHOWN) >= 9
    for line, shows in SHOWN:
        printed = _typed(line, folder, environment)
        assert Ids().hold(shows, printed), f"$ {line}\nthe page shows:\n{shows}\n\nprinted:\n{printed}"


def _handed_out(glow: Glow, firm: Database, folder: Path) -> str:
    """What the firm hands out, by the commands of the page's table."""

    def output(name: str) -> tuple[str, str]:
        return "--output", str(folder / name)

    assert glow("tools", "call", "task_list", *EMPLOYEE, "--json") == 0
    call_id = str(glow.json["call_id"])
    run_apart(sealed(firm))
    assert glow("audit", "head", *EMPLOYEE, *output("head.json")) == 0
    assert glow("audit", "head", *EMPLOYEE) == 0
    size = str(glow.json["head"]["size"])
    run_apart(sealed(firm))
    assert glow("audit", "prove", call_id, *EMPLOYEE, "--since", size, *output("proof.json")) == 0
    # The record grows with each of these calls.
    run_apart(sealed(firm))
    assert glow("audit", "head", *EMPLOYEE, "--since", size, *output("newer.json")) == 0
    assert glow("audit", "export", *MANAGER, *output("export.ndjson")) == 0
    return call_id


def _typed(line: str, folder: Path, environment: dict[str, str]) -> str:
    command = ["bash", "--norc", "--noprofile", "-c", line]
    told = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    return (told.stdout + told.stderr).strip()
