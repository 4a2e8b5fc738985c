"""What can be wrong with the database, in words for the person who can mend it; every class has one base."""

from pathlib import Path

from tools.ports import Unavailable


class DatabaseError(Exception):
    """Something about the database that the code on the path cannot mend."""


class DatabaseUnavailable(DatabaseError, Unavailable):
    """The database does not answer now; the same request may succeed later (a door answers 503)."""

    def __init__(self, login: str, reason: str) -> None:
        super().__init__(f"the database is not available as {login}: {reason}")
        self.login = login
        self.reason = reason


class DatabaseMisconfigured(DatabaseError):
    """The URL of a login does not lead to what it must; trying again does not help."""

    def __init__(self, login: str, reason: str) -> None:
        super().__init__(f"the URL of {login} is wrong: {reason}")
        self.login = login
        self.reason = reason


class EmbeddedFailed(DatabaseError):
    """The embedded PostgreSQL cannot be prepared, started or stopped."""

    def __init__(self, step: str, detail: str, log: Path | None = None) -> None:
        where = f" (server log: {log})" if log else ""
        super().__init__(f"the embedded PostgreSQL could not {step}: {detail}{where}")
        self.step = step
        self.detail = detail
        self.log = log


class MigrationRefused(DatabaseError):
    """Migrating would be wrong here; nothing was changed by the step that was refused."""


class MigrationFailed(DatabaseError):
    """A migration's SQL failed; its transaction was rolled back and earlier files stay applied."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"migration {name} failed and was rolled back: {reason}")
        self.name = name
        self.reason = reason
