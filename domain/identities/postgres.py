"""Identities in SQL, behind the organization's wall."""

from datetime import datetime

from domain.identities.model import Holder, Identity
from domain.kernel import PrincipalId
from domain.storage.postgres import Connection, Row

_MEMBER = """
SELECT u.user_id, u.email FROM memberships m JOIN users u USING (user_id)
WHERE m.organization_id = glow.organization_id() AND lower(u.email) = lower($1)
"""

_HOLDER = """
SELECT u.user_id, u.email FROM identities i JOIN users u USING (user_id)
WHERE i.organization_id = glow.organization_id() AND i.issuer = $1 AND i.subject = $2
"""

# Of two at once the first wins; the other one sees whose it is.
_LINK = """
INSERT INTO identities (organization_id, issuer, subject, user_id, linked_by, linked_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5)
ON CONFLICT (organization_id, issuer, subject) DO NOTHING RETURNING true
"""

_UNLINK = """
DELETE FROM identities WHERE organization_id = glow.organization_id() AND issuer = $1 AND subject = $2
"""


class PostgresIdentityLinks:
    """IdentityRepository over a connection in the principal's context."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def member(self, email: str) -> Holder | None:
        return _holder(await self._connection.fetchrow(_MEMBER, email))

    async def holder(self, identity: Identity) -> Holder | None:
        return _holder(await self._connection.fetchrow(_HOLDER, identity.issuer, identity.subject))

    async def link(self, identity: Identity, member: PrincipalId, by: PrincipalId, now: datetime) -> bool:
        linked = await self._connection.fetchval(_LINK, identity.issuer, identity.subject, member, by, now)
        return bool(linked)

    async def unlink(self, identity: Identity) -> None:
        await self._connection.execute(_UNLINK, identity.issuer, identity.subject)


def _holder(row: Row | None) -> Holder | None:
    return None if row is None else Holder(principal_id=PrincipalId(row["user_id"]), email=row["email"])
