"""The packages of Node are installed once, from a lock that any registry can serve, and their want fails nothing."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from checks import node
from checks.lock import node_faults

ROOT = Path(__file__).resolve().parents[2]
PACKAGE: dict[str, Any] = {"devDependencies": {"a": "1.0.0"}}
ENTRY = {"version": "1.0.0", "integrity": "sha512-AAAA"}


def lock_of(**entry: object) -> dict[str, Any]:
    return {"packages": {"": PACKAGE, "node_modules/a": {**ENTRY, **entry}}}


@pytest.mark.parametrize("folder", node.folders(ROOT), ids=lambda folder: folder.name)
def test_npm_lock_of_this_tree_is_sound(folder: Path) -> None:
    lock, package = (json.loads((folder / name).read_text()) for name in ("package-lock.json", "package.json"))
    assert node_faults(lock, package) == []


def test_sound_npm_lock_has_no_faults() -> None:
    assert node_faults(lock_of(), PACKAGE) == []


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        (lock_of(resolved="https://registry.example/a.tgz"), "names a registry"),
        (lock_of(integrity=""), "not hashed"),
        (lock_of(integrity="sha1-AAAA"), "not hashed"),
        ({"packages": {"": {}, "node_modules/a": ENTRY}}, "not in step"),
        ({}, "locks nothing"),
    ],
)
def test_npm_lock_that_any_registry_could_not_serve_is_refused(lock: dict[str, Any], fault: str) -> None:
    assert any(fault in found for found in node_faults(lock, PACKAGE))


class FakeNpm:
    """An npm that makes `node_modules` and counts how often it was asked, or fails."""

    def __init__(self, root: Path, *, status: int = 0) -> None:
        self.folder = root / "tests" / "node"
        self.folder.mkdir(parents=True)
        for name in node.INSTALLED_FROM:
            (self.folder / name).write_text("{}")
        self.asked = root / "asked"
        script = root / "npm.py"
        script.write_text(
            "import os, sys\n"
            f"open({str(self.asked)!r}, 'a').write('x')\n"
            f"os.makedirs('node_modules', exist_ok=True)\nsys.exit({status})\n"
        )
        self.node = node.Node(program=Path(sys.executable), npm=(sys.executable, str(script)))

    def times_asked(self) -> int:
        return len(self.asked.read_text()) if self.asked.exists() else 0


def test_second_run_asks_npm_nothing(tmp_path: Path) -> None:
    npm = FakeNpm(tmp_path)
    assert [node.prepare(tmp_path, npm.node, in_ci=True) for _ in range(2)] == [0, 0]
    assert (npm.times_asked(), node.is_installed(npm.folder)) == (1, True)


def test_two_runs_at_once_install_once(tmp_path: Path) -> None:
    npm = FakeNpm(tmp_path)
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(node.install, npm.node, npm.folder) for _ in range(4)]
    assert ([run.result() for run in runs], npm.times_asked()) == ([True] * 4, 1)


@pytest.mark.parametrize("name", node.INSTALLED_FROM)
def test_changed_lock_is_installed_again(tmp_path: Path, name: str) -> None:
    npm = FakeNpm(tmp_path)
    node.install(npm.node, npm.folder)
    (npm.folder / name).write_text('{"a": 1}')
    assert not node.is_installed(npm.folder)
    node.install(npm.node, npm.folder)
    assert npm.times_asked() == 2


def test_registry_out_of_reach_is_said_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    npm = FakeNpm(tmp_path, status=1)
    assert node.prepare(tmp_path, npm.node, in_ci=True) == 0
    assert "will be skipped" in capsys.readouterr().err
    assert not node.is_installed(npm.folder)
    assert "not installed" in str(node.why_missing(npm.folder))


@pytest.mark.parametrize(("in_ci", "status"), [(False, 0), (True, 1)])
def test_missing_node_is_an_error_in_ci_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_ci: bool, status: int
) -> None:
    assert node.prepare(tmp_path, None, in_ci=in_ci) == status
    assert "No Node was found" in capsys.readouterr().err


def test_node_of_the_lock_comes_before_the_machines() -> None:
    found = node.find_node()
    assert found is not None
    assert ".venv" in found.program.parts
    version = subprocess.run([*found.npm, "--version"], capture_output=True, text=True, check=True).stdout
    assert int(version.split(".")[0]) >= 11
