"""A folder and a bucket keep files whole or not at all, under names that nobody's words are in."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from domain.kernel import utc_now
from knowledge.model import FileKey
from knowledge.ports import Storage
from server.settings import Settings, SettingsInvalid
from server.storage.choosing import storage_of
from server.storage.fault import StorageUnavailable
from server.storage.folder import FolderStorage
from tests.support.fake_bucket import FakeBucket, fake_bucket
from tests.support.storages import KINDS, bucket_on, storage_of_kind

ORGANIZATION = UUID("7b1f6a52-6a0e-4c55-9f0e-0f7a1f6f2a11")
KEYS = [FileKey(organization_id=ORGANIZATION, digest=bytes([n]) * 32) for n in range(5)]


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    with storage_of_kind(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def bucket() -> Iterator[FakeBucket]:
    with fake_bucket() as server:
        yield server


@pytest.mark.parametrize("content", [b"x", bytes(3_000_000)])
async def test_what_is_put_is_given_back_until_it_is_deleted(storage: Storage, content: bytes) -> None:
    key = KEYS[0]
    assert (await storage.has(key), await storage.get(key)) == (False, None)
    await storage.put(key, content)
    await storage.put(key, content)
    assert (await storage.has(key), await storage.get(key)) == (True, content)
    await storage.delete(key)
    await storage.delete(key)
    assert (await storage.has(key), await storage.get(key)) == (False, None)


async def test_all_that_is_kept_is_listed_by_its_age(storage: Storage) -> None:
    assert [key async for key in storage.older(utc_now())] == []
    for key in KEYS:
        await storage.put(key, b"x")
    assert {key async for key in storage.older(utc_now() + timedelta(seconds=2))} == set(KEYS)
    assert [key async for key in storage.older(utc_now() - timedelta(hours=1))] == []


async def test_a_write_that_fails_halfway_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, key = FolderStorage(tmp_path), KEYS[0]
    await folder.put(key, b"whole")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="No space left"):
        await folder.put(key, b"whole too")
    monkeypatch.undo()
    assert await folder.get(key) == b"whole"
    assert files_in(tmp_path) == [key.hex]


async def test_what_a_crash_left_half_written_goes_with_a_listing(tmp_path: Path) -> None:
    folder = FolderStorage(tmp_path)
    await folder.put(KEYS[0], b"x")
    half = tmp_path / str(ORGANIZATION) / "00" / "tmpabc.part"
    half.write_bytes(b"half")
    assert [key async for key in folder.older(utc_now() - timedelta(hours=1))] == []
    assert half.exists()
    assert [key async for key in folder.older(utc_now() + timedelta(seconds=2))] == [KEYS[0]]
    assert not half.exists()


async def test_a_link_that_lies_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder, outside = FolderStorage(tmp_path / "files"), tmp_path / "outside"
    outside.write_bytes(b"secret")
    await folder.put(KEYS[0], b"x")
    path = next(path for path in (tmp_path / "files").rglob("*") if path.is_file())
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises(StorageUnavailable):
        await folder.get(KEYS[0])
    assert not await folder.has(KEYS[0])
    await folder.put(KEYS[0], b"y")
    assert (outside.read_bytes(), await folder.get(KEYS[0])) == (b"secret", b"y")


async def test_files_are_closed_to_other_accounts(tmp_path: Path) -> None:
    await FolderStorage(tmp_path / "files").put(KEYS[0], b"x")
    for path in (tmp_path / "files").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_a_bucket_is_asked_again_where_it_may_go_better(bucket: FakeBucket) -> None:
    bucket.fails = [503, 500]
    await bucket_on(bucket).put(KEYS[0], b"x")
    assert len(bucket.asked) == 3
    bucket.fails = [503] * 3
    with pytest.raises(StorageUnavailable, match=r"status 503 \(SlowDown\)"):
        await bucket_on(bucket).get(KEYS[0])
    bucket.fails = [403]
    with pytest.raises(StorageUnavailable, match="status 403"):
        await bucket_on(bucket).get(KEYS[0])
    assert await bucket_on(bucket).get(KEYS[0]) == b"x"
    assert len(bucket.asked) == 8


async def test_a_bucket_refuses_another_secret_and_nobody_is_told_it(bucket: FakeBucket) -> None:
    wrong = bucket_on(bucket, secret="another secret")
    with pytest.raises(StorageUnavailable, match="SignatureDoesNotMatch") as refused:
        await wrong.put(KEYS[0], b"x")
    assert bucket.faults == ["the signature does not match"]
    assert bucket.objects == {}
    assert "another secret" not in f"{refused.value} {wrong!r}"


async def test_what_else_lies_in_a_bucket_is_let_be(bucket: FakeBucket) -> None:
    await bucket_on(bucket, prefix="").put(KEYS[1], b"x")
    storage = bucket_on(bucket)
    for key in KEYS[2:]:
        await storage.put(key, b"x")
    await bucket_on(bucket, prefix="glow/notes & more/").put(KEYS[0], b"x")
    assert {key async for key in storage.older(utc_now() + timedelta(seconds=2))} == set(KEYS[2:])


async def test_a_bucket_that_is_not_there_is_said_to_be_away() -> None:
    with fake_bucket() as server:
        storage = bucket_on(server)
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        await storage.has(KEYS[0])


def test_the_settings_say_where_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = Settings(model_api="offline", glow_home=tmp_path)
    assert storage_of(home) == FolderStorage(tmp_path / "files")
    named = Settings(model_api="offline", files_folder=tmp_path / "x")
    assert storage_of(named) == FolderStorage(tmp_path / "x")
    assert storage_of(Settings(model_api="offline", files_in="database")) is None
    with pytest.raises(ValueError, match="GLOW_S3_BUCKET"):
        Settings(model_api="offline", files_in="s3")
    with pytest.raises(ValueError, match="GLOW_S3_ENDPOINT"):
        Settings(model_api="offline", s3_endpoint="http://files.example")
    with pytest.raises(SettingsInvalid, match="GLOW_S3_BUCKET"):
        storage_of(home, "s3")


def test_a_time_of_s3_is_read_as_it_is_written() -> None:
    assert datetime.fromisoformat("2026-11-30T01:02:03.000Z") == datetime(2026, 11, 30, 1, 2, 3, tzinfo=UTC)
