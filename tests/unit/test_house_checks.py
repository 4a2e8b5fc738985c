"""The checks of `make check` catch what they are there to catch."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from checks import decisions, environment, lock

ROOT = Path(__file__).resolve().parents[2]
DIGEST = lock.dependency_digest((ROOT / "pyproject.toml").read_text())
HASHED = f"{lock.STAMP}{DIGEST}\na==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:{'0' * 64}\n"

DECISION = "---\nstatus: accepted\ndate: 2026-11-22\n---\n\n# One store\n\n" + "\n\n".join(decisions.SECTIONS) + "\n"
ROW = "| [0001](0001-one-store.md) | One store | accepted |"


@pytest.mark.parametrize("name", lock.LOCKS)
def test_lock_of_this_tree_is_sound(name: str) -> None:
    assert lock.faults((ROOT / name).read_text(), DIGEST) == []


def test_runtime_lock_is_part_of_the_test_lock() -> None:
    runtime, dev = (set((ROOT / name).read_text().splitlines()) for name in lock.LOCKS)
    assert runtime - dev == set()


def test_sound_lock_has_no_faults() -> None:
    assert lock.faults(HASHED, DIGEST) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (HASHED.replace(DIGEST, "0" * 64), "not in step"),
        (f"{lock.STAMP}{DIGEST}\na==1.0\n", "not hashed"),
        (HASHED.replace("--hash=sha256", "--hash=md5"), "not hashed"),
        (HASHED.replace("==", ">="), "not pinned"),
        (HASHED + "--index-url index.example\n", "names an index"),
        (HASHED + "a @ https://index.example/a.whl\n", "names an index"),
        (HASHED + "-e .\n", "names an index"),
    ],
)
def test_lock_that_any_index_could_not_serve_is_refused(text: str, fault: str) -> None:
    assert any(fault in found for found in lock.faults(text, DIGEST))


@pytest.mark.parametrize("changed", ['"orjson>=3.13"', '">=3.11"', '"ruff>=0.17"'])
def test_changing_a_dependency_puts_the_lock_out_of_step(changed: str) -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert changed in pyproject
    assert (
        lock.dependency_digest(pyproject.replace(changed, '">=9"' if changed == '">=3.11"' else '"other>=1"')) != DIGEST
    )


def test_decisions_of_this_tree_are_indexed() -> None:
    folder = ROOT / "docs" / "adr"
    assert decisions.faults(decisions.read_folder(folder), (folder / "README.md").read_text()) == []


def test_indexed_decision_with_a_status_has_no_faults() -> None:
    assert decisions.faults([decisions.read_decision("0001-one-store.md", DECISION)], ROW) == []


@pytest.mark.parametrize(
    ("text", "index", "fault"),
    [
        (DECISION, "", "index lacks"),
        (DECISION, f"{ROW}\n{ROW}", "twice"),
        (DECISION, f"{ROW}\n{ROW.replace('0001', '0002')}", "of no decision"),
        (DECISION.replace("status: accepted\n", ""), ROW, "status is ''"),
        (DECISION.replace("accepted", "perhaps"), ROW, "status is 'perhaps'"),
        (DECISION.replace("accepted", "superseded by ADR-0009"), ROW, "not there"),
        (DECISION.replace("# One store", ""), ROW, "no title"),
        (DECISION.replace("### Consequences", ""), ROW, "lacks the section"),
    ],
)
def test_decision_that_is_not_whole_is_refused(text: str, index: str, fault: str) -> None:
    found = decisions.faults([decisions.read_decision("0001-one-store.md", text)], index)
    assert any(fault in line for line in found), found


def test_two_decisions_of_one_number_are_refused() -> None:
    twins = [decisions.read_decision(name, DECISION) for name in ("0001-one-store.md", "0001-other.md")]
    assert "0001 is used twice" in decisions.faults(twins, "")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout at a path with a space whose .venv says that the test lock is installed."""
    root = tmp_path / "a checkout"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for name in ("pyproject.toml", *lock.LOCKS):
        shutil.copy(ROOT / name, root / name)
    stamp = root / ".venv" / ".installed-requirements-dev"
    stamp.write_text(environment.lock_key(root, "requirements-dev.txt") + "\n")
    return root


def test_environment_in_step_with_its_lock_is_left_alone(checkout: Path) -> None:
    assert environment.is_installed(checkout, "requirements-dev.txt")
    assert not environment.is_installed(checkout, "requirements.txt")


def test_other_settings_of_pyproject_do_not_ask_for_a_new_installation(checkout: Path) -> None:
    with (checkout / "pyproject.toml").open("a") as pyproject:
        pyproject.write("\n[tool.other]\nx = 1\n")
    assert environment.is_installed(checkout, "requirements-dev.txt")


def test_lock_installs_though_the_index_has_a_newer_release_of_what_is_wanted_with_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    pinned = [wheel(index, "counted", "1.0"), wheel(index, "counting", "1.0", "counted[more]>=1.0")]
    wheel(index, "counted", "1.1")
    names = tmp_path / "requirements.txt"
    names.write_text("".join(f"{name}==1.0 --hash=sha256:{digest}\n" for name, digest in pinned))
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    for setting, value in {"NO_INDEX": "1", "FIND_LINKS": str(index)}.items():
        monkeypatch.setenv(f"PIP_{setting}", value)
    environment.install_lock(tmp_path / "venv", names)
    installed = {path.name for path in (tmp_path / "venv").glob("lib/python*/site-packages/count*")}
    assert installed == {"counted-1.0.dist-info", "counting-1.0.dist-info"}


def wheel(index: Path, name: str, version: str, needs: str = "counted==0; extra == 'none'") -> tuple[str, str]:
    """A package with the extra `more` and nothing in it, put into a folder that serves as an index; name and digest."""
    metadata = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: more\nRequires-Dist: {needs}\n"
    )
    files = {"METADATA": metadata, "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    folder = f"{name}-{version}.dist-info"
    record = "".join(f"{folder}/{file},,\n" for file in (*files, "RECORD"))
    path = index / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, "RECORD": record}.items():
            archive.writestr(f"{folder}/{file}", text)
    return name, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["requirements-dev.txt", "pyproject.toml"])
def test_changed_lock_or_metadata_asks_for_a_new_installation(checkout: Path, name: str) -> None:
    (checkout / name).write_text("# changed\n" + (checkout / name).read_text())
    assert not environment.is_installed(checkout, "requirements-dev.txt")


def test_checkout_that_was_moved_asks_for_a_new_installation(checkout: Path) -> None:
    moved = checkout.rename(checkout.with_name("elsewhere"))
    assert not environment.is_installed(moved, "requirements-dev.txt")


def test_environment_whose_interpreter_is_gone_is_made_anew(checkout: Path) -> None:
    (checkout / ".venv" / "bin" / "python").unlink()
    (checkout / ".venv" / "bin" / "python").symlink_to(checkout / "removed")
    assert not environment.is_installed(checkout, "requirements-dev.txt")
