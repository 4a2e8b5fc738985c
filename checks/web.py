"""What ships of the widget and the page is what `web/` says: by digest always, built anew and compared where Node is.

`python -m checks.web` checks; `python -m checks.web build` builds and records. The record stands beside what was built.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from checks.node import ROOT, Node, find_node, why_missing

WEB = ROOT / "web"
BUILT = ROOT / "server" / "page" / "assets"
RECORD = "build.json"
FILES = ("page.css", "page.js", "widget.js")
ALONE = ("package.json", "package-lock.json", "build.mjs", "tsconfig.json")
TIMEOUT_S = 300


def sources_digest(web: Path) -> str:
    """The digest of all that decides what is built."""
    digest = hashlib.sha256()
    sources = [path for path in sorted((web / "src").rglob("*")) if path.is_file()]
    for path in [*(web / name for name in ALONE), *sources]:
        digest.update(path.relative_to(web).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def record_of(web: Path, built: Path) -> dict[str, object]:
    """What the record must say: the sources, and each built file."""
    return {"sources": sources_digest(web), "files": {name: _digest(built / name) for name in FILES}}


def stale(web: Path, built: Path) -> list[str]:
    """What does not fit together; empty: all is as it was built."""
    try:
        recorded = cast("dict[str, object]", json.loads((built / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return [f"{RECORD} is missing or cannot be read"]
    wanted = record_of(web, built)
    files = cast("Mapping[str, str]", wanted["files"])
    said = cast("Mapping[str, str]", recorded.get("files", {}))
    changed = [f"{name} is not what was built" for name in FILES if files[name] != said.get(name)]
    return changed + (["web/ has changed since it was built"] if wanted["sources"] != recorded.get("sources") else [])


def differing(built: Path, anew: Path) -> list[str]:
    """The files that a build makes otherwise than they ship."""
    return [f"{name} is built otherwise" for name in FILES if _digest(built / name) != _digest(anew / name)]


def check() -> int:
    """Digests, and with Node the types, the tests and a build that is compared; exit status."""
    faults = stale(WEB, BUILT)
    missing = why_missing(WEB)
    node = find_node()
    if missing is None and node is not None and not faults:
        faults = _rebuilt(node)
    for fault in faults:
        print(f"web: {fault}; `make web` builds it", file=sys.stderr)
    if not faults:
        how = "built anew and the same" if missing is None else f"by digest; not built anew: {missing}"
        print(f"web: what ships is what the sources say ({how})")
    return 1 if faults else 0


def build() -> int:
    """Build into where it ships from, and record it; exit status."""
    missing, node = why_missing(WEB), find_node()
    if missing is not None or node is None:
        print(f"web: cannot be built: {missing}", file=sys.stderr)
        return 1
    if not _ran(node, ["build.mjs", str(BUILT)]):
        return 1
    (BUILT / RECORD).write_text(json.dumps(record_of(WEB, BUILT), indent=2) + "\n", encoding="utf-8")
    print("web: built")
    return 0


def _rebuilt(node: Node) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="glow-web-") as folder:
        if not _ran(node, ["node_modules/typescript/bin/tsc", "--noEmit"]):
            return ["its types do not hold"]
        if not _ran(node, ["test.mjs"], quiet=True):
            return ["its tests fail"]
        if not _ran(node, ["build.mjs", folder]):
            return ["it cannot be built"]
        return differing(BUILT, Path(folder))


def _ran(node: Node, words: Sequence[str], *, quiet: bool = False) -> bool:
    command = [str(node.program), *words]
    done = subprocess.run(
        command, cwd=WEB, env=node.environment(), check=False, timeout=TIMEOUT_S, capture_output=quiet, text=True
    )
    if quiet and done.returncode != 0:
        print(done.stdout, file=sys.stderr)
    return done.returncode == 0


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


if __name__ == "__main__":
    sys.exit(build() if sys.argv[1:] == ["build"] else check())
