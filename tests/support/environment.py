"""The environment of a command under test: what this machine says of installations is kept out of it."""

import logging
import socket
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import structlog

from server.logins import Login
from server.settings import Settings
from tests.support.database import Database

JWT_SECRET = "a secret of the tests, long enough for HS256"


@contextmanager
def bare_environment(folder: Path) -> Generator[pytest.MonkeyPatch]:
    """No setting but GLOW_HOME, below `folder`, where there is no `.env`; at the end the process's own logs again."""
    with own_logs_again(), pytest.MonkeyPatch.context() as monkeypatch:
        for name in names_of_settings():
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("GLOW_HOME", str(folder / "home"))
        yield monkeypatch


@contextmanager
def own_logs_again() -> Generator[None]:
    """What `configure_logs` sets in the block is as before behind it: for the other tests of this process too."""
    root, configuration = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        structlog.configure(**configuration)


def unused_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def names_of_settings() -> list[str]:
    """The environment variables that settings are read from."""
    return [str(field.validation_alias) for field in Settings.model_fields.values()]


def external(database: Database) -> dict[str, str]:
    """The settings that name a database with all its logins, and a secret to sign tokens with."""
    return {
        "DATABASE_URL": database.dsn(Login.APP),
        "GLOW_OWNER_DATABASE_URL": database.dsn(Login.OWNER),
        "GLOW_RECORDER_DATABASE_URL": database.dsn(Login.RECORDER),
        "GLOW_SERVICE_DATABASE_URL": database.dsn(Login.SERVICE),
        "GLOW_JWT_SECRET": JWT_SECRET,
    }
