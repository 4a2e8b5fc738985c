"""The embedded PostgreSQL: one server for all processes that share a GLOW_HOME, stopped by the last one out."""

import fcntl
import hashlib
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from server.database.binaries import for_account, installed, reachable, server_account
from server.database.bootstrap import bootstrap
from server.database.cluster import HOST, SUPERUSER, Cluster
from server.database.errors import EmbeddedFailed
from server.home import ROOT_HOME, GlowHome, exclusive, open_lock, try_lock
from server.logins import DATABASE_NAME, DatabaseAddress, DatabaseUrls, Login

SETTINGS: Mapping[str, str] = {
    "shared_buffers": "128MB",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedOptions:
    """How an embedded server differs from the demo's; tests trade durability for speed."""

    major: int = 18
    """PostgreSQL 18, or 16, the oldest that is supported."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings of postgresql.conf over SETTINGS; those of the process that starts the server count."""
    root_store: Path = ROOT_HOME
    """Where root puts what the server's account must reach when it cannot reach GLOW_HOME."""


class EmbeddedServer:
    """This process's share of a running embedded server; it runs until the last share is released."""

    def __init__(self, *, cluster: Cluster, address: DatabaseAddress, lock: Path, share: int) -> None:
        self.cluster = cluster
        self.address = address
        self._lock = lock
        self._share: int | None = share

    def dsn(self, role: str) -> str:
        """The URL under which `role` (a Login, or `postgres`, the superuser) connects."""
        return self.address.dsn(role)

    def urls(self) -> DatabaseUrls:
        """The URLs of the four logins."""
        return self.address.urls()

    def superuser(self, script: str, *, database: str = "postgres") -> str:
        """What psql prints for a script run by the superuser; for preparation only, never on the path of a call."""
        return self.cluster.sql(script, port=self.address.port, database=database)

    def release(self) -> None:
        """Gives the share back; stops the server if no process holds another. Doing it twice does nothing."""
        if self._share is None:
            return
        with exclusive(self._lock):
            os.close(self._share)
            self._share = None
            if _nobody_holds(_shares(self._lock)):
                self.cluster.stop()


def acquire(home: GlowHome, options: EmbeddedOptions | None = None) -> EmbeddedServer:
    """A share of the embedded server of `home`, which runs and is bootstrapped when this returns.

    The first caller makes and starts it. A share is a file lock, which the kernel frees when its process dies, so a
    killed process stops nothing and blocks nothing: whoever is last out next stops the server.
    Blocking (0.1 to 0.3 s warm): call it before the event loop runs, or in a thread.
    Raises  EmbeddedFailed: the server cannot be made or started.  HomeUnusable: `home` is another account's.
    """
    cluster, passwords = _prepare(home, options or EmbeddedOptions())
    lock = cluster.folder.parent / f"{cluster.folder.name}.lock"
    with exclusive(lock):
        port = cluster.start()
        share = open_lock(_shares(lock))
        # Nobody holds this lock alone but under the lock above, so a share is always free here.
        try_lock(share, fcntl.LOCK_SH)
        try:
            bootstrap(lambda script: cluster.sql(script, port=port), passwords)
        except EmbeddedFailed:
            os.close(share)
            raise
    address = DatabaseAddress(host=HOST, port=port, database=DATABASE_NAME, passwords=passwords)
    return EmbeddedServer(cluster=cluster, address=address, lock=lock, share=share)


@contextmanager
def embedded(home: GlowHome, options: EmbeddedOptions | None = None) -> Generator[EmbeddedServer]:
    """`acquire` for the length of a block."""
    server = acquire(home, options)
    try:
        yield server
    finally:
        server.release()


def _prepare(home: GlowHome, options: EmbeddedOptions) -> tuple[Cluster, Mapping[str, str]]:
    home.ensure()
    passwords = _passwords(home)
    store = _store(home, options, passwords[SUPERUSER])
    folder = store / f"postgres-{options.major}"
    account = server_account(folder)
    cluster = Cluster(
        folder=folder,
        binaries=for_account(installed(options.major), account, options.root_store),
        account=account,
        password=passwords[SUPERUSER],
        settings={**SETTINGS, **options.settings},
    )
    return cluster, passwords


def _passwords(home: GlowHome) -> Mapping[str, str]:
    roles = (SUPERUSER, *Login)
    kept = home.make_secrets(tuple(f"{role}_password" for role in roles))
    return {str(role): kept[f"{role}_password"] for role in roles}


def _store(home: GlowHome, options: EmbeddedOptions, secret: str) -> Path:
    """Where the data folder lies: in GLOW_HOME; as root and below a closed folder, in a place `nobody` can reach.

    That place is named after the home's own secret: whoever removes GLOW_HOME starts afresh, and a new home never
    meets the data, or the passwords, of an old one.
    """
    account = server_account(home.path / f"postgres-{options.major}")
    if account is None or reachable(home.path, account):
        return home.path
    store = options.root_store / "homes" / hashlib.sha256(secret.encode()).hexdigest()[:16]
    store.mkdir(parents=True, exist_ok=True, mode=0o711)
    return store


def _shares(lock: Path) -> Path:
    return lock.with_suffix(".shares")


def _nobody_holds(shares: Path) -> bool:
    descriptor = open_lock(shares)
    try:
        return try_lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)
