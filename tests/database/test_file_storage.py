"""Files outside of the database: the same content once, never lost to who takes it up, gone with the last document."""

import asyncio
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest

from domain.kernel import Principal, new_id, utc_now
from knowledge.model import DocumentId, FileKey, FileMissing
from knowledge.ports import Storage
from server.database.connection import Connection
from server.database.files import KeptFiles
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.storage.folder import FolderStorage
from server.worker.documents import DocumentWorker
from server.worker.files import FileWorker
from tests.support.fake_bucket import fake_bucket
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.storages import KINDS, bucket_on, storage_of_kind
from tools.outcomes import CallOutcome, Json
from tools.ports import Unavailable
from tools.work import Job

HAND = principal_of(mode="person", door="rest")
HUB = principal_of(who="service", door="worker")
CONTENT = b"# Fleet\n\nThe zebu is insured."
KEY = FileKey(organization_id=FIRM_A.organization_id, digest=hashlib.sha256(CONTENT).digest())
ITS_TIME_IS_OVER = "UPDATE knowledge_documents SET purge_at = now() - interval '1 second' WHERE deleted_at IS NOT NULL"


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    with storage_of_kind(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection, storage: Storage) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools, storage=storage) as opened:
        yield opened


async def upload(gate: GateOnTest, content: bytes = CONTENT, who: Principal = HAND, **said: str) -> CallOutcome:
    async with gate.staging.holding(who, content) as digest:
        asked: Json = {"title": "Fleet", "file_name": "a.md", "content_sha256": digest, "size_bytes": len(content)}
        return await gate.call("document_upload", {**asked, **said}, who)


async def uploaded(gate: GateOnTest, content: bytes = CONTENT, **said: str) -> str:
    outcome = await upload(gate, content, HAND, **said)
    assert outcome.outcome == "done", outcome
    return str(cast(Json, cast(Json, outcome.result)["document"])["document_id"])


async def kept(storage: Storage) -> list[FileKey]:
    return [key async for key in storage.older(utc_now() + timedelta(minutes=1))]


def worker_of(gate: GateOnTest, pools: DatabasePools, storage: Storage) -> DocumentWorker:
    return DocumentWorker(
        gate=gate.gate,
        identities=PostgresIdentities(pools.app),
        new_id=new_id,
        files=FileWorker(files=KeptFiles(pools.service, storage), clock=utc_now),
    )


def purge_of(document_id: str) -> Job:
    return Job(kind="document_purge", organization_id=HAND.organization_id, subject_id=UUID(document_id))


async def content_of(gate: GateOnTest, document_id: str) -> bytes:
    async with gate.transactions.session(HAND.organization_id, HAND.principal_id, read_only=True) as session:
        return (await session.work.knowledge.file(DocumentId(UUID(document_id)))).content


async def test_the_same_content_is_kept_once_and_goes_with_the_last_document_that_has_it(
    gate: GateOnTest, pools: DatabasePools, storage: Storage, owner_connection: Connection
) -> None:
    first, second = await uploaded(gate), await uploaded(gate, trust="internal")
    assert await kept(storage) == [KEY]
    inside = "SELECT count(*) FROM knowledge_files WHERE document_id = ANY ($1) AND content IS NOT NULL"
    assert await owner_connection.fetchval(inside, [UUID(first), UUID(second)]) == 0
    assert [await content_of(gate, each) for each in (first, second)] == [CONTENT] * 2
    assert (await gate.call("document_index", {"document_id": first}, HUB)).outcome == "done"

    worker = worker_of(gate, pools, storage)
    for document_id, left in ((first, [KEY]), (second, [])):
        assert (await gate.call("document_delete", {"document_id": document_id}, HAND)).outcome == "done"
        assert await kept(storage) == [KEY]
        await owner_connection.execute(ITS_TIME_IS_OVER)
        assert await worker.work(purge_of(document_id)) is None
        assert await kept(storage) == left


async def test_what_lies_inside_is_kept_and_goes_too(
    gate: GateOnTest, pools: DatabasePools, storage: Storage, owner_connection: Connection
) -> None:
    whole = await uploaded(gate, zipped({"one.md": b"The okapi.", "two.md": CONTENT}), file_name="a.zip")
    assert (await gate.call("document_index", {"document_id": whole}, HUB)).outcome == "done"
    assert len(await kept(storage)) == 3
    stays = await uploaded(gate)
    await gate.call("document_delete", {"document_id": whole}, HAND)
    await owner_connection.execute(ITS_TIME_IS_OVER)
    assert await worker_of(gate, pools, storage).work(purge_of(whole)) is None
    assert await kept(storage) == [KEY]
    assert await content_of(gate, stays) == CONTENT


async def test_a_file_in_the_database_is_read_there_still(
    pools: DatabasePools, owner_connection: Connection, storage: Storage
) -> None:
    await seed_firms(owner_connection)
    async with gate_on(pools) as before:
        document_id = await uploaded(before)
    async with gate_on(pools, storage=storage) as gate:
        assert await content_of(gate, document_id) == CONTENT
    assert await kept(storage) == []


async def test_a_file_that_is_not_where_it_should_be_is_said_to_be_missing(gate: GateOnTest, storage: Storage) -> None:
    document_id = await uploaded(gate)
    await storage.delete(KEY)
    with pytest.raises(FileMissing, match=document_id):
        await content_of(gate, document_id)


async def test_what_is_taken_up_while_it_is_discarded_is_kept(
    gate: GateOnTest, pools: DatabasePools, storage: Storage, owner_connection: Connection
) -> None:
    await storage.put(KEY, CONTENT)
    held = HeldDeletes(storage)
    discarding = asyncio.create_task(KeptFiles(pools.service, held).discard(KEY))
    await held.began.wait()
    uploading = asyncio.create_task(uploaded(gate))
    await somebody_waits(owner_connection)
    assert not uploading.done()
    held.goes_on.set()

    assert await discarding
    assert await content_of(gate, await uploading) == CONTENT


async def test_what_was_taken_up_before_is_not_discarded(
    gate: GateOnTest, pools: DatabasePools, storage: Storage, owner_connection: Connection
) -> None:
    # Looked for before the transaction, and again within it.
    held = HeldLooks(storage, skipped=1)
    async with gate_on(pools, storage=held) as taking:
        uploading = asyncio.create_task(uploaded(taking))
        await held.began.wait()
        discarding = asyncio.create_task(KeptFiles(pools.service, storage).discard(KEY))
        await somebody_waits(owner_connection)
        held.goes_on.set()
        assert not await discarding
        assert await content_of(gate, await uploading) == CONTENT


async def test_what_is_discarded_between_being_put_and_being_taken_up_is_put_again(
    gate: GateOnTest, pools: DatabasePools, storage: Storage
) -> None:
    held = HeldPuts(storage)
    async with gate_on(pools, storage=held) as taking:
        uploading = asyncio.create_task(uploaded(taking))
        await held.began.wait()
        assert await KeptFiles(pools.service, storage).discard(KEY)
        held.goes_on.set()
        assert await content_of(gate, await uploading) == CONTENT


async def test_no_transaction_is_open_while_a_slow_place_takes_a_file(
    gate: GateOnTest, pools: DatabasePools, storage: Storage, superuser_connection: Connection
) -> None:
    open_ones = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start < now()"
    held = HeldPuts(storage)
    async with gate_on(pools, storage=held) as taking:
        uploading = asyncio.create_task(uploaded(taking, zipped({"one.md": CONTENT}), file_name="a.zip"))
        await held.began.wait()
        assert await superuser_connection.fetchval(open_ones) == 0
        held.goes_on.set()
        whole = await uploading

        held.began.clear()
        held.goes_on.clear()
        indexing = asyncio.create_task(taking.call("document_index", {"document_id": whole}, HUB))
        await held.began.wait()
        assert await superuser_connection.fetchval(open_ones) == 0
        held.goes_on.set()
        assert (await indexing).outcome == "done"
    assert len(await kept(storage)) == 2


async def test_a_file_whose_call_comes_to_nothing_is_swept_and_the_call_is_in_the_record(
    gate: GateOnTest, pools: DatabasePools, storage: Storage, owner_connection: Connection
) -> None:
    partner = principal_of(who="partner", mode="person", door="rest")
    first = await upload(gate, b"Mine.", partner, uri="drive:a")
    assert first.outcome == "done"
    refused = await upload(gate, uri="drive:a")
    assert (refused.outcome, refused.error and refused.error.code) == ("invalid", "not_your_document")
    assert KEY in await kept(storage)
    told = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY event_id"
    assert [row["kind"] for row in await owner_connection.fetch(told, refused.call_id)][-1] == "tool.invalid"

    later = FileWorker(files=KeptFiles(pools.service, storage), clock=lambda: utc_now() + timedelta(minutes=61))
    await later.sweep()
    assert KEY not in await kept(storage)
    assert len(await kept(storage)) == 1


async def test_two_at_once_keep_it_whatever_purges_meanwhile(
    gate: GateOnTest, pools: DatabasePools, storage: Storage, owner_connection: Connection
) -> None:
    worker = worker_of(gate, pools, storage)
    there: list[str] = [await uploaded(gate)]
    for turn in range(6):
        for document_id in there:
            await gate.call("document_delete", {"document_id": document_id}, HAND)
        await owner_connection.execute(ITS_TIME_IS_OVER)
        purging = [asyncio.create_task(worker.work(purge_of(document_id))) for document_id in there]
        there = await asyncio.gather(*(uploaded(gate, title=f"Other {turn} {n}") for n in range(2)))
        assert await asyncio.gather(*purging) == [None] * len(purging)
        assert [await content_of(gate, each) for each in there] == [CONTENT] * 2


async def test_what_a_crash_left_behind_is_swept_after_an_hour_and_nothing_else(
    pools: DatabasePools, gate: GateOnTest, storage: Storage, tmp_path: Path
) -> None:
    stays = await uploaded(gate)
    orphan = FileKey(organization_id=uuid4(), digest=hashlib.sha256(b"left").digest())
    await storage.put(orphan, b"left")
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    if isinstance(storage, FolderStorage):
        (storage.root / "notes.txt").write_text("not ours")
        (storage.root / str(uuid4())).symlink_to(tmp_path)
        linked = storage.root / str(FIRM_A.organization_id) / "00"
        linked.mkdir(parents=True, exist_ok=True)
        (linked / ("0" * 64)).symlink_to(outside)

    await FileWorker(files=KeptFiles(pools.service, storage), clock=utc_now).sweep()
    assert set(await kept(storage)) == {KEY, orphan}
    later = FileWorker(files=KeptFiles(pools.service, storage), clock=lambda: utc_now() + timedelta(minutes=61))
    await later.sweep()

    assert await kept(storage) == [KEY]
    assert await content_of(gate, stays) == CONTENT
    assert outside.read_bytes() == b"not ours"
    if isinstance(storage, FolderStorage):
        assert (storage.root / "notes.txt").read_text() == "not ours"


async def test_an_upload_that_cannot_be_kept_leaves_no_document(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    with fake_bucket() as server:
        server.fails = [503] * 20
        async with gate_on(pools, storage=bucket_on(server)) as gate:
            with pytest.raises(Unavailable):
                await upload(gate)
            rows = "SELECT count(*) FROM knowledge_documents WHERE content_sha256 = $1"
            assert await owner_connection.fetchval(rows, KEY.digest) == 0
            server.fails = []
            assert await content_of(gate, await uploaded(gate)) == CONTENT


class Held:
    """A storage one of whose acts begins, says so, and goes on when it is let."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.began, self.goes_on = asyncio.Event(), asyncio.Event()

    @property
    def place(self) -> str:
        return self.storage.place

    async def put(self, key: FileKey, content: bytes) -> None:
        await self.storage.put(key, content)

    async def get(self, key: FileKey) -> bytes | None:
        return await self.storage.get(key)

    async def has(self, key: FileKey) -> bool:
        return await self.storage.has(key)

    async def delete(self, key: FileKey) -> None:
        await self.storage.delete(key)

    def older(self, than: datetime) -> AsyncIterator[FileKey]:
        return self.storage.older(than)

    async def wait(self) -> None:
        self.began.set()
        await self.goes_on.wait()


class HeldPuts(Held):
    async def put(self, key: FileKey, content: bytes) -> None:
        await super().put(key, content)
        await self.wait()


class HeldLooks(Held):
    """The first few go on at once."""

    def __init__(self, storage: Storage, skipped: int) -> None:
        super().__init__(storage)
        self.skipped = skipped

    async def has(self, key: FileKey) -> bool:
        if self.skipped:
            self.skipped -= 1
        else:
            await self.wait()
        return await super().has(key)


class HeldDeletes(Held):
    async def delete(self, key: FileKey) -> None:
        await self.wait()
        await super().delete(key)


def zipped(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


async def somebody_waits(inspector: Connection) -> None:
    """Until a transaction waits for another's lock."""
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    async with asyncio.timeout(30):
        while not await inspector.fetchval(waiting):  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(0)
