"""Two firms of the same shape, seeded by SQL, for tests that look at walls rather than at demo data."""

import re
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from server.database.connection import Connection
from server.database.unit_of_work import BEGIN_SESSION, PLAN_ANEW

SEED = Path(__file__).parents[1] / "database" / "policies" / "seed.sql"
_HIGHEST = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', 3, $2, clock_timestamp())
"""
_NAMESPACE = UUID("00000000-0000-4000-8000-000000000000")
_NAMES = (
    "org",
    "partner",
    "employee",
    "client",
    "service",
    "engagement",
    "other_engagement",
    "thing",
    "client_thing",
    "other_client_thing",
)


@dataclass(frozen=True, slots=True)
class Firm:
    """The ids of one seeded firm; `thing` is the id of one row in every table that has rows of its own."""

    n: int

    def id(self, name: str) -> UUID:
        """The id behind a name of the seed."""
        return uuid5(_NAMESPACE, f"{self.n}:{name}")

    @property
    def organization_id(self) -> UUID:
        return self.id("org")


FIRM_A, FIRM_B = Firm(1), Firm(2)


async def seed_firms(owner: Connection) -> tuple[Firm, Firm]:
    """Both firms, written as the owner."""
    for firm in (FIRM_A, FIRM_B):
        await owner.execute(seed_sql(firm))
    return FIRM_A, FIRM_B


def seed_sql(firm: Firm) -> str:
    """The seed with one firm's ids in place of its names."""
    text = SEED.read_text(encoding="utf-8").replace(":n", str(firm.n))
    for name in sorted(_NAMES, key=len, reverse=True):
        text = re.sub(rf":{name}\b", f"'{firm.id(name)}'", text)
    return text


async def rival_of(owner: Connection, firm: Firm = FIRM_A) -> str:
    """The e-mail address of another client of the firm's, on the engagement that the first is not bound to."""
    rival, email = firm.id("rival"), f"rival@firm-{firm.n}.example"
    await owner.execute(
        "INSERT INTO users (user_id, kind, email, display_name) VALUES ($1, 'person', $2, 'Rival Co')", rival, email
    )
    org, there = firm.organization_id, firm.id("other_engagement")
    member = "INSERT INTO memberships (organization_id, user_id, role) VALUES ($1, $2, 'CLIENT')"
    await owner.execute(member, org, rival)
    bound = "INSERT INTO engagement_members (organization_id, engagement_id, user_id) VALUES ($1, $2, $3)"
    await owner.execute(bound, org, there, rival)
    return email


async def stand_in(connection: Connection, firm: Firm, who: str) -> None:
    """Set the context of one of the firm's principals, as a reading call does; inside a transaction."""
    await connection.fetchval(BEGIN_SESSION + PLAN_ANEW, firm.organization_id, firm.id(who))


async def at_the_highest_level(owner: Connection) -> None:
    """The employee is a manager whose agent may do all that policy lets it."""
    raised = "UPDATE memberships SET autonomy_ceiling = 3, role = 'MANAGER' WHERE user_id = $1"
    await owner.execute(raised, FIRM_A.id("employee"))
    await owner.execute(_HIGHEST, FIRM_A.organization_id, FIRM_A.id("partner"))
