"""Heartbeats and orphans across organizations, and statements that find their rows by an index."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from agent.conversations import postgres
from agent.conversations.model import RunKey
from agent.conversations.postgres import PostgresRunKeeper
from agent.run_reader import INTERRUPTED
from domain.kernel import OrganizationId, RunId
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms, stand_in

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms, each with one running run."""
    await seed_firms(owner_connection)


@pytest.fixture
def keeper(pools: DatabasePools) -> PostgresRunKeeper:
    """The keeper, as glow_service."""
    return PostgresRunKeeper(pools.service.acquire)


def key(firm: Firm) -> RunKey:
    """The firm's seeded run."""
    return RunKey(organization_id=OrganizationId(firm.organization_id), run_id=RunId(firm.id("thing")))


async def test_a_heartbeat_tells_which_runs_are_still_running_and_which_somebody_cancelled(
    keeper: PostgresRunKeeper, owner_connection: Connection
) -> None:
    await owner_connection.execute("UPDATE runs SET cancel_requested = true WHERE run_id = $1", FIRM_B.id("thing"))
    ghost = RunKey(organization_id=OrganizationId(FIRM_A.organization_id), run_id=RunId(uuid4()))
    pulse = await keeper.beat([key(FIRM_A), key(FIRM_B), ghost])
    assert pulse.running == {key(FIRM_A).run_id, key(FIRM_B).run_id}
    assert pulse.to_cancel == {key(FIRM_B).run_id}


async def test_only_runs_without_a_recent_sign_of_life_are_ended(
    keeper: PostgresRunKeeper, owner_connection: Connection
) -> None:
    await owner_connection.execute("UPDATE runs SET heartbeat_at = now() - interval '1 hour'")
    await keeper.beat([key(FIRM_A)])
    orphans = await keeper.end_orphans(timedelta(minutes=1), INTERRUPTED, NOW)
    assert [(orphan.key, orphan.next_sequence) for orphan in orphans] == [(key(FIRM_B), 2)]
    row = await owner_connection.fetchrow("SELECT status, finished_at FROM runs WHERE run_id = $1", FIRM_B.id("thing"))
    assert row is not None
    assert tuple(row) == ("failed", NOW)
    assert (await keeper.beat([key(FIRM_B)])).running == frozenset()


async def test_of_processes_that_look_at_once_each_orphan_goes_to_one(keeper: PostgresRunKeeper) -> None:
    found = await asyncio.gather(*(keeper.end_orphans(timedelta(0), INTERRUPTED, NOW) for _ in range(4)))
    ended = [orphan.key.run_id for orphans in found for orphan in orphans]
    assert sorted(ended) == sorted([key(FIRM_A).run_id, key(FIRM_B).run_id])


BY_OWNER = {
    "surroundings": (postgres.SURROUNDINGS, [FIRM_A.id("employee")]),
    "conversation": (postgres.GET_CONVERSATION, [FIRM_A.id("thing")]),
    "conversations": (postgres.LIST_CONVERSATIONS, [FIRM_A.id("employee"), NOW, FIRM_A.id("thing"), 10]),
    "messages": (postgres.LIST_MESSAGES, [FIRM_A.id("thing"), FIRM_A.id("thing"), 10]),
    "history": (postgres.HISTORY, [FIRM_A.id("thing"), uuid4(), 10]),
    "asked before": (postgres.ASKED_BEFORE, [FIRM_A.id("thing"), "m1"]),
    "run": (postgres.GET_RUN, [FIRM_A.id("thing")]),
    "frames": (postgres.FRAMES, [FIRM_A.id("thing"), 0, 10]),
    "calls now": (postgres.CALLS_NOW, [[FIRM_A.id("thing")]]),
    "calls of runs": (postgres.CALLS_OF_RUNS, [FIRM_A.id("thing"), [FIRM_A.id("thing")]]),
    "steps": (
        postgres.WRITE_STEPS,
        [FIRM_A.id("thing"), "running", None, None, None, [uuid4()], ["{}"], NOW],
    ),
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
        (postgres.BEAT, [[FIRM_A.organization_id], [FIRM_A.id("thing")]]),
        (postgres.END_ORPHANS, [timedelta(minutes=1), "{}", NOW]),
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
