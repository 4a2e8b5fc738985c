"""Heads sent elsewhere: each newest one comes to each place once, whatever the place or a worker does meanwhile."""

import asyncio
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr

from domain.kernel import utc_now
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.sendings import PlaceState, PostgresSendings
from server.heads.place import KeptHead, Place
from server.heads.places import HeadSecrets, places_of
from server.sigv4 import Credentials
from server.system_config import HeadsConfig
from server.worker.heads import NOT_AS_SENT, HeadWorker
from tests.support.environment import unused_port
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.keeping import (
    ACCESS_KEY_ID,
    BUCKET,
    REGION,
    SECRET_ACCESS_KEY,
    WEBHOOK_SECRET,
    Keeper,
    keeper,
)
from tests.support.ledger import KEY, OTHER_KEY, event, record, seal
from tests.support.verifiers import Found, checked

EVERY = timedelta(hours=1)
SECRETS = HeadSecrets(
    webhook=SecretStr(WEBHOOK_SECRET),
    s3=Credentials(access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY),
)
DUE = "UPDATE ledger_sendings SET due_at = now() - interval '1 second'"


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection, pools: DatabasePools, recorder_connection: Connection) -> None:
    """Two firms, each with a sealed event."""
    await seed_firms(owner_connection)
    await owner_connection.execute(
        "DELETE FROM activity_payloads; DELETE FROM activity_events; DELETE FROM ledger_sendings;"
        "DELETE FROM ledger_rotations; DELETE FROM ledger_heads; DELETE FROM ledger_keys; DELETE FROM ledger_nodes;"
        "DELETE FROM ledger_leaves"
    )
    await record(recorder_connection, event(), event(FIRM_B))
    await seal(pools.service)


@pytest.fixture
def keeping() -> Iterator[Keeper]:
    with keeper() as server:
        yield server


def configured(**place: object) -> Sequence[Place]:
    config = HeadsConfig.model_validate({"to": [{"name": "kept", **place}]})
    return places_of(config, SECRETS, utc_now)


def in_s3(keeping: Keeper) -> Sequence[Place]:
    return configured(s3={"bucket": BUCKET, "region": REGION, "endpoint": keeping.url, "prefix": "glow/"})


def sender(pools: DatabasePools, places: Sequence[Place], every: timedelta = EVERY) -> HeadWorker:
    return HeadWorker(PostgresSendings(pools.service), lambda: places, lambda: every)


async def state_of(pools: DatabasePools, place: Place) -> PlaceState:
    (state,) = await PostgresSendings(pools.service).states([place.place_id], timeout_s=5)
    return state


async def grown(pools: DatabasePools, recorder: Connection) -> None:
    """Another event of the first firm, under a new head."""
    await record(recorder, event())
    await seal(pools.service)


async def test_a_file_is_appended_to_line_by_line_and_holds_the_record_to_what_it_was(
    pools: DatabasePools, recorder_connection: Connection, tmp_path: Path, owner_connection: Connection
) -> None:
    path = tmp_path / "heads.ndjson"
    worker = sender(pools, configured(file=str(path)), timedelta(0))
    await worker.send()
    await worker.send()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_bytes().splitlines(keepends=True)
    assert {orjson.loads(line)["organization"] for line in lines} == {"firm-1", "firm-2"}
    # What a crash left in the midst of a line spoils neither it nor the next.
    with path.open("ab") as file:
        file.write(b'{"head":{"size"')
    await grown(pools, recorder_connection)
    await worker.send()
    after = path.read_bytes().splitlines(keepends=True)
    assert (len(after), after[2]) == (4, b'{"head":{"size"\n')
    # Both verifiers take the file for kept heads, each organization's for its own.
    line = orjson.loads(after[3])
    head = line["head"]
    assert head["size"] == 2
    shown = tmp_path / "head.json"
    members: dict[str, object] = {
        "organization_id": head["organization_id"],
        "head": head,
        "key": line["key"],
        "rotations": [],
    }
    shown.write_bytes(orjson.dumps(members))
    newest = tmp_path / "newest.ndjson"
    newest.write_bytes(after[2] + after[3])
    assert checked(shown, [newest]) == Found(None)
    newest.write_bytes(after[3].replace(head["root"].encode(), b"0" * 64))
    assert checked(shown, [newest]).code == "kept_head"


async def test_a_line_that_stands_there_already_is_not_written_again(
    pools: DatabasePools, tmp_path: Path, owner_connection: Connection
) -> None:
    """As when a worker was killed between the file and the database."""
    path = tmp_path / "heads.ndjson"
    worker = sender(pools, configured(file=str(path)))
    await worker.send()
    before = path.read_bytes()
    await owner_connection.execute("DELETE FROM ledger_sendings")
    await worker.send()
    assert path.read_bytes() == before


async def test_a_bucket_gets_an_object_for_each_head_signed_so_that_it_believes_it(
    pools: DatabasePools, recorder_connection: Connection, keeping: Keeper
) -> None:
    worker = sender(pools, in_s3(keeping), timedelta(0))
    await worker.send()
    await grown(pools, recorder_connection)
    await worker.send()
    assert keeping.faults == []
    assert len(keeping.objects) == len(keeping.kept) == 3
    begin = f"/{BUCKET}/glow/{FIRM_A.organization_id}/"
    sizes = [int(name.removeprefix(begin)[:16]) for name in sorted(keeping.objects) if name.startswith(begin)]
    assert sizes == [1, 2]
    for name, body in keeping.kept:
        kept = orjson.loads(body)
        assert (kept["type"], kept["key"]["key_id"]) == ("kept_head", KEY.key_id)
        assert name.endswith(f"{kept['head']['size']:016d}-{kept['head']['root'][:16]}.json")


async def test_a_webhook_is_told_with_a_signature_and_the_same_id_whenever_it_is_told_again(
    pools: DatabasePools, keeping: Keeper, owner_connection: Connection
) -> None:
    worker = sender(pools, configured(webhook=f"{keeping.url}/heads?of=glow"))
    await worker.send()
    assert (len(keeping.kept), keeping.faults) == (2, [])
    await owner_connection.execute("DELETE FROM ledger_sendings")
    await worker.send()
    assert len(keeping.kept) == 4
    assert len(keeping.objects) == 2


async def test_what_a_place_refuses_is_kept_tried_again_and_told_of(
    pools: DatabasePools, recorder_connection: Connection, keeping: Keeper, owner_connection: Connection
) -> None:
    places = in_s3(keeping)
    worker = sender(pools, places)
    keeping.refuses = (403, b"<Error><Code>AccessDenied</Code><Message>secret words</Message></Error>")
    await worker.send()
    state = await state_of(pools, places[0])
    assert (state.reached, state.failing, state.failure) == (0, 2, "answered with status 403 (AccessDenied)")
    await worker.send()
    rests = await owner_connection.fetch("SELECT failures, due_at > now() AS rests FROM ledger_sendings")
    assert [tuple(row) for row in rests] == [(1, True)] * 2, "it is left alone for a while"
    await owner_connection.execute(DUE)
    await worker.send()
    waits = "SELECT extract(epoch FROM due_at - now()) FROM ledger_sendings"
    assert 15 < float(await owner_connection.fetchval(waits)) <= 20, "longer each time"
    await grown(pools, recorder_connection)
    keeping.refuses = None
    await owner_connection.execute(DUE)
    await worker.send()
    state = await state_of(pools, places[0])
    assert (state.reached, state.failing, state.failure, state.since) == (2, 0, None, None)
    sizes = {orjson.loads(body)["head"]["size"] for _, body in keeping.kept}
    assert sizes == {1, 2}, "the newest, not those that it has grown over"


async def test_a_place_that_is_away_redirects_or_is_none_fails_and_keeps_none_of_the_others_back(
    pools: DatabasePools, keeping: Keeper, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    good = configured(file=str(tmp_path / "heads.ndjson"))
    bad = {
        "cannot be reached": configured(webhook=f"http://127.0.0.1:{unused_port()}/"),
        "Is a directory": configured(file=str(tmp_path / "folder")),
        "no file": configured(file=str(tmp_path / "pipe")),
        "No such file": configured(file=str(tmp_path / "nowhere" / "heads")),
        "status 302": configured(webhook=f"{keeping.url}/"),
    }
    keeping.refuses = (302, b"")
    await sender(pools, [*(places[0] for places in bad.values()), *good]).send()
    for words, places in bad.items():
        assert words in ((await state_of(pools, places[0])).failure or "")
    assert (await state_of(pools, good[0])).reached == 2
    unset = places_of(
        HeadsConfig.model_validate({"to": [{"name": "unset", "webhook": keeping.url}]}), HeadSecrets(), utc_now
    )
    await sender(pools, unset).send()
    assert (await state_of(pools, unset[0])).failure == "GLOW_HEADS_WEBHOOK_SECRET is not set"


@dataclass(slots=True)
class Slow:
    """A place at which deliveries stand until they are let go."""

    address: str = "slow"
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    came: list[int] = field(default_factory=list[int])

    async def deliver(self, kept: KeptHead) -> None:
        self.begun.set()
        await self.go.wait()
        self.came.append(kept.head.statement.size)


async def test_workers_at_once_send_each_head_once_and_sealing_waits_for_none_of_them(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    slow = Slow()
    places = [Place(name="slow", way=slow, organizations=["firm-1"])]
    first = asyncio.create_task(sender(pools, places).send())
    await slow.begun.wait()
    await sender(pools, places).send()
    await grown(pools, recorder_connection)
    assert await superuser_connection.fetchval("SELECT max(size) FROM ledger_heads") == 2
    slow.go.set()
    await first
    assert slow.came == [1], "one organization's, once, though two workers were at it"
    # A worker that was taken for dead and comes back changes nothing of what the next has told.
    await superuser_connection.execute(DUE)
    slow.go.clear()
    slow.begun.clear()
    late = asyncio.create_task(sender(pools, places).send())
    await slow.begun.wait()
    await superuser_connection.execute(DUE)
    again = asyncio.create_task(sender(pools, places).send())
    slow.go.set()
    await asyncio.gather(late, again)
    kept = await superuser_connection.fetchrow("SELECT size, failures, claim FROM ledger_sendings WHERE size > 0")
    assert kept is not None
    assert tuple(kept) == (2, 0, None)


@pytest.mark.parametrize(
    "spoiled",
    [
        "UPDATE ledger_heads SET root = sha256('x')",
        "DELETE FROM ledger_heads WHERE size = 2",
    ],
)
async def test_a_ledger_that_is_not_the_one_that_was_sent_is_told_of_and_sent_over_nothing(
    pools: DatabasePools,
    recorder_connection: Connection,
    superuser_connection: Connection,
    keeping: Keeper,
    spoiled: str,
) -> None:
    await grown(pools, recorder_connection)
    places = in_s3(keeping)
    worker = sender(pools, places, timedelta(0))
    await worker.send()
    before = dict(keeping.objects)
    await superuser_connection.execute(spoiled)
    await worker.send()
    assert (await state_of(pools, places[0])).failure == NOT_AS_SENT
    assert keeping.objects == before


async def test_heads_bring_what_vouches_for_their_key(pools: DatabasePools, keeping: Keeper, tmp_path: Path) -> None:
    await seal(pools.service, OTHER_KEY, previous=[KEY])
    await sender(pools, in_s3(keeping)).send()
    (rotation,) = orjson.loads(keeping.kept[0][1])["rotations"]
    assert (rotation["from_key_id"], rotation["to_key_id"]) == (KEY.key_id, OTHER_KEY.key_id)


async def test_a_delivery_s_fault_of_ours_is_raised_and_what_it_held_is_sent_by_another_later(
    pools: DatabasePools, owner_connection: Connection, tmp_path: Path
) -> None:
    class Broken:
        address = "broken"

        async def deliver(self, kept: KeptHead) -> None:
            raise ZeroDivisionError

    broken = [Place(name="broken", way=Broken(), organizations=None)]
    with pytest.raises(ZeroDivisionError):
        await sender(pools, broken).send()
    claims = await owner_connection.fetch("SELECT claim IS NOT NULL AND due_at > now() AS held FROM ledger_sendings")
    assert [row["held"] for row in claims] == [True, True]
