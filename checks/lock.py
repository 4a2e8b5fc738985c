"""Keeps the locks honest: every package pinned and hashed, no index address, in step with what it was made from.

`uv.lock` itself is not kept: it records the addresses of the index that resolved it; the exported files work with any.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from checks.node import folders

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "requirements.txt": ("--no-default-groups", "--group", "build"),
    "requirements-dev.txt": ("--no-default-groups", "--group", "build", "--group", "dev"),
}
STAMP = "# dependencies of pyproject.toml, sha256: "
NODE_STAMPED = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
_PINNED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[a-z0-9,_-]+\])?==[^\s;]+( ;.*)?$")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def dependency_digest(pyproject: str) -> str:
    """The digest of everything in pyproject.toml that a lock is made from."""
    document = tomllib.loads(pyproject)
    project = document["project"]
    asked = {
        "python": project["requires-python"],
        "runtime": sorted(project["dependencies"]),
        "groups": {name: sorted(group) for name, group in sorted(document["dependency-groups"].items())},
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def faults(lock: str, digest: str) -> list[str]:
    """What is wrong with a lock's text; empty when it is sound."""
    found = [] if lock.startswith(STAMP + digest) else ["not in step with pyproject.toml: run `make lock`"]
    for requirement in _requirements(lock):
        name, *hashes = requirement.split(" --hash")
        if "://" in requirement or name.startswith("-"):
            found.append(f"names an index or an address: {name}")
        elif not _PINNED.match(name.strip()):
            found.append(f"not pinned: {name}")
        elif not hashes or len(_HASH.findall(requirement)) != len(hashes):
            found.append(f"not hashed: {name}")
    return found


def node_faults(lock: dict[str, Any], package: dict[str, Any]) -> list[str]:
    """What is wrong with an npm lock and the package.json beside it; empty when they are sound."""
    packages: dict[str, dict[str, Any]] = lock.get("packages", {})
    project = packages.get("", {})
    found = [
        f"{kind} not in step with package.json: run `npm install`"
        for kind in NODE_STAMPED
        if project.get(kind, {}) != package.get(kind, {})
    ]
    for place, entry in packages.items():
        if place == "" or entry.get("inBundle"):  # what lies in another's archive is under that one's hash
            continue
        if "resolved" in entry:
            found.append(f"names a registry or an address: {place}")
        if not str(entry.get("integrity", "")).startswith("sha512-"):
            found.append(f"not hashed: {place}")
    return found if packages else ["locks nothing"]


def write(root: Path, uv: str) -> None:
    """Resolve anew and write both locks.  Effect  asks the package index; replaces the files."""
    subprocess.run([uv, "lock", "--quiet", "--upgrade"], cwd=root, check=True)
    for name, groups in LOCKS.items():
        export = [uv, "export", "--quiet", "--frozen", "--format", "requirements-txt", "--no-emit-project"]
        done = subprocess.run(
            [*export, "--no-header", "--no-annotate", *groups], cwd=root, check=True, capture_output=True, text=True
        )
        stamp = STAMP + dependency_digest((root / "pyproject.toml").read_text())
        (root / name).write_text(f"{stamp}\n{done.stdout}")


def main(arguments: list[str]) -> int:
    """Check the locks, or with `write UV` make them; exit status."""
    if arguments[:1] == ["write"]:
        write(ROOT, arguments[1])
    digest = dependency_digest((ROOT / "pyproject.toml").read_text())
    found = [f"{name}: {fault}" for name in LOCKS for fault in faults((ROOT / name).read_text(), digest)]
    for folder in folders(ROOT):
        lock, package = (json.loads((folder / name).read_text()) for name in ("package-lock.json", "package.json"))
        found += [f"{folder.relative_to(ROOT)}/package-lock.json: {fault}" for fault in node_faults(lock, package)]
    print("\n".join(found) or "locks: pinned, hashed, without addresses, in step with what they were made from")
    return 1 if found else 0


def _requirements(lock: str) -> list[str]:
    lines = [line for line in lock.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [re.sub(r"\s+", " ", line).strip() for line in joined.splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
