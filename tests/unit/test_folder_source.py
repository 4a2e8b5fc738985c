"""What of a folder cannot be read now is told from what is none to be read."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from knowledge.sources.folder import FolderRoot, OpenFolder
from knowledge.sources.port import EVERYONE, Found, ItemUnavailable, ItemUnreadable

MEMORY = Path("/proc/self/mem")


def named(name: str) -> Found:
    key = hashlib.sha256(name.encode()).hexdigest()
    return Found(key=key, path=name, version="1", media_type=None, size=None, readers=EVERYONE)


async def read(folder: Path, name: str, most_bytes: int = 1000) -> bytes:
    async with OpenFolder(lambda: [FolderRoot(path=folder)])({"path": str(folder)}, "acme-audit") as opened:
        return (await opened.read(named(name), most_bytes)).content


@pytest.mark.skipif(not MEMORY.exists(), reason="no /proc, of whose files one answers with EIO")
async def test_a_fault_of_the_disk_may_pass() -> None:
    with pytest.raises(ItemUnavailable, match="Input/output error"):
        await read(MEMORY.parent, MEMORY.name)


async def test_a_file_that_is_not_there_just_now_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(ItemUnavailable):
        await read(tmp_path, "a.md")
    await asyncio.to_thread((tmp_path / "a.md").write_bytes, b"words")
    assert await read(tmp_path, "a.md") == b"words"


async def test_a_file_that_is_too_large_is_so_until_it_changes(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "a.md").write_bytes, b"words")
    with pytest.raises(ItemUnreadable) as large:
        await read(tmp_path, "a.md", 4)
    assert not isinstance(large.value, ItemUnavailable)
