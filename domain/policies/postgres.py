"""The organization's own policies in SQL: an append-only history, of which every set that was ever in force is read."""

from collections.abc import Sequence
from typing import cast

from domain.policies.model import (
    NewPolicyChange,
    OwnPolicies,
    OwnPolicy,
    PolicyChange,
    PolicyChangeId,
    PolicyChangeQuery,
    own_policies,
)
from domain.storage.postgres import Connection, Row

_LOCK = "SELECT glow.lock_policies()"

_COLUMNS = """p.change_id, p.policy_id, p.text, p.reason, coalesce(u.email, p.changed_by::text) AS changed_by,
       p.changed_at, p.digest"""

# The newest change of each policy, where it does not take the policy away.
_IN_FORCE = f"""
SELECT {_COLUMNS}
FROM (
    SELECT DISTINCT ON (c.policy_id) c.* FROM organization_policies c
    WHERE c.organization_id = glow.organization_id()
    ORDER BY c.policy_id, c.changed_at DESC, c.change_id DESC
) p LEFT JOIN users u ON u.user_id = p.changed_by
WHERE p.text IS NOT NULL AND glow.role() <> 'CLIENT'
ORDER BY p.policy_id
"""

# The same as it stood at a change that left this digest. Whatever a digest is of, it is always of the same texts, so
# that it does not matter which of those changes it is.
_AT = """
SELECT p.policy_id, p.text
FROM (
    SELECT DISTINCT ON (c.policy_id) c.policy_id, c.text FROM organization_policies c
    WHERE c.organization_id = glow.organization_id()
      AND (c.changed_at, c.change_id) <= (
          SELECT d.changed_at, d.change_id FROM organization_policies d
          WHERE d.organization_id = glow.organization_id() AND d.digest = $1
          ORDER BY d.changed_at, d.change_id LIMIT 1)
    ORDER BY c.policy_id, c.changed_at DESC, c.change_id DESC
) p
WHERE p.text IS NOT NULL
"""

_HISTORY = f"""
SELECT {_COLUMNS}
FROM organization_policies p LEFT JOIN users u ON u.user_id = p.changed_by
WHERE p.organization_id = glow.organization_id() AND glow.role() <> 'CLIENT'
  AND ($1::timestamptz IS NULL OR (p.changed_at, p.change_id) < ($1, $2::uuid))
  AND ($3::text IS NULL OR p.policy_id = $3)
ORDER BY p.changed_at DESC, p.change_id DESC
LIMIT $4
"""

# Later than every change before, whatever the clocks of several servers say: the newest is in force.
_ADD = f"""
WITH p AS (
    INSERT INTO organization_policies (organization_id, change_id, policy_id, text, reason, changed_by, changed_at,
        digest)
    SELECT glow.organization_id(), $1, $2, $3, $4, $5,
           greatest($6, max(o.changed_at) + interval '1 microsecond'), $7
    FROM organization_policies o WHERE o.organization_id = glow.organization_id()
    RETURNING *
)
SELECT {_COLUMNS} FROM p LEFT JOIN users u ON u.user_id = p.changed_by
"""


class PostgresPolicies:
    """PolicyRepository over a connection in the principal's context."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self) -> None:
        await self._connection.execute(_LOCK)

    async def in_force(self) -> Sequence[PolicyChange]:
        return [_change(row) for row in await self._connection.fetch(_IN_FORCE)]

    async def at(self, digest: bytes) -> OwnPolicies | None:
        rows = await self._connection.fetch(_AT, digest)
        return own_policies(OwnPolicy(id=row["policy_id"], text=row["text"]) for row in rows) if rows else None

    async def history(self, query: PolicyChangeQuery) -> Sequence[PolicyChange]:
        rows = await self._connection.fetch(_HISTORY, *query.page.behind, query.policy_id, query.page.limit + 1)
        return [_change(row) for row in rows]

    async def add(self, change: NewPolicyChange) -> PolicyChange:
        row = await self._connection.fetchrow(
            _ADD,
            change.change_id,
            change.policy_id,
            change.text,
            change.reason,
            change.changed_by,
            change.changed_at,
            change.digest,
        )
        return _change(cast(Row, row))


def _change(row: Row) -> PolicyChange:
    return PolicyChange(
        change_id=PolicyChangeId(row["change_id"]),
        policy_id=row["policy_id"],
        text=row["text"],
        reason=row["reason"],
        changed_by=row["changed_by"],
        changed_at=row["changed_at"],
        digest=row["digest"],
    )
