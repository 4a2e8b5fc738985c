"""Files move from one place to another, each whole, and as often as one asks; the doctor tries the place."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from pydantic import SecretStr

from domain.kernel import utc_now
from knowledge.model import DocumentId
from knowledge.ports import Storage
from server.cli.copying import Tally, copied
from server.cli.failure import CommandFailed
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.doctor.files import files_finding
from server.logins import Login
from server.settings import Settings
from server.storage.choosing import storage_of
from tests.support.database import Database
from tests.support.fake_bucket import BUCKET, KEY_ID, REGION, SECRET, FakeBucket, fake_bucket
from tests.support.firms import seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import Json

HAND = principal_of(mode="person", door="rest")


@pytest.fixture
def bucket() -> Iterator[FakeBucket]:
    with fake_bucket() as server:
        yield server


@pytest.fixture
def settings(database: Database, tmp_path: Path, bucket: FakeBucket) -> Settings:
    """Of an external database, and of each place."""
    return Settings(
        model_api="offline",
        database_url=SecretStr(database.dsn(Login.APP)),
        recorder_database_url=SecretStr(database.dsn(Login.RECORDER)),
        service_database_url=SecretStr(database.dsn(Login.SERVICE)),
        owner_database_url=SecretStr(database.dsn(Login.OWNER)),
        files_folder=tmp_path / "files",
        s3_bucket=BUCKET,
        s3_region=REGION,
        s3_endpoint=bucket.url,
        s3_access_key_id=KEY_ID,
        s3_secret_access_key=SecretStr(SECRET),
    )


async def upload(gate: GateOnTest, content: bytes, **said: str) -> DocumentId:
    async with gate.staging.holding(HAND, content) as digest:
        asked: Json = {"title": "Fleet", "file_name": "a.md", "content_sha256": digest, "size_bytes": len(content)}
        outcome = await gate.call("document_upload", {**asked, **said}, HAND)
    return DocumentId(UUID(str(cast(Json, cast(Json, outcome.result)["document"])["document_id"])))


async def contents(pools: DatabasePools, storage: Storage | None, documents: list[DocumentId]) -> list[bytes]:
    async with (
        gate_on(pools, storage=storage) as gate,
        gate.transactions.session(HAND.organization_id, HAND.principal_id, read_only=True) as session,
    ):
        return [(await session.work.knowledge.file(each)).content for each in documents]


async def test_files_go_from_place_to_place_and_none_is_lost(
    settings: Settings, pools: DatabasePools, owner_connection: Connection, bucket: FakeBucket
) -> None:
    await seed_firms(owner_connection)
    # What the seed keeps has another digest than its document says.
    await owner_connection.execute("DELETE FROM knowledge_files")
    async with gate_on(pools) as gate:
        documents = [await upload(gate, b"One."), await upload(gate, b"Two."), await upload(gate, b"Two.", title="Too")]
    inside = "SELECT count(*) FROM knowledge_files WHERE document_id = ANY ($1) AND content IS NOT NULL"
    whole = [b"One.", b"Two.", b"Two."]

    folder = settings.model_copy(update={"files_in": "folder"})
    first = await copied(folder, "database")
    assert first.missing == 0
    assert await owner_connection.fetchval(inside, documents) == 0
    assert await contents(pools, storage_of(folder), documents) == whole
    again = await copied(folder, "database")
    assert (again.copied, again.missing) == (0, 0)

    s3 = settings.model_copy(update={"files_in": "s3"})
    assert (await copied(s3, "folder")).copied == first.copied
    assert await contents(pools, storage_of(s3), documents) == whole
    assert await contents(pools, storage_of(folder), documents) == whole
    assert (len(bucket.objects), bucket.faults) == (first.copied, [])
    assert await copied(s3, "folder") == Tally(there=first.copied)

    database = settings.model_copy(update={"files_in": "database"})
    assert (await copied(database, "s3")).copied == first.copied
    assert await owner_connection.fetchval(inside, documents) == 3
    assert await contents(pools, None, documents) == whole


async def test_a_file_that_is_not_whole_is_left_where_it_is_and_told(
    settings: Settings, pools: DatabasePools, owner_connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    await seed_firms(owner_connection)
    await owner_connection.execute("DELETE FROM knowledge_files")
    folder = settings.model_copy(update={"files_in": "folder"})
    storage = storage_of(folder)
    assert storage is not None
    async with gate_on(pools, storage=storage) as gate:
        for content in (b"One.", b"Two.", b"Three."):
            await upload(gate, content, title=content.decode())
    keys = sorted([key async for key in storage.older(utc_now().replace(year=2100))], key=lambda key: key.hex)
    await storage.put(keys[0], b"altered")
    await storage.delete(keys[1])

    s3 = settings.model_copy(update={"files_in": "s3"})
    assert await copied(s3, "folder") == Tally(copied=1, missing=2)
    told = capsys.readouterr().err
    assert keys[0].name in told
    assert keys[1].name in told
    with pytest.raises(CommandFailed, match="already"):
        await copied(s3, "s3")


async def test_the_doctor_tries_each_place_and_leaves_nothing(
    settings: Settings, bucket: FakeBucket, tmp_path: Path
) -> None:
    folder, s3 = (settings.model_copy(update={"files_in": each}) for each in ("folder", "s3"))
    assert (await files_finding(folder)).state == "ok"
    assert not (tmp_path / "files").exists()
    (tmp_path / "files").mkdir()
    assert "put there" in (await files_finding(folder)).says
    assert list((tmp_path / "files").iterdir()) == []
    assert (await files_finding(s3)).state == "ok"
    assert bucket.objects == {}
    assert (await files_finding(settings)).says == "kept in the database"
    bucket.fails = [403] * 4
    found = await files_finding(s3)
    assert (found.state, "status 403" in found.says) == ("wrong", True)
