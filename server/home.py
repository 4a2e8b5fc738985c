"""GLOW_HOME: the folder of the embedded database, of files, and of the secrets that no environment variable gave."""

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import platformdirs

JWT_SECRET = "jwt_secret"  # noqa: S105 - a name
"""Name of the secret that signs tokens where GLOW_JWT_SECRET is not set; made by `glow demo`."""

LEDGER_KEY = "ledger_key"
"""Name of the key that signs the ledger's heads where GLOW_LEDGER_KEY is not set; made when the first is signed."""

ADDRESS = "address"
"""Name of the file that says where the server is; locked for as long as one runs."""
LONGEST_ADDRESS = 2048

ROOT_HOME = Path("/var/lib/glow")
LOCK_WAIT_S = 120.0
LOCK_POLL_S = 0.02


class HomeUnusable(Exception):
    """GLOW_HOME cannot be used by this account; the message says what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"GLOW_HOME {path} cannot be used: {reason}; set GLOW_HOME to a folder of your own")
        self.path = path


def source_root() -> Path:
    """The folder that holds the packages, `manifests/` and `migrations/`: a checkout, or an installation's."""
    return Path(__file__).resolve().parent.parent


def default_home(root: Path) -> Path:
    """Where GLOW_HOME is when nobody says: `.glow` in a checkout, else the account's data folder."""
    if (root / "pyproject.toml").is_file() and (root / "Makefile").is_file():
        return root / ".glow"
    return ROOT_HOME if os.geteuid() == 0 else Path(platformdirs.user_data_dir("glow", appauthor=False))


@dataclass(frozen=True, slots=True)
class GlowHome:
    """The folder of one installation; made when first used, closed to other accounts."""

    path: Path

    @classmethod
    def resolve(cls, configured: Path | None = None, *, root: Path | None = None) -> "GlowHome":
        """The home that was configured, else the default for `root` (where the packages lie)."""
        chosen = configured or default_home(root or source_root())
        return cls(chosen.expanduser().absolute())

    def ensure(self) -> Path:
        """The folder, made if it was not there.

        Raises  HomeUnusable: it is another account's, or cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=self._mode())
        except OSError as error:
            raise HomeUnusable(self.path, error.strerror or str(error)) from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise HomeUnusable(self.path, "this account may not write there")
        return self.path

    def secret(self, name: str) -> str | None:
        """The secret kept under `name`, None when none was made."""
        return self._read().get(name)

    def make_secret(self, name: str) -> str:
        """The secret kept under `name`, made of 256 random bits if there is none.

        Effect  writes secrets.json (mode 0600) atomically, under a lock shared by every process of this home.
        """
        return self.make_secrets((name,))[name]

    def make_secrets(self, names: tuple[str, ...]) -> dict[str, str]:
        """`make_secret` for several names at once."""
        self.ensure()
        with exclusive(self.path / "secrets.lock"):
            kept = self._read()
            missing = {name: secrets.token_urlsafe(32) for name in names if name not in kept}
            if missing:
                self._write(kept | missing)
        return {name: (kept | missing)[name] for name in names}

    @contextlib.contextmanager
    def served_at(self, url: str) -> Generator[None]:
        """For the length of the block, tells the commands of this home where the server is reached.

        The first of several servers is the one that is told; a home that cannot be written tells of none.
        """
        try:
            descriptor = open_lock(self.ensure() / ADDRESS)
        except (HomeUnusable, OSError):
            yield
            return
        try:
            # A disk that is full or knows no locks keeps nobody from serving.
            with contextlib.suppress(OSError):
                if try_lock(descriptor, fcntl.LOCK_EX):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, url.encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def address(self) -> str | None:
        """Where a server of this home is reached; None: none runs, and what a killed one left counts for nothing."""
        try:
            descriptor = os.open(self.path / ADDRESS, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            runs = not try_lock(descriptor, fcntl.LOCK_SH)
            return (os.read(descriptor, LONGEST_ADDRESS).decode() or None) if runs else None
        except OSError:
            return None
        finally:
            os.close(descriptor)

    @property
    def _file(self) -> Path:
        return self.path / "secrets.json"

    def _mode(self) -> int:
        # The embedded server of root runs as another account, which must pass through but not look around.
        return 0o711 if os.geteuid() == 0 else 0o700

    def _read(self) -> dict[str, str]:
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise HomeUnusable(self.path, "its secrets belong to another account") from error
        return cast("dict[str, str]", json.loads(text))

    def _write(self, content: dict[str, str]) -> None:
        # mkstemp gives mode 0600 from the first byte on; the rename makes the change whole or absent.
        descriptor, name = tempfile.mkstemp(dir=self.path, prefix=".secrets-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, self._file)


@contextlib.contextmanager
def exclusive(path: Path, *, wait_s: float = LOCK_WAIT_S) -> Generator[None]:
    """Holds the file lock at `path` alone, among threads and processes; the kernel frees it if the holder dies.

    Raises  TimeoutError: another process held it for `wait_s` seconds.
    """
    descriptor = open_lock(path)
    try:
        wait_until(lambda: try_lock(descriptor, fcntl.LOCK_EX), wait_s, f"{path} is held by another process")
        yield
    finally:
        os.close(descriptor)


def open_lock(path: Path) -> int:
    """A descriptor to lock with; never inherited by a program that is started."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, kind: int) -> bool:
    """Whether the lock (LOCK_EX or LOCK_SH) was free and is now held."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_until(condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    """Returns once `condition` holds.

    Raises  TimeoutError: it did not within `timeout_s` seconds; the message is `otherwise`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(otherwise)
        time.sleep(LOCK_POLL_S)
