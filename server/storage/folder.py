"""A folder that keeps files by their digests: each is whole or not there, and nothing outside of it is touched."""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import UUID

from knowledge.model import FileKey
from server.storage.fault import StorageUnavailable

_ORGANIZATION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FIRST = re.compile(r"[0-9a-f]{2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PART = ".part"
_SEEN_AT_ONCE = 1000

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FolderStorage:
    """Storage in `root/organization/two digits/digest`. Names come of ids and digests, and of nobody's words."""

    root: Path

    @property
    def place(self) -> str:
        return f"folder {self.root}"

    async def put(self, key: FileKey, content: bytes) -> None:
        """Raises  StorageUnavailable."""
        await asyncio.to_thread(_guarded(self._put), key, content)

    async def get(self, key: FileKey) -> bytes | None:
        """Raises  StorageUnavailable."""
        return await asyncio.to_thread(_guarded(self._get), key)

    async def has(self, key: FileKey) -> bool:
        """Raises  StorageUnavailable."""
        return await asyncio.to_thread(_guarded(self._has), key)

    async def delete(self, key: FileKey) -> None:
        """Raises  StorageUnavailable."""
        await asyncio.to_thread(_guarded(self._delete), key)

    async def older(self, than: datetime) -> AsyncIterator[FileKey]:
        """Raises  StorageUnavailable."""
        found = self._older(than.timestamp())
        while some := await asyncio.to_thread(_guarded(_some), found):
            for key in some:
                yield key

    def _path(self, key: FileKey) -> Path:
        return self.root / str(key.organization_id) / key.hex[:2] / key.hex

    def _put(self, key: FileKey, content: bytes) -> None:
        """Beside its place first, and into it once it is on the disk: a crash leaves the whole or nothing."""
        path = self._path(key)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(exist_ok=True, mode=0o700)
        descriptor, beside = tempfile.mkstemp(dir=path.parent, suffix=_PART)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
        for folder in (path.parent, path.parent.parent):
            _sync(folder)

    def _get(self, key: FileKey) -> bytes | None:
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def _has(self, key: FileKey) -> bool:
        path = self._path(key)
        return path.is_file() and not path.is_symlink()

    def _delete(self, key: FileKey) -> None:
        self._path(key).unlink(missing_ok=True)

    def _older(self, than: float) -> Iterator[FileKey]:
        """What is ours by its name; what a crash left half written goes on the way. No link is followed."""
        for organization in _entries(self.root, _ORGANIZATION):
            for first in _entries(Path(organization), _FIRST):
                for file in os.scandir(first):
                    if not file.is_file(follow_symlinks=False) or file.stat(follow_symlinks=False).st_mtime >= than:
                        continue
                    if file.name.endswith(_PART):
                        Path(file.path).unlink(missing_ok=True)
                    elif _DIGEST.fullmatch(file.name):
                        yield FileKey(organization_id=UUID(Path(organization).name), digest=bytes.fromhex(file.name))


def _some(found: Iterator[FileKey]) -> list[FileKey]:
    return list(islice(found, _SEEN_AT_ONCE))


def _entries(folder: Path, name: re.Pattern[str]) -> Iterator[str]:
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False) and name.fullmatch(entry.name):
            yield entry.path


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _guarded(work: Callable[P, R]) -> Callable[P, R]:
    """The same, with what the machine says in the words of a place of files."""

    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except OSError as fault:
            raise StorageUnavailable(f"the folder of files: {fault.strerror or type(fault).__name__}") from fault

    return guarded
