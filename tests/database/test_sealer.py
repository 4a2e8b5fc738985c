"""The sealer: what was committed is in the tree once, whoever is slow, killed, restored or at it at the same time."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import asyncpg
import pytest

from domain.activity.model import ActivityEvent
from domain.kernel import OrganizationId
from domain.ledger.model import Statement, Succession
from server.database.connection import Connection, connected
from server.database.embedded import EmbeddedServer
from server.database.pool import DatabasePools, PoolOptions, open_pools
from server.database.sealer import BATCH, PostgresSealer
from server.home import GlowHome
from server.ledger_keys import KeySource, LedgerKeys
from server.logins import Login
from server.signing import is_signed
from server.worker.sealing import SealWorker
from tests.support.database import Database, bare_database
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.ledger import KEY, OTHER_KEY, event, odd_event, record, seal, sealed
from tools.ports import Unavailable

TEXTS = "SELECT glow.event_text(e) AS text FROM activity_events e"


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Two firms, without the events and the ledger that their seed brings."""
    await seed_firms(owner_connection)
    await owner_connection.execute(
        "DELETE FROM activity_payloads; DELETE FROM activity_events; DELETE FROM ledger_rotations;"
        "DELETE FROM ledger_heads; DELETE FROM ledger_keys; DELETE FROM ledger_nodes; DELETE FROM ledger_leaves"
    )


async def test_every_event_is_in_its_organizations_tree_once_under_a_signed_head(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    mine, theirs = [event() for _ in range(5)], [event(FIRM_B) for _ in range(2)]
    await record(recorder_connection, *mine, *theirs)
    await seal(pools.service)
    await seal(pools.service)
    assert (await sealed(superuser_connection)).event_ids == [each.event_id for each in mine]
    assert (await sealed(superuser_connection, FIRM_B)).event_ids == [each.event_id for each in theirs]
    row = await superuser_connection.fetchrow(
        "SELECT h.*, k.public_key, k.from_size FROM ledger_heads h JOIN ledger_keys k USING (organization_id, key_id) "
        "WHERE organization_id = $1",
        FIRM_A.organization_id,
    )
    assert row is not None
    statement = Statement(
        organization_id=OrganizationId(FIRM_A.organization_id),
        size=5,
        root=row["root"],
        chain=row["chain"],
        sealed_at=row["sealed_at"],
        key_id=KEY.key_id,
    )
    assert (row["public_key"], row["from_size"]) == (KEY.public_key, 5)
    assert is_signed(KEY.public_key, statement.signed_bytes(), row["signature"])
    assert not is_signed(OTHER_KEY.public_key, statement.signed_bytes(), row["signature"])


async def test_a_leaf_is_canonical_json_of_the_whole_row_whatever_its_texts_hold(
    recorder_connection: Connection, superuser_connection: Connection
) -> None:
    await record(recorder_connection, odd_event(), event())
    columns = await superuser_connection.fetch(
        "SELECT attname FROM pg_attribute "
        "WHERE attrelid = 'activity_events'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    for row in await superuser_connection.fetch(TEXTS):
        read = json.loads(row["text"])
        assert json.dumps(read, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == row["text"]
        assert set(read) == {column["attname"] for column in columns} | {"version"}
    digits = {json.loads(row["text"])["duration_ms"] for row in await superuser_connection.fetch(TEXTS)}
    assert digits == {"1e-07", "0.30000000000000004"}


async def test_a_leaf_reads_the_same_whatever_the_session_is_set_to(
    recorder_connection: Connection, superuser_connection: Connection
) -> None:
    await record(recorder_connection, odd_event())
    before = await superuser_connection.fetchval(TEXTS)
    await superuser_connection.execute(
        "SET extra_float_digits = -10; SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German'; "
        "SET bytea_output = 'escape'"
    )
    assert await superuser_connection.fetchval(TEXTS) == before


async def test_what_commits_late_holds_up_nobody_and_is_sealed_then(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection, database: Database
) -> None:
    late, early, after = event(), event(), event()
    async with connected(database.dsn(Login.RECORDER)) as slow, slow.transaction():
        await record(slow, late)
        await record(recorder_connection, early)
        await seal(pools.service)
        assert (await sealed(superuser_connection)).event_ids == [early.event_id]
        await record(recorder_connection, after)
        await seal(pools.service)
        assert (await sealed(superuser_connection)).event_ids == [early.event_id, after.event_id]
    await seal(pools.service)
    assert (await sealed(superuser_connection)).event_ids == [early.event_id, after.event_id, late.event_id]


async def test_what_was_rolled_back_is_never_sealed(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    kept = event()
    transaction = recorder_connection.transaction()
    await transaction.start()
    await record(recorder_connection, event())
    await transaction.rollback()
    await record(recorder_connection, kept)
    await seal(pools.service)
    assert (await sealed(superuser_connection)).event_ids == [kept.event_id]


async def test_a_transaction_open_in_another_database_holds_up_nothing(
    pools: DatabasePools,
    recorder_connection: Connection,
    superuser_connection: Connection,
    cluster: EmbeddedServer,
) -> None:
    with bare_database(cluster) as other:
        async with connected(other.dsn("postgres")) as elsewhere, elsewhere.transaction():
            await elsewhere.fetchval("SELECT pg_current_xact_id()")
            for size in range(1, 4):
                await record(recorder_connection, event())
                await seal(pools.service)
                assert len((await sealed(superuser_connection)).event_ids) == size


async def test_a_pass_reads_what_is_new_and_not_what_an_old_transaction_would_have_it_look_at_again(
    database: Database, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    read = "SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = 'activity_events_sealing'"
    async with (
        open_pools(database.urls(), service=PoolOptions(max_size=1)) as pools,
        connected(database.dsn("postgres")) as old,
        old.transaction(),
    ):

        async def rows_read() -> int:
            async with pools.service.acquire() as connection:
                await connection.execute("SELECT pg_stat_force_next_flush()")
            return int(await superuser_connection.fetchval(read))

        await old.fetchval("SELECT pg_current_xact_id()")
        await record(recorder_connection, *(event() for _ in range(300)))
        await seal(pools.service)
        before = await rows_read()
        await record(recorder_connection, event(), event())
        await seal(pools.service)
        assert 2 <= await rows_read() - before < 100


@pytest.mark.parametrize("late", [False, True])
async def test_a_transaction_of_many_events_is_read_once_whatever_batches_it_is_sealed_in(
    database: Database, recorder_connection: Connection, superuser_connection: Connection, late: bool
) -> None:
    """`late`: it is under way while sealing has come to its time already."""
    read = "SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = 'activity_events_sealing'"
    events = [event() for _ in range(400)]
    async with open_pools(database.urls(), service=PoolOptions(max_size=1)) as pools:
        async with recorder_connection.transaction():
            await record(recorder_connection, *events)
            if late:
                async with connected(database.dsn(Login.RECORDER)) as other:
                    await record(other, event(FIRM_B))
                await seal(pools.service)
        await seal(pools.service, batch=20)
        async with pools.service.acquire() as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
        # Twice, since a batch looks one ahead; without a place within the transaction it would be twenty times each.
        assert 400 <= int(await superuser_connection.fetchval(read)) < 1000
    assert (await sealed(superuser_connection)).event_ids == [each.event_id for each in events]


async def test_a_long_backlog_leaves_time_to_others_between_its_batches(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with recorder_connection.transaction():
        await record(recorder_connection, *(event() for _ in range(BATCH + 1)))
    await SealWorker(pools.service, lambda: LedgerKeys(KEY), pause).seal()
    assert len((await sealed(superuser_connection)).event_ids) == BATCH + 1
    assert len(pauses) == 1
    assert pauses[0] > 0


async def test_an_older_time_does_not_hide_an_event(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    first = event()
    await record(recorder_connection, first)
    await seal(pools.service)
    backdated = await superuser_connection.fetchval(
        "INSERT INTO activity_events (organization_id, event_id, kind, opens, occurred_at, recorded_at, call_id, tool, "
        "door, principal_id, principal_kind, mode, attended, facts) SELECT organization_id, "
        "'00000000-0000-4000-8000-000000000000', kind, opens, '1999-01-01', '1999-01-01', gen_random_uuid(), tool, "
        "door, principal_id, principal_kind, mode, attended, facts FROM activity_events RETURNING event_id"
    )
    await seal(pools.service)
    assert (await sealed(superuser_connection)).event_ids == [first.event_id, backdated]


async def test_a_backlog_is_sealed_in_batches_and_what_comes_meanwhile_after_it(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    backlog, meanwhile = [event() for _ in range(7)], event()
    await record(recorder_connection, *backlog)
    sealer = PostgresSealer(pools.service, KEY, batch=3)
    assert await sealer.seal()
    await record(recorder_connection, meanwhile)
    await seal(pools.service, batch=3)
    await seal(pools.service, batch=3)
    found = await sealed(superuser_connection)
    assert found.event_ids == [each.event_id for each in (*backlog, meanwhile)]
    assert found.sizes[0] == 3


async def test_sealers_at_once_lose_and_double_nothing(
    database: Database, superuser_connection: Connection, pools: DatabasePools
) -> None:
    events = [event(firm) for _ in range(20) for firm in (FIRM_A, FIRM_B)]

    async def write(mine: Sequence[ActivityEvent]) -> None:
        async with connected(database.dsn(Login.RECORDER)) as connection:
            await record(connection, *mine)

    async def seal_often() -> None:
        async with open_pools(database.urls()) as own:
            for _ in range(15):
                await seal(own.service, batch=4)

    await asyncio.gather(*(write(events[at::4]) for at in range(4)), *(seal_often() for _ in range(3)))
    await seal(pools.service)
    for firm in (FIRM_A, FIRM_B):
        wanted = {each.event_id for each in events if each.organization_id == firm.organization_id}
        found = (await sealed(superuser_connection, firm)).event_ids
        assert (len(found), set(found)) == (len(wanted), wanted)


KILL = """
CREATE FUNCTION kill() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
    'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
CREATE TRIGGER kill {when} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION kill();
"""


@pytest.mark.parametrize("when", ["BEFORE INSERT", "AFTER INSERT"])
@pytest.mark.parametrize("table", ["ledger_keys", "ledger_leaves", "ledger_nodes", "ledger_heads", "queue.sealing"])
async def test_killed_at_any_step_a_batch_is_absent_and_sealed_by_the_next(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection, table: str, when: str
) -> None:
    events = [event() for _ in range(3)]
    await record(recorder_connection, *events)
    await superuser_connection.execute(KILL.format(table=table, when=when))
    with pytest.raises(Unavailable):
        await seal(pools.service)
    for each in ("ledger_keys", "ledger_leaves", "ledger_nodes", "ledger_heads", "queue.sealing"):
        assert await superuser_connection.fetchval(f"SELECT count(*) FROM {each}") == 0
    await superuser_connection.execute(f"DROP TRIGGER kill ON {table}")
    await seal(pools.service)
    assert (await sealed(superuser_connection)).event_ids == [each.event_id for each in events]


async def test_in_another_cluster_sealing_goes_on_with_whatever_has_no_leaf(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    """As after a dump: transactions of the old cluster count higher than the new one's will for long."""
    before, unsealed, fresh = event(), event(), event()
    await record(recorder_connection, before)
    await superuser_connection.execute("UPDATE activity_events SET xact_id = '9000000000'")
    await seal(pools.service)
    await record(recorder_connection, unsealed)
    await superuser_connection.execute(
        "UPDATE activity_events SET xact_id = '9000000001' WHERE event_id = $1", unsealed.event_id
    )
    await superuser_connection.execute(
        "UPDATE queue.sealing SET system_identifier = 1, sealed = '9000000002:9000000002:'"
    )
    await seal(pools.service)
    assert (await sealed(superuser_connection)).event_ids == [before.event_id, unsealed.event_id]
    await record(recorder_connection, fresh)
    await seal(pools.service)
    assert (await sealed(superuser_connection)).event_ids == [before.event_id, unsealed.event_id, fresh.event_id]


async def test_a_new_key_is_recorded_with_the_head_from_which_it_signs(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    for key in (KEY, KEY, OTHER_KEY, KEY):
        await record(recorder_connection, event())
        await seal(pools.service, key)
    keys = await superuser_connection.fetch("SELECT key_id, from_size FROM ledger_keys ORDER BY from_size")
    assert [tuple(row) for row in keys] == [(KEY.key_id, 1), (OTHER_KEY.key_id, 3)]
    heads = await superuser_connection.fetch("SELECT key_id FROM ledger_heads ORDER BY size")
    assert [row["key_id"] for row in heads] == [KEY.key_id, KEY.key_id, OTHER_KEY.key_id, KEY.key_id]


ROTATIONS = "SELECT after_size, from_key_id, to_key_id FROM ledger_rotations ORDER BY after_size"


async def test_a_key_that_is_given_the_one_before_is_vouched_for_by_it_at_once_and_for_every_organization(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    await record(recorder_connection, event(), event(), event(FIRM_B))
    await seal(pools.service)
    await seal(pools.service, OTHER_KEY, previous=[KEY])
    found = await superuser_connection.fetch("SELECT * FROM ledger_rotations ORDER BY after_size")
    assert [(row["organization_id"], row["after_size"]) for row in found] == [
        (FIRM_B.organization_id, 1),
        (FIRM_A.organization_id, 2),
    ]
    for row in found:
        succession = Succession(
            organization_id=OrganizationId(row["organization_id"]),
            after_size=row["after_size"],
            from_key_id=KEY.key_id,
            from_public_key=KEY.public_key,
            to_key_id=OTHER_KEY.key_id,
            to_public_key=OTHER_KEY.public_key,
            rotated_at=row["rotated_at"],
        )
        assert is_signed(KEY.public_key, succession.signed_bytes(), row["from_signature"])
        assert is_signed(OTHER_KEY.public_key, succession.signed_bytes(), row["to_signature"])


async def test_a_worker_that_still_has_the_key_before_steps_back_and_nothing_is_lost(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    late = PostgresSealer(pools.service, KEY)
    await record(recorder_connection, event())
    await late.seal()
    await seal(pools.service, OTHER_KEY, previous=[KEY])
    await record(recorder_connection, event())
    await late.seal()
    assert len((await sealed(superuser_connection)).event_ids) == 1
    await seal(pools.service, OTHER_KEY)
    assert len((await sealed(superuser_connection)).event_ids) == 2
    heads = await superuser_connection.fetch("SELECT key_id FROM ledger_heads ORDER BY size")
    assert [row["key_id"] for row in heads] == [KEY.key_id, OTHER_KEY.key_id]
    # Who is given the other to vouch for it may go back.
    await record(recorder_connection, event())
    await seal(pools.service, KEY, previous=[OTHER_KEY])
    assert [tuple(row) for row in await superuser_connection.fetch(ROTATIONS)] == [
        (1, KEY.key_id, OTHER_KEY.key_id),
        (2, OTHER_KEY.key_id, KEY.key_id),
    ]
    assert len((await sealed(superuser_connection)).event_ids) == 3


@pytest.mark.parametrize("spoiled", ["UPDATE ledger_nodes SET hash = sha256('x')", "DELETE FROM ledger_nodes"])
async def test_over_a_tree_that_is_not_what_its_head_says_nothing_more_is_signed_and_others_go_on(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection, spoiled: str
) -> None:
    await record(recorder_connection, event(), event())
    await seal(pools.service)
    await superuser_connection.execute(spoiled)
    theirs = event(FIRM_B)
    await record(recorder_connection, event(), theirs)
    await seal(pools.service)
    assert len((await sealed(superuser_connection)).event_ids) == 2
    assert (await sealed(superuser_connection, FIRM_B)).event_ids == [theirs.event_id]


async def test_the_sealers_login_sees_no_content_and_changes_nothing_that_is_sealed(
    pools: DatabasePools, recorder_connection: Connection, service_connection: Connection
) -> None:
    await record(recorder_connection, event())
    await seal(pools.service)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service_connection.fetch("SELECT facts FROM activity_events")
    for table in ("ledger_keys", "ledger_leaves", "ledger_nodes", "ledger_heads"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET organization_id = gen_random_uuid()"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service_connection.execute(statement)


async def test_without_a_key_nothing_is_sealed_and_nothing_lost(
    pools: DatabasePools, recorder_connection: Connection, superuser_connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("no folder")
    home = GlowHome(tmp_path / "home")
    keys: list[Callable[[], LedgerKeys]] = [KeySource(home=home).keys]
    worker = SealWorker(pools.service, lambda: keys[-1]())
    kept = event()
    await record(recorder_connection, kept)
    await worker.seal()
    assert (await sealed(superuser_connection)).event_ids == []
    keys.append(lambda: LedgerKeys(KEY))
    await worker.seal()
    assert (await sealed(superuser_connection)).event_ids == [kept.event_id]
