"""Who a credential speaks for: the look-ups that come before an organization is known, by exact key only."""

from dataclasses import dataclass
from typing import cast

from domain.kernel import OrganizationId, PrincipalId, PrincipalKind, Role
from domain.storage.postgres import Row
from server.database.pool import Pool

MEMBERSHIPS = """
SELECT organization_id, slug, role, kind, email, display_name FROM glow.resolve_memberships($1)
"""
LINKED = """
SELECT organization_id, slug, user_id, role, kind, email, display_name FROM glow.resolve_identity($1, $2)
"""
USER = "SELECT user_id FROM glow.resolve_user($1)"
SERVICE_ACCOUNT = "SELECT glow.resolve_service_account(glow.resolve_organization($1))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A principal in one of its organizations."""

    organization_id: OrganizationId
    organization: str
    """The organization's slug."""
    principal_id: PrincipalId
    kind: PrincipalKind
    role: Role
    email: str
    display_name: str


class PostgresIdentities:
    """Resolves principals as glow_app through the SECURITY DEFINER functions made for it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def memberships(self, principal_id: PrincipalId) -> tuple[Member, ...]:
        """Every organization that this principal belongs to, by slug; at most 100."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(MEMBERSHIPS, principal_id)
        return tuple(_member(row, principal_id) for row in rows)

    async def linked(self, issuer: str, subject: str) -> tuple[Member, ...]:
        """Whom each organization that links this identity takes it for, by slug; at most 100."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(LINKED, issuer, subject)
        return tuple(_member(row, PrincipalId(row["user_id"])) for row in rows)

    async def principal_by_email(self, email: str) -> PrincipalId | None:
        """The principal with this address; None: there is none."""
        async with self._pool.acquire() as connection:
            found = await connection.fetchval(USER, email)
        return None if found is None else PrincipalId(found)

    async def service_account(self, organization: str) -> PrincipalId | None:
        """The service account of the organization with this slug; None: no such organization, or it has none."""
        async with self._pool.acquire() as connection:
            found = await connection.fetchval(SERVICE_ACCOUNT, organization)
        return None if found is None else PrincipalId(found)

    async def service_member(self, organization_id: OrganizationId) -> Member | None:
        """The service account of an organization, as which what nobody asked for is done; None: it has none."""
        async with self._pool.acquire() as connection:
            found = await connection.fetchval("SELECT glow.resolve_service_account($1)", organization_id)
        return None if found is None else await self.member_of(organization_id, PrincipalId(found))

    async def member_of(self, organization_id: OrganizationId, principal_id: PrincipalId) -> Member | None:
        """The principal in this organization; None: no membership there."""
        for member in await self.memberships(principal_id):
            if member.organization_id == organization_id:
                return member
        return None

    async def member(self, organization: str, principal_id: PrincipalId) -> Member | None:
        """The principal in the organization with this slug; None: no membership there."""
        for member in await self.memberships(principal_id):
            if member.organization == organization:
                return member
        return None


def _member(row: Row, principal_id: PrincipalId) -> Member:
    return Member(
        organization_id=OrganizationId(row["organization_id"]),
        organization=row["slug"],
        principal_id=principal_id,
        kind=cast(PrincipalKind, row["kind"]),
        role=Role(row["role"]),
        email=row["email"],
        display_name=row["display_name"],
    )
