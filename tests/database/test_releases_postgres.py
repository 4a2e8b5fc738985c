"""The state of a release control, as the database computes it from sign-offs."""

import pytest

from domain.kernel import EngagementId
from domain.releases.postgres import PostgresReleases
from server.database.connection import Connection
from tests.support.calls import acting
from tests.support.firms import FIRM_A, seed_firms


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    await seed_firms(owner_connection)
    return app_connection


async def test_the_state_of_a_release_control_is_computed(app: Connection) -> None:
    async with acting(app, "partner"):
        releases = PostgresReleases(app)
        signed = await releases.state("plan_freeze", EngagementId(FIRM_A.id("engagement")))
        unsigned = await releases.state("plan_freeze", EngagementId(FIRM_A.id("other_engagement")))
        absent = await releases.state("period_lock", EngagementId(FIRM_A.id("engagement")))
    assert (signed.state, signed.missing) == ("satisfied", ())
    assert (unsigned.state, unsigned.missing) == ("pending", ("PLAN_REVIEW",))
    assert (absent.state, absent.missing) == ("not_applicable", ())
