"""A person's data as a ZIP archive, page by page: no connection is held between pages, and one page is in memory."""

import hashlib
import io
import zipfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import cast

import orjson
import structlog

from domain.kernel import CallId
from domain.privacy.model import PARTS
from domain.privacy.readme import readme
from server.database.unit_of_work import Session, is_lost
from server.problems import Problem
from tools.ports import Unavailable

log = structlog.get_logger()

Open = Callable[[], AbstractAsyncContextManager[Session]]
"""A session of whoever exports; each page asks the record anew whether that may be."""
Json = dict[str, object]

MEDIA_TYPE = "application/zip"
JSON_TEXTS = frozenset({"arguments", "content", "evidence", "input", "result", "usage"})
"""Columns whose text is JSON: a person reads it as what it is."""


async def archived(
    open_session: Open, call_id: CallId, export: Mapping[str, object], organization: str, at: datetime
) -> AsyncGenerator[bytes]:
    """What the call `privacy_export` or `privacy_export_own` has named, some bytes at a time.

    Where it cannot be read to its end, a file BROKEN-OFF.txt says so, and there is no manifest.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry("README.txt", at), readme(organization, str(export["person"]), at))
        manifest: Json = {
            "person": export["person"],
            "user_id": export["user_id"],
            "organization": organization,
            "exported_at": at.isoformat(),
            "call_id": str(call_id),
        }
        files: list[Json] = []
        try:
            for part in cast("list[str]", export["parts"]):
                file: Json = {"file": f"data/{part}.ndjson", "about": PARTS[part]}
                async for some in _part(archive, sink, open_session, call_id, part, at, file):
                    yield some
                files.append(file)
            archive.writestr(_entry("manifest.json", at), orjson.dumps({**manifest, "files": files}, option=_INDENT))
        except Exception as fault:
            if not _is_away(fault):
                raise
            log.warning("privacy.export_broken_off", reason=type(fault).__name__)
            archive.writestr(_entry("BROKEN-OFF.txt", at), "This archive is not whole. Ask for it again.\n")
    yield sink.taken()


_INDENT = orjson.OPT_INDENT_2


async def _part(
    archive: zipfile.ZipFile,
    sink: "_Sink",
    open_session: Open,
    call_id: CallId,
    part: str,
    at: datetime,
    file: Json,
) -> AsyncGenerator[bytes]:
    """One file; its count and its SHA-256 stand in `file` afterwards."""
    digest, count, behind = hashlib.sha256(), 0, None
    with archive.open(_entry(f"data/{part}.ndjson", at), "w", force_zip64=True) as written:
        while True:
            async with open_session() as session:
                page = await session.work.privacy.rows(call_id, part, behind)
            if not page.rows:
                break
            lines = b"".join(_line(row) for row in page.rows)
            digest.update(lines)
            written.write(lines)
            count, behind = count + len(page.rows), page.behind
            yield sink.taken()
    file |= {"entries": count, "sha256": digest.hexdigest()}


def _line(row: str) -> bytes:
    """A row as the person reads it: JSON within text opened, and nothing where nothing is."""
    shown = cast(Json, orjson.loads(row))
    return orjson.dumps({name: _opened(name, value) for name, value in shown.items() if value is not None}) + b"\n"


def _opened(name: str, value: object) -> object:
    if name not in JSON_TEXTS or not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _entry(name: str, at: datetime) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, at.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _is_away(fault: Exception) -> bool:
    return isinstance(fault, Problem | Unavailable) or is_lost(fault)


class _Sink(io.RawIOBase):
    """What the archive has written and nobody has taken yet; it is never read back, so nothing of it is kept."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """As a file that is no more than written to."""
        return True

    def seekable(self) -> bool:
        """Sizes come behind what they are of."""
        return False

    def write(self, data: object, /) -> int:
        """Hold some more."""
        some = bytes(cast(bytes, data))
        self._held += some
        return len(some)

    def taken(self) -> bytes:
        """All that is held, which is held no more."""
        some = bytes(self._held)
        self._held.clear()
        return some
