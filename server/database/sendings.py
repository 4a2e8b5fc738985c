"""Which head has come to which place elsewhere, as glow_service: claimed before it is sent, told after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from domain.kernel import OrganizationId
from domain.ledger.model import Head, Key, Rotation
from domain.ledger.postgres import head_of, rotation_of
from server.database.connection import AnyConnection
from server.database.pool import Pool

LEASE = timedelta(minutes=2)
"""After which another worker takes what one had claimed and died over."""
LONGEST_REST = timedelta(hours=1)

# Whose newest head a place has not had. What another worker has claimed meanwhile is left to it.
CLAIM = """
WITH newest AS (
    SELECT o.organization_id, h.size, h.root
    FROM organizations o CROSS JOIN LATERAL (
        SELECT l.size, l.root FROM ledger_heads l
        WHERE l.organization_id = o.organization_id ORDER BY l.size DESC LIMIT 1) h
    WHERE $2::text[] IS NULL OR o.slug = ANY ($2)
), due AS (
    SELECT n.organization_id
    FROM newest n LEFT JOIN ledger_sendings s ON s.organization_id = n.organization_id AND s.place = $1
    WHERE s.organization_id IS NULL OR (s.due_at <= now() AND (s.size, s.root) IS DISTINCT FROM (n.size, n.root))
    ORDER BY s.due_at NULLS FIRST, n.organization_id LIMIT $3
)
INSERT INTO ledger_sendings AS s (organization_id, place, due_at, claim)
SELECT organization_id, $1, now() + $4::interval, $5 FROM due
ON CONFLICT (organization_id, place) DO UPDATE SET due_at = EXCLUDED.due_at, claim = EXCLUDED.claim
    WHERE s.due_at <= now()
RETURNING s.organization_id
"""
CLAIMED = """
SELECT s.organization_id, o.slug, h.size, h.root, h.chain, h.sealed_at, h.key_id, h.signature, k.public_key,
       k.from_size, k.introduced_at, s.size = 0 OR EXISTS (
           SELECT FROM ledger_heads l
           WHERE l.organization_id = s.organization_id AND l.size = s.size AND l.root = s.root) AS as_sent
FROM ledger_sendings s JOIN organizations o USING (organization_id)
CROSS JOIN LATERAL (
    SELECT * FROM ledger_heads l WHERE l.organization_id = s.organization_id ORDER BY l.size DESC LIMIT 1) h
JOIN ledger_keys k ON k.organization_id = h.organization_id AND k.key_id = h.key_id
WHERE s.place = $1 AND s.claim = $2
ORDER BY s.organization_id
"""
ROTATIONS = """
SELECT r.organization_id, r.after_size, r.from_key_id, k.public_key AS from_public_key, r.to_key_id, r.to_public_key,
       r.rotated_at, r.from_signature, r.to_signature
FROM ledger_rotations r JOIN ledger_keys k ON k.organization_id = r.organization_id AND k.key_id = r.from_key_id
WHERE r.organization_id = ANY ($1)
ORDER BY r.organization_id, r.after_size, r.rotated_at, r.to_key_id LIMIT 10000
"""
SENT = """
UPDATE ledger_sendings SET size = $4, root = $5, sent_at = now(), due_at = now() + $6::interval, claim = NULL,
    failures = 0, failing_since = NULL, failure = NULL
WHERE organization_id = $1 AND place = $2 AND claim = $3
"""
FAILED = """
UPDATE ledger_sendings SET failures = failures + 1, failing_since = coalesce(failing_since, now()), failure = $4,
    due_at = now() + least($5::interval, interval '10 seconds' * 2 ^ least(failures, 20)), claim = NULL
WHERE organization_id = $1 AND place = $2 AND claim = $3
"""
STATES = """
SELECT place, count(*) FILTER (WHERE sent_at IS NOT NULL) AS reached, count(*) FILTER (WHERE failures > 0) AS failing,
       min(failing_since) AS since, max(sent_at) AS sent_at,
       (array_agg(failure ORDER BY failing_since) FILTER (WHERE failures > 0))[1] AS failure
FROM ledger_sendings WHERE place = ANY ($1) GROUP BY place
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedHead:
    """An organization's newest head, to be sent to one place by whoever holds the claim."""

    claim: UUID
    organization_id: OrganizationId
    slug: str
    head: Head
    key: Key
    rotations: Sequence[Rotation]
    as_sent: bool
    """Whether the ledger still has the head that was sent there last; False: somebody wrote another history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceState:
    """How the sending to one place goes."""

    place: str
    reached: int
    """Organizations of which some head has come there."""
    failing: int
    """Organizations whose newest head does not get there."""
    since: datetime | None
    sent_at: datetime | None
    failure: str | None


class PostgresSendings:
    """What was sent where."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, place: str, organizations: Sequence[str] | None, most: int) -> Sequence[ClaimedHead]:
        """Heads that the place has not had, at most `most`; nobody else sends them for the length of a lease.

        Raises  Unavailable: no database.
        """
        claim = uuid4()
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetch(CLAIM, place, organizations, most, LEASE, claim):
                return []
            rows = await connection.fetch(CLAIMED, place, claim)
            ids = [row["organization_id"] for row in rows]
            rotations = [rotation_of(row) for row in await connection.fetch(ROTATIONS, ids)]
        return [
            ClaimedHead(
                claim=claim,
                organization_id=OrganizationId(row["organization_id"]),
                slug=row["slug"],
                head=head_of(row),
                key=Key(
                    key_id=row["key_id"],
                    public_key=row["public_key"],
                    from_size=row["from_size"],
                    introduced_at=row["introduced_at"],
                ),
                rotations=[each for each in rotations if each.succession.organization_id == row["organization_id"]],
                as_sent=row["as_sent"],
            )
            for row in rows
        ]

    async def sent(self, place: str, claimed: ClaimedHead, every: timedelta) -> None:
        """The head came there; the next is sent after `every` at the soonest. Raises  Unavailable."""
        said = claimed.head.statement
        async with self._pool.acquire() as connection:
            await connection.execute(SENT, claimed.organization_id, place, claimed.claim, said.size, said.root, every)

    async def failed(self, place: str, claimed: ClaimedHead, why: str) -> None:
        """It did not; it is tried again, later each time. Raises  Unavailable."""
        async with self._pool.acquire() as connection:
            await connection.execute(FAILED, claimed.organization_id, place, claimed.claim, why, LONGEST_REST)

    async def states(self, places: Sequence[str], *, timeout_s: float) -> Sequence[PlaceState]:
        """Of those places to which anything was to be sent. Raises  Unavailable."""
        async with self._pool.acquire(timeout_s=timeout_s) as connection:
            return await states_on(connection, places)


async def states_on(connection: AnyConnection, places: Sequence[str]) -> Sequence[PlaceState]:
    """As glow_service."""
    return [PlaceState(**dict(row)) for row in await connection.fetch(STATES, list(places))]
