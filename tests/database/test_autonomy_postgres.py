"""What bounds the agent, read for whoever asks."""

import pytest

from domain.autonomy.postgres import PostgresAutonomy
from domain.autonomy.service import AutonomyService
from domain.kernel import Level
from server.database.connection import Connection
from tests.support.calls import NOW, acting, later
from tests.support.firms import FIRM_A, seed_firms

YEARS = 10 * 365 * 86_400


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    await seed_firms(owner_connection)
    return app_connection


async def test_the_level_in_force_is_read_for_the_principal_and_the_tool(
    app: Connection, owner_connection: Connection
) -> None:
    setting = """INSERT INTO autonomy_settings
        (organization_id, setting_id, scope, subject, level, autopilot_disabled, changed_by, changed_at)
        VALUES ($1, gen_random_uuid(), $2, $3, $4, $5, $6, $7)"""
    organization, partner = FIRM_A.organization_id, FIRM_A.id("partner")
    await owner_connection.execute(setting, organization, "tool", "task_create", 0, False, partner, NOW)
    async with acting(app, "employee"):
        autonomy = AutonomyService(PostgresAutonomy(app))
        assert (await autonomy.status()).level == Level.L2
        assert (await autonomy.status(tool="task_create")).level == Level.L0
        assert (await autonomy.status(persona_ceiling=Level.L1)).level == Level.L1
    await owner_connection.execute(setting, organization, "organization", "", 3, True, partner, later(YEARS))
    async with acting(app, "employee"):
        status = await AutonomyService(PostgresAutonomy(app)).status()
    assert (status.level, status.bounds.organization_level, status.bounds.autopilot_disabled) == (1, 3, True)
