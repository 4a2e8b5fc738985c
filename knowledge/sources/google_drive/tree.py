"""Where items of a Drive lie: the folders above them, as they were read in one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final
from urllib.parse import quote

from knowledge.sources.google_drive.client import DriveClient, DriveRefused
from knowledge.sources.google_drive.wire import FOLDER_FIELDS, File

_NAMELESS: Final = "_"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveScope:
    """What of a Drive is read: a folder with all below it, a shared drive, a folder in one; else all that we see."""

    folder_id: str | None = None
    drive_id: str | None = None

    @property
    def root_id(self) -> str | None:
        return self.folder_id or self.drive_id


@dataclass(slots=True)
class Tree:
    """The folders that were met, by their ids."""

    DEEPEST: ClassVar[int] = 200
    """Folders above one another; Drive itself allows 100."""

    client: DriveClient
    scope: DriveScope
    _folders: dict[str, File | None] = field(default_factory=dict[str, File | None])
    """None: not shown to us."""
    _home: str | None = None

    def put(self, folder: File) -> None:
        """What a folder is now."""
        self._folders[folder.id] = folder

    async def folder(self, folder_id: str) -> File | None:
        """A folder; None: it is not shown to us. Raises  SourceRefused, SourceUnavailable."""
        if folder_id not in self._folders:
            self._folders[folder_id] = await self._asked(folder_id)
        return self._folders[folder_id]

    async def path_of(self, file: File) -> str | None:
        """Its name behind those of the folders that it lies in; None: outside of what is read, or in the trash.

        Raises  SourceRefused, SourceUnavailable.
        """
        if file.trashed:
            return None
        for parent in file.parents:
            above = await self._above(parent)
            if above is not None:
                return "/".join((*above, _clean(file.name)))
        return None if file.parents or self.scope.root_id is not None else _clean(file.name)

    async def _above(self, folder_id: str) -> list[str] | None:
        """The names of the folders from the root down to this one; None: it does not lie in what is read."""
        top = self.scope.root_id or await self._home_id()
        names: list[str] = []
        at = folder_id
        for _ in range(self.DEEPEST):
            if at == top:
                return names[::-1]
            folder = await self.folder(at)
            if folder is None:
                break
            if folder.trashed:
                return None
            names.append(_clean(folder.name))
            if not folder.parents:
                break
            at = folder.parents[0]
        return None if self.scope.root_id is not None else names[::-1]

    async def _home_id(self) -> str:
        """The id of the account's own "My Drive", which no path names."""
        if self._home is None:
            self._home = (await self.client.ask(File, "files/root", {"fields": "id"})).id
        return self._home

    async def _asked(self, folder_id: str) -> File | None:
        try:
            return await self.client.ask(
                File, f"files/{quote(folder_id, safe='')}", {"fields": FOLDER_FIELDS, "supportsAllDrives": True}
            )
        except DriveRefused as refused:
            if refused.status in (403, 404):
                return None
            raise


def _clean(name: str) -> str:
    """A name that stands between slashes: Drive lets one hold them, and be empty."""
    shown = "".join("_" if each == "/" or not each.isprintable() else each for each in name).strip()
    return shown if shown not in ("", ".", "..") else _NAMELESS
