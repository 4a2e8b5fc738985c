"""A folder as a source: what lies below a root that the operator has set, and nothing that a link leads to.

Each name is opened from the folder above it, never by a whole path, and a link is not followed: what is swapped for a
link between the look and the read is refused, not read. Source  openat(2), O_NOFOLLOW.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote, unquote_to_bytes

import orjson

from knowledge.sources.port import (
    EVERYONE,
    Changes,
    Content,
    Found,
    ItemUnavailable,
    ItemUnreadable,
    SourceRefused,
    SourceUnavailable,
)

PAGE: Final = 500
"""Items of one page."""
DEEPEST: Final = 64
"""Folders within folders."""
_TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_TO_LIST = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY
_CLOSED_OFF = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Of a folder inside: it is not there any more, or not for this server; what was in it is gone."""
_PASSED_OVER = (b".", b"~$")
"""How names begin of what nobody means to keep: hidden files, and the locks of office programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRoot:
    """A folder below which an organization's sources may read."""

    path: Path
    organizations: frozenset[str] | None = None
    """By their slugs; None: every organization's."""


Roots = Callable[[], Sequence[FolderRoot]]
"""The roots that the operator's file names now."""


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """Opens folders below the operator's roots."""

    lasting: ClassVar[frozenset[str]] = frozenset({"path"})

    roots: Roots

    def check(self, settings: Mapping[str, object], organization: str) -> Mapping[str, object]:
        """The settings with the folder's path as it is.

        Raises  SourceRefused.
        """
        if set(settings) != {"path"} or not isinstance(settings["path"], str):
            raise SourceRefused('settings: a folder takes {"path": "/an/absolute/path"} and nothing else')
        self._place(settings["path"], organization)
        return {"path": os.path.normpath(settings["path"])}

    @asynccontextmanager
    async def __call__(self, settings: Mapping[str, object], organization: str) -> AsyncGenerator[Folder]:
        """The folder for the length of the block.

        Raises  SourceRefused: below no root, or no folder. SourceUnavailable: it is not there.
        """
        root, parts = self._place(str(settings["path"]), organization)
        top = await asyncio.to_thread(_open_top, root, parts)
        try:
            yield Folder(top)
        finally:
            os.close(top)

    def _place(self, path: str, organization: str) -> tuple[Path, tuple[bytes, ...]]:
        """The root, and the names that lead from it to the folder.

        Raises  SourceRefused.
        """
        if not path.startswith("/") or "\0" in path or len(path) > 4000:
            raise SourceRefused("settings: path: give an absolute path")
        wanted = Path(os.path.normpath(path))
        for root in self.roots():
            allowed = root.organizations is None or organization in root.organizations
            if allowed and wanted.is_relative_to(root.path):
                return root.path, tuple(os.fsencode(part) for part in wanted.relative_to(root.path).parts)
        # Which roots there are is the operator's to say.
        raise SourceRefused("settings: path: not below a folder that the operator lets this organization read")


class Folder:
    """One folder, held open; satisfies Source."""

    def __init__(self, top: int) -> None:
        self._top = top

    async def changes(self, cursor: str | None) -> AsyncIterator[Changes]:
        """A complete listing, in the order of names; a folder keeps no record of what has changed.

        Raises  SourceUnavailable: it cannot be listed just now.
        """
        after = _after(cursor)
        while True:
            page = await asyncio.to_thread(_page, self._top, after)
            yield page
            if page.is_last:
                return
            after = _after(page.cursor)

    async def read(self, item: Found, most_bytes: int) -> Content:
        """Raises  ItemUnreadable, ItemUnavailable."""
        return await asyncio.to_thread(_content, self._top, item, most_bytes)


# Listing --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """What a page says besides its items."""

    closed: int = 0
    special: int = 0
    deep: int = 0

    @property
    def note(self) -> str | None:
        said = [
            (self.closed, "folders could not be listed, and count as empty"),
            (self.special, "names are links or no files, and are passed over"),
            (self.deep, "folders lie too deep, and are passed over"),
        ]
        return "; ".join(f"{count} {words}" for count, words in said if count) or None


def _page(top: int, after: tuple[bytes, ...]) -> Changes:
    seen, items, last = _Seen(), list[Found](), after
    for parts, status in _walk(top, (), after, seen):
        items.append(_found(parts, status))
        last = parts
        if len(items) == PAGE:
            return Changes(items=tuple(items), cursor=_cursor(last), is_full=True, is_last=False, note=seen.note)
    return Changes(items=tuple(items), cursor=_cursor(()), is_full=True, is_last=True, note=seen.note)


def _walk(
    folder: int, above: tuple[bytes, ...], after: tuple[bytes, ...], seen: _Seen
) -> Iterator[tuple[tuple[bytes, ...], os.stat_result]]:
    """Files in the order of their names, each folder in its place, from behind `after` on (names from this folder)."""
    first = after[0] if after else None
    for name in _names(folder, top=not above, seen=seen):
        if first is not None and name < first:
            continue
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as fault:
            if fault.errno in _CLOSED_OFF:
                continue  # gone since it was listed
            raise SourceUnavailable(f"a name cannot be looked at: {fault.strerror}") from fault
        here = (*above, name)
        if stat.S_ISDIR(status.st_mode):
            yield from _within(folder, here, after[1:] if name == first else (), seen)
        elif not stat.S_ISREG(status.st_mode):
            seen.special += 1
        elif name != first or len(after) > 1:
            yield here, status


def _within(
    folder: int, here: tuple[bytes, ...], after: tuple[bytes, ...], seen: _Seen
) -> Iterator[tuple[tuple[bytes, ...], os.stat_result]]:
    if len(here) > DEEPEST:
        seen.deep += 1
        return
    try:
        inner = os.open(here[-1], _TO_LIST, dir_fd=folder)
    except OSError as fault:
        _closed_off(fault, seen)
        return
    try:
        yield from _walk(inner, here, after, seen)
    finally:
        os.close(inner)


def _names(folder: int, *, top: bool, seen: _Seen) -> Sequence[bytes]:
    try:
        with os.scandir(folder) as entries:
            names = [os.fsencode(entry.name) for entry in entries]
    except OSError as fault:
        if top:
            raise SourceUnavailable(f"the folder cannot be listed: {fault.strerror}") from fault
        _closed_off(fault, seen)
        return ()
    return sorted(name for name in names if not name.startswith(_PASSED_OVER))


def _closed_off(fault: OSError, seen: _Seen) -> None:
    """A folder that is closed to this server holds nothing for it; any other fault says nothing of what is in it."""
    if fault.errno not in _CLOSED_OFF:
        raise SourceUnavailable(f"a folder inside cannot be listed: {fault.strerror}") from fault
    seen.closed += 1


def _found(parts: tuple[bytes, ...], status: os.stat_result) -> Found:
    known = f"{status.st_dev:x}.{status.st_ino:x}.{status.st_size}.{status.st_mtime_ns}"
    return Found(
        # A file that another is written over keeps its place: that place is what it is known by.
        key=hashlib.sha256(b"/".join(parts)).hexdigest(),
        path="/".join(map(_shown, parts)),
        version=f"{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}",
        media_type=None,
        size=status.st_size,
        readers=EVERYONE,
        # One file under two names is two items; neither has moved from the other's place.
        identity=known if status.st_nlink == 1 else None,
    )


def _shown(name: bytes) -> str:
    """A name as it is shown; bytes that are no UTF-8 as %XX."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return quote(name, safe=" !#$&'()+,;=@[]{}~^`")


def _cursor(after: tuple[bytes, ...]) -> str:
    return orjson.dumps([part.hex() for part in after]).decode()


def _after(cursor: str | None) -> tuple[bytes, ...]:
    """Where a page begins; a cursor that is none of ours begins a new listing."""
    try:
        held = orjson.loads(cursor or "[]")
        return tuple(bytes.fromhex(part) for part in held)
    except (ValueError, TypeError):
        return ()


# Reading --------------------------------------------------------------------------------------------------------------


def _content(top: int, item: Found, most_bytes: int) -> Content:
    for parts in _ways(item.path):
        if hashlib.sha256(b"/".join(parts)).hexdigest() == item.key:
            return _read(top, parts, most_bytes)
    raise ItemUnreadable("its name leads nowhere")


def _ways(path: str) -> Iterator[tuple[bytes, ...]]:
    """The names that may be shown so."""
    shown = path.split("/")
    yield tuple(part.encode() for part in shown)
    yield tuple(_as_stored(part) for part in shown)


def _as_stored(shown: str) -> bytes:
    """What is no UTF-8 is shown as %XX, and nothing else is."""
    stored = unquote_to_bytes(shown)
    return stored if _shown(stored) == shown else shown.encode()


def _read(top: int, parts: tuple[bytes, ...], most_bytes: int) -> Content:
    if not all(_is_name(part) for part in parts):
        raise ItemUnreadable("its name leads out of its folder")
    try:
        with _folder_of(top, parts) as folder:
            file = os.open(parts[-1], _TO_READ, dir_fd=folder)
        with open(file, "rb") as opened:
            content = _bounded(opened, most_bytes)
    except OSError as fault:
        # Also where it is not there: whether it is gone, the next listing says.
        raise ItemUnavailable(f"it cannot be read: {fault.strerror}") from fault
    return Content(content=content, file_name=_shown(parts[-1]), declared_type=None)


def _bounded(opened: BufferedReader, most_bytes: int) -> bytes:
    """Raises  OSError, ItemUnreadable."""
    status = os.fstat(opened.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise ItemUnreadable("it is no file")
    content = b"" if status.st_size > most_bytes else opened.read(most_bytes + 1)
    if max(status.st_size, len(content)) > most_bytes:
        raise ItemUnreadable(f"it is larger than {most_bytes // (1024 * 1024)} MiB")
    return content


@contextmanager
def _folder_of(top: int, parts: tuple[bytes, ...]) -> Generator[int]:
    """The folder that holds the last of these names, reached name by name."""
    folder = os.dup(top)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _TO_LIST, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _is_name(part: bytes) -> bool:
    return part not in (b"", b".", b"..") and b"/" not in part and b"\0" not in part


def _open_top(root: Path, parts: tuple[bytes, ...]) -> int:
    """The folder, reached from the operator's root name by name.

    Raises  SourceRefused, SourceUnavailable.
    """
    try:
        # The root is the operator's word, links and all; below it none is followed.
        held = os.open(root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            with _folder_of(held, (*parts, b"")) as folder:
                return os.dup(folder)
        finally:
            os.close(held)
    except OSError as fault:
        if fault.errno in (errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM):
            raise SourceRefused(f"settings: path: no folder that this server may list: {fault.strerror}") from fault
        raise SourceUnavailable(f"the folder is not there just now: {fault.strerror}") from fault
