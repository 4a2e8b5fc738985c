"""A worker that is killed in the midst of an erasure leaves whole batches: the next one goes on behind them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.database.connection import Connection
from tests.database.test_privacy import AT_REST, MANY
from tests.doors.test_background_unrecorded import time_passes
from tests.support.database import Database
from tests.support.faulty_server import Nursery, killed_working, nursery
from tests.support.firms import FIRM_A, seed_firms
from tests.support.parted import assert_nothing_parted

pytestmark = pytest.mark.timeout(240)

PERSON, ERASURE = FIRM_A.id("employee"), FIRM_A.id("erasure")
ASKED = """
INSERT INTO erasures (organization_id, erasure_id, user_id, requested_by, call_id, requested_at)
VALUES ($1, $2, $3, $4, $2, now() - interval '1 minute')
"""
LEFT = """
SELECT (SELECT count(*) FROM conversations WHERE owner_id = $1) AS conversations,
       (SELECT count(*) FROM activity_payloads p JOIN activity_events e USING (organization_id, event_id)
        WHERE e.principal_id = $1) AS payloads
"""
STATE = "SELECT state FROM erasures WHERE erasure_id = $1"


@pytest.fixture
async def servers(database: Database, owner_connection: Connection) -> AsyncIterator[Nursery]:
    await seed_firms(owner_connection)
    await owner_connection.execute(AT_REST)
    await owner_connection.execute(MANY, FIRM_A.organization_id, PERSON, FIRM_A.id("thing"), 10)
    await owner_connection.execute(ASKED, FIRM_A.organization_id, ERASURE, PERSON, FIRM_A.id("partner"))
    async with nursery(database) as running:
        yield running


async def test_an_erasure_whose_worker_is_killed_at_each_step_comes_to_its_end(
    servers: Nursery, superuser_connection: Connection
) -> None:
    for step in ("ticket", "outcome", "committed"):
        # The first commit keeps the person out; what follows goes on from there.
        await time_passes(superuser_connection)
        await killed_working(servers, step)
        assert await superuser_connection.fetchval(STATE, ERASURE) == ("ending" if step == "committed" else "asked")
        await assert_nothing_parted(superuser_connection, f"an erasure at {step}")
    await time_passes(superuser_connection)
    async with servers.server("work", 3, works=True) as server:
        await server.ended()
    await assert_nothing_parted(superuser_connection, "the third batch of an erasure")
    await time_passes(superuser_connection)
    async with servers.server(works=True):
        # The suite's timeout bounds it.
        while True:
            if await superuser_connection.fetchval(STATE, ERASURE) == "done":
                break
            await asyncio.sleep(0.05)
    left = await superuser_connection.fetchrow(LEFT, PERSON)
    assert left is not None
    assert tuple(left) == (0, 0)
    await assert_nothing_parted(superuser_connection, "the erasure is done")
