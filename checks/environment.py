"""Makes `.venv` hold what the lock says; the first step of every `make` target, run by whatever python3 there is.

A stamp inside `.venv` names the lock that was installed, so a second run starts nothing and needs no network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {"runtime": "requirements.txt", "dev": "requirements-dev.txt"}
OLDEST_PYTHON = (3, 11)
QUIETLY = ("-qq", "--disable-pip-version-check", "--no-input")


class SetupError(Exception):
    """Why `.venv` could not be made, in words that say what to do about it."""


def lock_key(root: Path, lock_name: str) -> str:
    """The digest of what an installation depends on: lock, project metadata, the checkout's place."""
    metadata = (root / "pyproject.toml").read_bytes().partition(b"\n[tool.")[0]
    parts = [(root / lock_name).read_bytes(), metadata, os.fsencode(root)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def is_installed(root: Path, lock_name: str) -> bool:
    """Whether `.venv` works and was last brought in step with this very lock."""
    stamp = _stamp(root, lock_name)
    return _is_usable(root) and stamp.is_file() and stamp.read_text().strip() == lock_key(root, lock_name)


def install(root: Path, lock_name: str) -> None:
    """Bring `.venv` in step with a lock.

    Raises  SetupError: Python is too old, has no venv module, or pip failed.
    Effect  creates `.venv`, installs into it, links the checkout into it.
    """
    venv = root / ".venv"
    if not _is_usable(root) or not any(venv.glob(".installed-*")):
        _run([sys.executable, "-m", "venv", "--clear", str(venv)], "no .venv (on Debian: apt install python3-venv)")
    for stamp in venv.glob(".installed-*"):
        stamp.unlink()
    pip = _pip(venv)
    install_lock(venv, root / lock_name)
    _run(
        [*pip, "install", *QUIETLY, "--no-deps", "--no-build-isolation", "--no-index", "-e", str(root)],
        "pip could not link the checkout into .venv",
    )
    for name in LOCKS.values() if lock_name == LOCKS["dev"] else [lock_name]:
        _stamp(root, name).write_text(lock_key(root, name) + "\n")


def install_lock(venv: Path, lock: Path) -> None:
    """Install what the lock names, and nothing else.

    The lock is the whole closure. Left to resolve it again, pip looks for the newest release of what is wanted with
    an extra (`coverage[toml]`), and refuses it for want of a hash once there is a newer one than the lock's.

    Raises  SetupError: pip failed.
    """
    command = [*_pip(venv), "install", *QUIETLY, "--no-deps", "--require-hashes", "-r", str(lock)]
    _run(command, f"pip could not install {lock.name}")


def main(arguments: list[str]) -> int:
    """Make `.venv` ready for `runtime` (to serve) or `dev` (to test); exit status 0, or 1 with a reason."""
    lock_name = LOCKS[arguments[0]]
    if sys.version_info < OLDEST_PYTHON:
        wanted, found = (".".join(str(part) for part in version[:2]) for version in (OLDEST_PYTHON, sys.version_info))
        print(f"Python {wanted} or newer is needed, this is {found}: make PYTHON=/path/to/python3", file=sys.stderr)
        return 1
    if is_installed(ROOT, lock_name):
        return 0
    try:
        with (ROOT / "pyproject.toml").open() as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # two `make` at once on a fresh checkout
            if not is_installed(ROOT, lock_name):
                print(f"Setting up .venv from {lock_name} (once; later starts need no network)", flush=True)
                install(ROOT, lock_name)
    except SetupError as error:
        print(f"Setting up failed: {error}", file=sys.stderr)
        return 1
    return 0


def _pip(venv: Path) -> list[str]:
    return [str(venv / "bin" / "python"), "-m", "pip"]


def _stamp(root: Path, lock_name: str) -> Path:
    return root / ".venv" / f".installed-{Path(lock_name).stem}"


def _is_usable(root: Path) -> bool:
    """Asked of the system, since the interpreter behind the link may be gone, or out of reach for this user."""
    return os.access(root / ".venv" / "bin" / "python", os.X_OK)


def _run(command: list[str], purpose: str) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        raise SetupError(purpose)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
