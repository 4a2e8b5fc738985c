"""A folder of hostile and odd files is taken in: each ends ready or refused in words, and nothing else is touched."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from domain.kernel import Principal
from server.auth import Caller
from server.cli.ingesting import Ingested, taken_in
from server.database.connection import Connection
from server.hub import Hub
from server.intake import Intake
from tests.support.database import Database
from tests.support.doors import in_a_task, opened_hub
from tests.support.hostile import GOOD, SECRET, hostile_folder

MOST_MEMORY = 200_000_000
"""Bytes by which the process that takes them in may grow at most meanwhile; some of the files unpack to more."""
INNARDS = re.compile(r"Traceback|Error\b|Exception|\bNone\b|0x[0-9a-f]{6}|/(?:tmp|home|work)/")
"""What no person is to be told."""


@pytest.fixture
async def hub(database: Database) -> AsyncIterator[Hub]:
    async with in_a_task(opened_hub(database)) as opened:
        yield opened


async def employee(hub: Hub) -> Principal:
    principal_id = await hub.identities.principal_by_email("employee@acme.example")
    assert principal_id is not None
    member = await hub.identities.member("acme-audit", principal_id)
    assert member is not None
    return Caller(member=member, audience="api").principal("cli")


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file's size and the time when it was written."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*") if not path.is_dir()
    }


def peak_memory() -> int:
    """Bytes that this process held at most since the mark was set back."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(peak) * 1024


def set_back_peak() -> int:
    """Bytes held now; from here on `peak_memory` counts anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return psutil.Process().memory_info().rss


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process's memory is Linux's to tell"
)
@pytest.mark.timeout(300)
async def test_each_ends_ready_or_failed_with_a_reason_and_the_next_good_file_works(
    hub: Hub, owner_connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, working, outside = tmp_path / "hostile", tmp_path / "working", tmp_path / "canary.txt"
    folder.mkdir()
    working.mkdir()
    outside.write_text(SECRET, encoding="utf-8")
    hostile_folder(folder, outside)
    good = tmp_path / "good.docx"
    good.write_bytes(GOOD)
    monkeypatch.chdir(working)
    files = sorted(path for path in folder.iterdir())
    assert len(files) >= 60
    before, principal, intake = listing(tmp_path), await employee(hub), Intake(hub)

    held = set_back_peak()
    ended: list[Ingested] = []
    for place in range(0, len(files), 10):
        # Behind each ten of them a good one: what they did must not outlast them.
        batch = [*files[place : place + 10], good]
        told = [each async for each in taken_in(intake, principal, batch, {}, _silent)]
        assert told[-1].ending == "ready", told[-1]
        ended += told[:-1]
    grown = peak_memory() - held

    assert grown < MOST_MEMORY, f"{grown:,} bytes"
    assert {each.path for each in ended} >= set(files)
    for each in ended:
        if each.ending != "ready":
            assert each.reason, each
            assert len(each.reason) > 10, each
            assert not INNARDS.search(each.reason), each
    endings = {each.path.name: each.ending for each in ended if each.path.parent == folder}
    assert {name: endings[name] for name in EXPECTED} == EXPECTED
    assert Counter(endings.values())["ready"] >= 20
    # Nothing waits, nothing that lies outside was read, and no file was written, here or where a name leads.
    documents = await owner_connection.fetch("SELECT title, status, text FROM knowledge_documents")
    assert {document["status"] for document in documents} == {"ready", "failed"}
    assert not [document["title"] for document in documents if SECRET in (document["text"] or "")]
    assert listing(tmp_path) == before
    titles: list[str] = [document["title"] for document in documents]
    assert not [title for title in titles if title.startswith("/") or ".." in title.split("/") or "\u202e" in title]


def _silent(_path: Path, _share: float = 0, _words: str = "", /) -> None:
    """Nobody looks."""


EXPECTED = {
    "empty.txt": "refused",
    "nulls.txt": "refused",
    "utf16.txt": "ready",
    "mixed.txt": "ready",
    "document.txt": "ready",
    "page.txt": "ready",
    "picture.pdf": "refused",
    "text.docx": "refused",
    "text.zip": "refused",
    "tall.csv": "failed",
    "outside.docx": "failed",
    "laughs.docx": "failed",
    "laughs.xlsx": "failed",
    "laughs.pptx": "failed",
    "laughs.html": "ready",
    "bomb.docx": "failed",
    "bomb.pptx": "failed",
    "password.docx": "refused",
    "password.pdf": "failed",
    "locked.zip": "failed",
    "hundred megabytes.xlsx": "failed",
    "far away.xlsx": "failed",
    "kids of itself.pdf": "failed",
    "nested.zip": "failed",
    "many.zip": "failed",
    "traversing.zip": "ready",
    "hostile inside.zip": "ready",
    "right to left.zip": "ready",
    "messages within.eml": "ready",
    "outside.svg": "refused",
    "overlapping.zip": "failed",
    "long header.eml": "ready",
    "false charset.html": "ready",
}
"""Those whose ending is not a matter of taste."""
