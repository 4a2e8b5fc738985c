"""Heartbeats and orphans across organizations, and statements that find their rows by an index."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from agent.conversations.leases import Lease, RunKey
from agent.conversations.model import Step
from agent.conversations.postgres import branches, calls, conversations, history, runs
from agent.conversations.postgres import keeper as leases
from agent.conversations.postgres.frames import insert_frames
from agent.conversations.postgres.keeper import PostgresRunKeeper
from agent.conversations.postgres.store import PostgresConversations
from agent.conversations.runs import Ending
from agent.events import RunFailed, RunFrame, RunUsage
from agent.run_options import RunOptions
from domain.kernel import OrganizationId, RunId
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms, stand_in
from tests.support.gates import principal_of

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STEP = Step(message_id=uuid4(), text="Said.")
USAGE = RunUsage(input_tokens=1, output_tokens=1, model_calls=1, tool_calls=0)


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms, each with one running run."""
    await seed_firms(owner_connection)


@pytest.fixture
def keeper(pools: DatabasePools) -> PostgresRunKeeper:
    """The keeper, as glow_service."""
    return PostgresRunKeeper(pools.service.acquire)


def lease(firm: Firm, epoch: int = 1) -> Lease:
    """On the firm's seeded run."""
    return Lease(key=key(firm), epoch=epoch)


def frame(firm: Firm, sequence: int) -> RunFrame:
    """A frame of the firm's seeded run."""
    return RunFrame(run_id=key(firm).run_id, sequence=sequence, type="message.delta", data="{}")


def key(firm: Firm) -> RunKey:
    """The firm's seeded run."""
    return RunKey(organization_id=OrganizationId(firm.organization_id), run_id=RunId(firm.id("thing")))


async def test_a_heartbeat_tells_which_runs_are_still_running_and_which_somebody_cancelled(
    keeper: PostgresRunKeeper, owner_connection: Connection
) -> None:
    await owner_connection.execute("UPDATE runs SET cancel_requested = true WHERE run_id = $1", FIRM_B.id("thing"))
    ghost = RunKey(organization_id=OrganizationId(FIRM_A.organization_id), run_id=RunId(uuid4()))
    pulse = await keeper.beat([lease(FIRM_A), lease(FIRM_B), Lease(key=ghost, epoch=1)])
    assert pulse.running == {key(FIRM_A).run_id, key(FIRM_B).run_id}
    assert pulse.to_cancel == {key(FIRM_B).run_id}


async def test_a_row_that_somebody_has_locked_holds_up_no_other_runs_heartbeat_and_is_not_taken_for_lost(
    keeper: PostgresRunKeeper, superuser_connection: Connection, owner_connection: Connection
) -> None:
    await owner_connection.execute("UPDATE runs SET heartbeat_at = now() - interval '1 hour'")
    async with superuser_connection.transaction():
        await superuser_connection.execute("SELECT FROM runs WHERE run_id = $1 FOR UPDATE", FIRM_A.id("thing"))
        async with asyncio.timeout(30):
            pulse = await keeper.beat([lease(FIRM_A), lease(FIRM_B)])
        assert pulse.running == {key(FIRM_A).run_id, key(FIRM_B).run_id}
        assert await keeper.stale(MINUTE) == [key(FIRM_A)], "the other one is alive"
        assert await keeper.take(key(FIRM_A), MINUTE) is None
    await keeper.beat([lease(FIRM_A)])
    assert await keeper.stale(MINUTE) == []


async def test_carriers_that_were_lost_count_no_more_once_a_step_is_kept_unless_the_run_is_given_up(
    keeper: PostgresRunKeeper, app_connection: Connection, owner_connection: Connection
) -> None:
    async def lost(epoch: int, *, given_up: bool) -> int:
        await owner_connection.execute("UPDATE runs SET heartbeat_at = now() - interval '1 hour'")
        taken = await keeper.take(key(FIRM_A), MINUTE)
        assert taken is not None
        async with app_connection.transaction():
            await stand_in(app_connection, FIRM_A, "employee")
            store, step = PostgresConversations(app_connection, principal_of(FIRM_A)), replace(STEP, message_id=uuid4())
            assert await store.keep(key(FIRM_A).run_id, epoch, [], USAGE, NOW)
            assert await store.keep(key(FIRM_A).run_id, epoch, [step], USAGE, NOW, given_up=given_up)
        return taken.lost_carriers

    assert [await lost(2, given_up=False), await lost(3, given_up=True), await lost(4, given_up=False)] == [1, 1, 2]
    assert await lost(5, given_up=False) == 1


async def test_a_step_is_a_sign_of_life_from_when_it_is_written(
    app_connection: Connection, owner_connection: Connection
) -> None:
    async with app_connection.transaction():
        began = await app_connection.fetchval("SELECT now()")
        await stand_in(app_connection, FIRM_A, "employee")
        store = PostgresConversations(app_connection, principal_of(FIRM_A))
        assert await store.keep(key(FIRM_A).run_id, 1, [STEP], USAGE, NOW)
    beat = await owner_connection.fetchval("SELECT heartbeat_at FROM runs WHERE run_id = $1", key(FIRM_A).run_id)
    assert beat > began


async def test_a_row_that_a_process_locked_and_stands_still_is_free_two_heartbeats_before_its_run_is_taken_for_dead(
    pools: DatabasePools,
) -> None:
    options = RunOptions()
    for pool in (pools.app, pools.recorder, pools.service):
        async with pool.acquire() as connection:
            held = await connection.fetchval("SELECT current_setting('idle_in_transaction_session_timeout')::interval")
        assert timedelta(0) < held <= options.stale_after - 2 * options.heartbeat


async def test_only_a_run_without_a_recent_sign_of_life_is_taken_over(
    keeper: PostgresRunKeeper, owner_connection: Connection
) -> None:
    await owner_connection.execute("UPDATE runs SET heartbeat_at = now() - interval '1 hour'")
    await keeper.beat([lease(FIRM_A)])
    assert await keeper.stale(MINUTE) == [key(FIRM_B)]
    assert await keeper.take(key(FIRM_A), MINUTE) is None
    taken = await keeper.take(key(FIRM_B), MINUTE)
    assert taken is not None
    assert (taken.lease, taken.lost_carriers) == (lease(FIRM_B, epoch=2), 1)
    assert (taken.owner_id, taken.owner_kind, taken.door) == (FIRM_B.id("employee"), "person", "chat")
    # From now on it is alive again.
    assert await keeper.stale(MINUTE) == []


async def test_a_run_that_was_let_go_of_is_taken_over_at_once_and_its_carrier_not_counted_as_lost(
    keeper: PostgresRunKeeper,
) -> None:
    await keeper.release([lease(FIRM_A), lease(FIRM_B, epoch=7)])
    assert await keeper.stale(MINUTE) == [key(FIRM_A)]
    taken = await keeper.take(key(FIRM_A), MINUTE)
    assert taken is not None
    assert (taken.lease.epoch, taken.lost_carriers) == (2, 0)


async def test_of_processes_that_take_at_once_one_gets_the_run(keeper: PostgresRunKeeper) -> None:
    await keeper.release([lease(FIRM_A)])
    taken = await asyncio.gather(*(keeper.take(key(FIRM_A), MINUTE) for _ in range(4)))
    assert [each.lease.epoch for each in taken if each is not None] == [2]


async def test_what_names_an_epoch_that_is_over_is_refused_by_the_database(
    keeper: PostgresRunKeeper, pools: DatabasePools, app_connection: Connection, owner_connection: Connection
) -> None:
    await keeper.release([lease(FIRM_A)])
    await keeper.take(key(FIRM_A), MINUTE)
    assert (await keeper.beat([lease(FIRM_A)])).running == frozenset()
    await keeper.end(lease(FIRM_A), RunFailed(code="x", message="x", retryable=False), NOW)
    await keeper.release([lease(FIRM_A)])
    assert await keeper.stale(MINUTE) == []
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "employee")
        store = PostgresConversations(app_connection, principal_of(FIRM_A))
        assert not await store.keep(key(FIRM_A).run_id, 1, [STEP], USAGE, NOW)
        assert not await store.finish(key(FIRM_A).run_id, 1, Ending(status="completed"), [STEP], NOW)
        assert await store.keep(key(FIRM_A).run_id, 2, [STEP], USAGE, NOW)
    assert await owner_connection.fetchval("SELECT status FROM runs WHERE run_id = $1", FIRM_A.id("thing")) == "running"


async def test_a_frame_of_an_epoch_that_is_over_is_refused_and_the_batchs_others_stand(
    keeper: PostgresRunKeeper, pools: DatabasePools, superuser_connection: Connection
) -> None:
    await keeper.release([lease(FIRM_A)])
    await keeper.take(key(FIRM_A), MINUTE)
    old, other, new = (1, frame(FIRM_A, 2)), (1, frame(FIRM_B, 2)), (2, frame(FIRM_A, 3))
    async with pools.recorder.acquire() as connection:
        of_a, of_b = key(FIRM_A).organization_id, key(FIRM_B).organization_id
        assert await insert_frames(connection, [(of_a, *old), (of_b, *other)]) == {key(FIRM_A).run_id}
        assert await insert_frames(connection, [(of_a, *new)]) == frozenset()
        # A commit whose answer was lost is written again, and stands once.
        assert await insert_frames(connection, [(of_a, *new)]) == frozenset()
    stored = await superuser_connection.fetch("SELECT run_id, sequence FROM run_events WHERE sequence > 1")
    assert {tuple(row) for row in stored} == {(FIRM_A.id("thing"), 3), (FIRM_B.id("thing"), 2)}


async def test_a_plain_insert_adds_to_no_run_that_was_taken_over(
    keeper: PostgresRunKeeper, recorder_connection: Connection
) -> None:
    await keeper.release([lease(FIRM_A)])
    await keeper.take(key(FIRM_A), MINUTE)
    statement = "INSERT INTO run_events (organization_id, run_id, sequence, type, data) VALUES ($1, $2, 2, 't', '{}')"
    await recorder_connection.execute(statement, FIRM_B.organization_id, FIRM_B.id("thing"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await recorder_connection.execute(statement, FIRM_A.organization_id, FIRM_A.id("thing"))


async def test_nobody_takes_a_run_over_while_an_append_to_it_is_under_way(
    keeper: PostgresRunKeeper, recorder_connection: Connection
) -> None:
    await keeper.release([lease(FIRM_A)])
    async with recorder_connection.transaction():
        await insert_frames(recorder_connection, [(key(FIRM_A).organization_id, 1, frame(FIRM_A, 2))])
        assert await asyncio.wait_for(keeper.take(key(FIRM_A), MINUTE), 10) is None
        # A heartbeat does not wait for it either.
        assert (await asyncio.wait_for(keeper.beat([lease(FIRM_A)]), 10)).running == {key(FIRM_A).run_id}
    await keeper.release([lease(FIRM_A)])
    assert await keeper.take(key(FIRM_A), MINUTE) is not None


async def test_runs_that_have_grown_or_ended_are_told_of_any_organization(
    keeper: PostgresRunKeeper, owner_connection: Connection
) -> None:
    ghost = RunKey(organization_id=OrganizationId(FIRM_A.organization_id), run_id=RunId(uuid4()))
    assert await keeper.grown({key(FIRM_A): 1, key(FIRM_B): 0, ghost: 0}) == [key(FIRM_B).run_id, ghost.run_id]
    await owner_connection.execute("UPDATE runs SET status = 'completed' WHERE run_id = $1", FIRM_A.id("thing"))
    assert await keeper.grown({key(FIRM_A): 1, key(FIRM_B): 1}) == [key(FIRM_A).run_id]


BY_OWNER = {
    "surroundings": (conversations.SURROUNDINGS, [FIRM_A.id("employee")]),
    "conversation": (conversations.GET_CONVERSATION, [FIRM_A.id("thing")]),
    "conversations": (conversations.LIST_CONVERSATIONS, [FIRM_A.id("employee"), NOW, FIRM_A.id("thing"), 10]),
    "messages": (branches.LIST_MESSAGES, [FIRM_A.id("thing"), FIRM_A.id("thing"), FIRM_A.id("thing"), 10]),
    "entitle": (conversations.ENTITLE, [FIRM_A.id("thing"), FIRM_A.id("thing"), "Title", None]),
    "search": (conversations.SEARCH, [FIRM_A.id("employee"), NOW, FIRM_A.id("thing"), 10, ["text"], ["'text':*"]]),
    "matched": (conversations.MATCHED, [[FIRM_A.id("thing")]]),
    "versions": (branches.VERSIONS, [FIRM_A.id("thing")]),
    "newest below": (branches.NEWEST_BELOW, [FIRM_A.id("thing"), FIRM_A.id("thing")]),
    "activate": (branches.ACTIVATE, [FIRM_A.id("thing"), FIRM_A.id("thing")]),
    "asked turn": (branches.ASKED_TURN, [FIRM_A.id("thing")]),
    "history": (history.HISTORY, [FIRM_A.id("thing"), uuid4(), 10]),
    "acts elsewhere": (history.ACTS_ELSEWHERE, [FIRM_A.id("thing"), uuid4(), 10]),
    "answered before": (history.ANSWERED_BEFORE, [FIRM_A.id("thing"), uuid4()]),
    "asked before": (runs.ASKED_BEFORE, [FIRM_A.id("thing"), "m1"]),
    "run": (runs.GET_RUN, [FIRM_A.id("thing")]),
    "frames": (runs.FRAMES, [FIRM_A.id("thing"), 0, 10]),
    "calls now": (calls.CALLS_NOW, [[FIRM_A.id("thing")]]),
    "calls of runs": (calls.CALLS_OF_RUNS, [FIRM_A.id("thing"), [FIRM_A.id("thing")]]),
    "steps": (
        runs.WRITE_STEPS,
        [FIRM_A.id("thing"), "running", None, None, None, [uuid4()], ["{}"], NOW, 1, None, True],
    ),
    "unfinished": (runs.UNFINISHED, [FIRM_A.id("thing")]),
    "steps of a run": (runs.STEPS_OF_RUN, [FIRM_A.id("thing"), FIRM_A.id("thing")]),
    "told since": (runs.TOLD_SINCE, [FIRM_A.id("thing")]),
}


@pytest.mark.parametrize("name", BY_OWNER)
async def test_an_owners_statement_finds_its_rows_by_an_index(app_connection: Connection, name: str) -> None:
    statement, arguments = BY_OWNER[name]
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "employee")
        await by_index(app_connection, statement, arguments)


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        (leases.BEAT, [[FIRM_A.organization_id], [FIRM_A.id("thing")], [1]]),
        (leases.STALE, [MINUTE]),
        (leases.TAKE, [FIRM_A.organization_id, FIRM_A.id("thing"), MINUTE]),
        (leases.END, [FIRM_A.organization_id, FIRM_A.id("thing"), 1, "{}", NOW]),
        (leases.ASKED_IN_VAIN, [FIRM_A.organization_id, FIRM_A.id("thing")]),
        (leases.RELEASE, [[FIRM_A.organization_id], [FIRM_A.id("thing")], [1]]),
        (leases.GROWN, [[FIRM_A.organization_id], [FIRM_A.id("thing")], [0]]),
    ],
)
async def test_a_keepers_statement_finds_its_rows_by_an_index(
    service_connection: Connection, statement: str, arguments: list[object]
) -> None:
    async with service_connection.transaction():
        await by_index(service_connection, statement, arguments)


async def by_index(connection: Connection, statement: str, arguments: Sequence[object]) -> None:
    """Fails when some table could only be read from one end to the other."""
    await connection.execute("SET LOCAL enable_seqscan = off")
    lines = await connection.fetch(f"EXPLAIN {statement}", *arguments)
    plan = "\n".join(str(line[0]) for line in lines)
    assert "Seq Scan" not in plan, plan
    assert "Disabled" not in plan, plan
