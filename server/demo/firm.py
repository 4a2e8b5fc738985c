"""What demo/firm.yaml says, parsed: people, mandates, documents and tasks of each organization."""

import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from domain.kernel import Audience, Level, Role, Trust
from domain.releases.model import ControlName
from tools.yaml_files import read_yaml

_NAMESPACE = UUID("5d0f3a58-2f0e-4a86-9a9e-7d0c8f1b6a11")
"""Of the demo firm's ids, which are therefore the same in every installation."""


class _Part(BaseModel):
    """Keys that only people read are allowed and left aside."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Autonomy(_Part):
    floor: str
    ceiling: str


class Person(_Part):
    email: str
    name: str
    role: Role
    autonomy: Autonomy
    engagements: tuple[str, ...] = ()


class ServiceAccount(_Part):
    name: str
    display_name: str


class DemoEngagement(_Part):
    slug: str
    name: str
    kind: str
    client: str


class DemoDocument(_Part):
    folder: str
    file: str
    title: str
    audience: Audience
    trust: Trust
    engagement: str | None = None


class DemoTask(_Part):
    title: str
    description: str = ""
    kind: str | None = None
    status: Literal["open", "in_progress", "done", "cancelled"] = "open"
    audience: Audience = "firm"
    engagement: str | None = None
    assignee: str | None = None
    created_by: str | None = None
    due_on: date | None = None


class PastTask(_Part):
    """A task that came up every month; `{month}` in its title is that month."""

    title: str
    description: str
    search: str
    engagement: str | None = None


class DemoHistory(_Part):
    """A year in which the agent reported tasks done, and somebody looked at each."""

    sets: str
    tool: str
    ceiling: str
    reason: str
    asks: str
    decides: str
    tasks: tuple[PastTask, ...]
    rejected: dict[int, str] = {}
    """By the task's number of the year, from 0: with which words."""


class DemoRule(_Part):
    """What somebody sets by hand: a call of the tool with these arguments."""

    name: str
    """By which it is known whether it was made."""
    by: str
    tool: str
    arguments: dict[str, object]


class DemoOrganization(_Part):
    slug: str
    name: str
    users: tuple[Person, ...]
    service_account: ServiceAccount
    engagements: tuple[DemoEngagement, ...]
    documents: tuple[DemoDocument, ...]
    tasks: tuple[DemoTask, ...]
    release_controls: dict[ControlName, tuple[str, ...]] = {}
    history: DemoHistory | None = None
    rules: tuple[DemoRule, ...] = ()

    def id(self, kind: str, name: str = "") -> UUID:
        """The id of one of this organization's things."""
        return uuid5(_NAMESPACE, f"{self.slug}/{kind}/{name}")

    @property
    def service_email(self) -> str:
        """Where nobody reads: the service account's address."""
        domain = self.users[0].email.partition("@")[2]
        return f"{self.service_account.name}@{domain}"


class DemoFirm(_Part):
    organizations: tuple[DemoOrganization, ...]


@cache
def load_firm(folder: Path) -> DemoFirm:
    """The demo firm that the folder describes, read once."""
    return DemoFirm.model_validate(read_yaml(folder / "firm.yaml"))


def level_of(word: str) -> Level:
    """The level a file names, "L2" say."""
    if not re.fullmatch("L[0-3]", word):
        raise ValueError(f"{word!r} is no level")
    return Level[word]
