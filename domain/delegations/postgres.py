"""Delegations in SQL."""

from collections.abc import Sequence
from datetime import datetime

from domain.delegations.model import Delegation, DelegationId, DelegationQuery, NewDelegation
from domain.kernel import PrincipalId
from domain.storage.postgres import Connection, Row

_ADD = """
INSERT INTO delegations (organization_id, delegation_id, delegator_id, delegate_id, starts_at, ends_at, reason,
    given_at)
SELECT m.organization_id, $1, $2, m.user_id, $4, $5, $6, $7
FROM users u JOIN memberships m USING (user_id)
WHERE m.organization_id = glow.organization_id() AND u.kind = 'person' AND lower(u.email) = lower($3)
    AND m.user_id <> $2
"""

# Two at once would each count the others and not one another.
_LOCK = """
SELECT pg_advisory_xact_lock(hashtextextended('glow.delegations:' || glow.organization_id() || ':' || $1::uuid, 0))
"""
_COUNT = """
SELECT count(*) FROM delegations
WHERE organization_id = glow.organization_id() AND delegator_id = $1 AND revoked_at IS NULL AND ends_at > $2
"""

_REVOKE = """
UPDATE delegations SET revoked_by = $2, revoked_at = $3
WHERE organization_id = glow.organization_id() AND delegation_id = $1 AND revoked_at IS NULL AND ends_at > $3
"""

_DELEGATIONS = """
SELECT d.delegation_id, d.starts_at, d.ends_at, d.reason, d.given_at, d.revoked_at,
       coalesce(g.email, d.delegator_id::text) AS delegator, coalesce(t.email, d.delegate_id::text) AS delegate,
       coalesce(r.email, d.revoked_by::text) AS revoked_by
FROM delegations d
LEFT JOIN users g ON g.user_id = d.delegator_id
LEFT JOIN users t ON t.user_id = d.delegate_id
LEFT JOIN users r ON r.user_id = d.revoked_by
WHERE d.organization_id = glow.organization_id()
"""

_GET = f"{_DELEGATIONS} AND d.delegation_id = $1"

_LIST = f"""{_DELEGATIONS}
  AND ($1::timestamptz IS NULL OR (d.given_at, d.delegation_id) < ($1, $2::uuid))
  AND ($3 OR d.revoked_at IS NULL AND d.ends_at > $4)
ORDER BY d.given_at DESC, d.delegation_id DESC LIMIT $5
"""


class PostgresDelegations:
    """DelegationRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, delegation: NewDelegation) -> bool:
        added = await self._connection.execute(
            _ADD,
            delegation.delegation_id,
            delegation.delegator_id,
            delegation.delegate,
            delegation.starts_at,
            delegation.ends_at,
            delegation.reason,
            delegation.given_at,
        )
        return added == "INSERT 0 1"

    async def count(self, delegator: PrincipalId, now: datetime) -> int:
        await self._connection.execute(_LOCK, delegator)
        return int(await self._connection.fetchval(_COUNT, delegator, now))

    async def revoke(self, delegation_id: DelegationId, by: PrincipalId, now: datetime) -> bool:
        return await self._connection.execute(_REVOKE, delegation_id, by, now) == "UPDATE 1"

    async def get(self, delegation_id: DelegationId) -> Delegation | None:
        row = await self._connection.fetchrow(_GET, delegation_id)
        return None if row is None else _delegation(row)

    async def list(self, query: DelegationQuery, now: datetime) -> Sequence[Delegation]:
        rows = await self._connection.fetch(_LIST, *query.page.behind, query.over, now, query.page.limit + 1)
        return [_delegation(row) for row in rows]


def _delegation(row: Row) -> Delegation:
    return Delegation(
        delegation_id=DelegationId(row["delegation_id"]),
        delegator=row["delegator"],
        delegate=row["delegate"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        reason=row["reason"],
        given_at=row["given_at"],
        revoked_at=row["revoked_at"],
        revoked_by=row["revoked_by"],
    )
