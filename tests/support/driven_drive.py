"""A firm's folder on the fake Drive, what people do to it, and the source that reads it."""

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import md5

import httpx2

from knowledge.sources.google_drive.client import USUAL, DriveClient, Manners, Surroundings
from knowledge.sources.google_drive.source import DriveSource
from knowledge.sources.google_drive.tokens import AccessTokens, credentials_of
from knowledge.sources.google_drive.tree import DriveScope
from tests.support.fake_drive import FOLDER, OWNER, ROBOT, FakeDrive, Grant, person_credentials

PEOPLE = ("partner@acme.example", "manager@acme.example", "employee@acme.example", "stranger@elsewhere.example")


def shared_with_robot() -> list[Grant]:
    """As a firm shares a folder with a service account that shall see who reads it."""
    return [Grant("user", OWNER, "owner"), Grant("user", ROBOT, "writer")]


@dataclass(slots=True)
class Firm:
    """A folder that the robot reads, one beside it that is shared with it too, and one that is not."""

    drive: FakeDrive
    root: str
    beside: str
    private: str
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    people: tuple[str, ...] = PEOPLE

    def within(self, *, folders: bool) -> list[str]:
        """What lies below the root, folders or files."""
        return [each for each in self.drive.below(self.root) if (self.drive.items[each].mime == FOLDER) == folders]

    def grow(self, count: int, folders: int) -> None:
        """So many files in so many folders, each with words of its own."""
        places = [self.root]
        for number in range(folders):
            places.append(self.drive.folder(f"Folder {number}", self.chance.choice(places)))
        for number in range(count):
            self.add(self.chance.choice(places), f"paper {number}")

    def add(self, folder: str, name: str) -> str:
        """A file with words that no other file has, for some of the people."""
        readers = self.chance.sample(self.people, self.chance.randint(0, 2))
        words = f"The {name} of {self.chance.randint(0, 10**9)} is about depreciation."
        return self.drive.add(f"{name}.txt", folder, words.encode(), grants=[Grant("user", each) for each in readers])

    def edit(self) -> str:
        """One of the things that people do, somewhere; what it was."""
        files, folders = self.within(folders=False), self.within(folders=True)
        item = self.chance.choice([*files, *folders]) if files or folders else self.add(self.root, "first")
        act = self.chance.choice(
            ("add", "add", "folder", "write", "rename", "move", "out", "back", "trash", "restore", "delete", "grant",
             "limit", "unlimit")
        )  # fmt: skip
        places = [self.root, *folders]
        match act:
            case "add":
                self.add(self.chance.choice(places), f"note {self.chance.randint(0, 999)}")
            case "folder":
                self.drive.folder(f"New {self.chance.randint(0, 999)}", self.chance.choice(places))
            case "write" if files:
                self.drive.write(self.chance.choice(files), f"Now it says {self.chance.random()}.".encode())
            case "move" | "out" | "back":
                self._move_somewhere(act, item, places)
            case "limit" | "unlimit" if folders:
                self.drive.limit(self.chance.choice(folders), limited=act == "limit")
            case _:
                self._touch(act, item)
        return act

    def _touch(self, act: str, item: str) -> None:
        match act:
            case "rename":
                self.drive.rename(item, f"renamed/{self.chance.randint(0, 999)}")
            case "trash" | "restore":
                self.drive.trash(item, trashed=act == "trash")
            case "delete" if self.chance.random() < 0.4:
                self.drive.delete(item)
            case "grant":
                readers = self.chance.sample(self.people, self.chance.randint(0, 3))
                self.drive.grant(item, [Grant("user", each) for each in readers])
            case _:
                pass

    def _move_somewhere(self, act: str, item: str, places: list[str]) -> None:
        outside = [*self.drive.below(self.beside), *self.drive.below(self.private)]
        if act == "back" and outside:
            self._move(self.chance.choice(outside), self.chance.choice(places))
        elif act == "move":
            self._move(item, self.chance.choice(places))
        elif act == "out":
            self._move(item, self.chance.choice((self.beside, self.private)))

    def _move(self, item: str, parent: str) -> None:
        if item != parent and parent not in self.drive.below(item):
            self.drive.move(item, parent)

    def expected(self) -> Mapping[str, tuple[str, frozenset[str], str]]:
        """What is to be known of each file: path, readers, version."""
        return {
            key: (path, readers, f"file:{md5(content).hexdigest()}")
            for key, (path, readers, content) in self.drive.readable(self.root).items()
        }


def firm(
    *,
    page: int = 7,
    tells_below: bool = False,
    seed: int = 0,
    files: int = 20,
    folders: int = 6,
    people: tuple[str, ...] = PEOPLE,
) -> Firm:
    """A Drive with a firm's folder on it."""
    drive = FakeDrive(page=page, tells_below=tells_below)
    top = drive.folder("My Drive", None, [Grant("user", OWNER, "owner")], item_id="root-of-owner@acme.example")
    root = drive.folder("Audit", top, [Grant("user", ROBOT, "writer")])
    beside = drive.folder("Beside", top, [Grant("user", ROBOT, "writer")])
    private = drive.folder("Private", top)
    made = Firm(drive, root, beside, private, random.Random(seed), people)
    made.grow(files, folders)
    return made


async def no_wait(_: float) -> None:
    """Nobody waits for a fake."""


@asynccontextmanager
async def reading(
    made: Firm,
    scope: DriveScope | None = None,
    *,
    credentials: str | None = None,
    impersonated: str | None = None,
    around: Surroundings | None = None,
    manners: Manners = USUAL,
) -> AsyncGenerator[DriveSource]:
    """The source, whose every request the Drive answers without a network; its key costs nothing to read."""
    drive = made.drive
    around = around or Surroundings(sleep=no_wait)
    drive.token_url = "https://oauth2.googleapis.com/token"

    async def handle(request: httpx2.Request) -> httpx2.Response:
        target = request.url.raw_path.decode()
        status, answer, headers = drive.answer(request.method, target, _headers(request), request.content)
        if isinstance(answer, bytes):
            return httpx2.Response(status, content=answer, headers=headers)
        return httpx2.Response(status, json=answer, headers=headers)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as http:
        kept = credentials_of(credentials or person_credentials(drive.token_url, "1//robot"))
        tokens = AccessTokens(kept, impersonated, around.clock)
        client = DriveClient(http=http, tokens=tokens, manners=manners, around=around)
        yield DriveSource(client, scope or DriveScope(folder_id=made.root), clock=around.clock)


def _headers(request: httpx2.Request) -> Mapping[str, str]:
    return {name.title(): value for name, value in request.headers.items()}
