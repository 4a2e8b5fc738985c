"""The four logins of the database and where each connects; everything that opens a connection begins here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never
from urllib.parse import quote

DATABASE_NAME = "glow"


class Login(StrEnum):
    """A role of the database; separate logins, never SET ROLE from one to another."""

    OWNER = "glow_owner"
    """Migrates and owns the schema; no superuser, no BYPASSRLS."""
    APP = "glow_app"
    """Runs the server under Row Level Security; owns nothing."""
    RECORDER = "glow_recorder"
    """Appends events for any organization and reads nothing."""
    SERVICE = "glow_service"
    """Does what must cross organizations, by explicit policies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrls:
    """One connection URL a login; they hold passwords, so they never show in a repr."""

    app: str = field(repr=False)
    recorder: str = field(repr=False)
    service: str = field(repr=False)
    owner: str | None = field(default=None, repr=False)
    """None where the process is not trusted to migrate."""

    def url(self, login: Login) -> str | None:
        """The URL of `login`; None only for an owner that was not given."""
        match login:
            case Login.OWNER:
                return self.owner
            case Login.APP:
                return self.app
            case Login.RECORDER:
                return self.recorder
            case Login.SERVICE:
                return self.service
            case _:
                assert_never(login)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """A database on a server, with the password of each login."""

    host: str
    port: int
    database: str
    passwords: Mapping[str, str] = field(repr=False)

    def dsn(self, role: str) -> str:
        """The URL under which `role` connects."""
        return (
            f"postgresql://{quote(role)}:{quote(self.passwords[role])}@{self.host}:{self.port}/{quote(self.database)}"
        )

    def urls(self) -> DatabaseUrls:
        """The URLs of all four logins."""
        return DatabaseUrls(
            app=self.dsn(Login.APP),
            recorder=self.dsn(Login.RECORDER),
            service=self.dsn(Login.SERVICE),
            owner=self.dsn(Login.OWNER),
        )
