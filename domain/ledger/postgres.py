"""The ledger read back, under row level security; the sealer writes it."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from domain.activity.model import Payload
from domain.kernel import CallId, OrganizationId
from domain.ledger.model import Head, Key, Rotation, SealedEvent, Statement, Succession
from domain.ledger.tree import Node
from domain.storage.postgres import Connection, Row

PAGE_ROWS = 500
PAGE_BYTES = 4 << 20
"""Of payloads; one that is larger makes a page of its own."""

_HEADS = """
SELECT organization_id, size, root, chain, sealed_at, key_id, signature FROM ledger_heads
WHERE organization_id = glow.organization_id()
"""
HEAD = _HEADS + "ORDER BY size DESC LIMIT 1"
HEADS = _HEADS + "AND size > $1 AND size <= $2 ORDER BY size LIMIT 10000"

KEYS = """
SELECT key_id, public_key, from_size, introduced_at FROM ledger_keys WHERE organization_id = glow.organization_id()
ORDER BY from_size, key_id LIMIT 10000
"""

ROTATIONS = """
SELECT r.organization_id, r.after_size, r.from_key_id, k.public_key AS from_public_key, r.to_key_id, r.to_public_key,
       r.rotated_at, r.from_signature, r.to_signature
FROM ledger_rotations r JOIN ledger_keys k ON k.organization_id = r.organization_id AND k.key_id = r.from_key_id
WHERE r.organization_id = glow.organization_id() AND r.after_size > $1 AND r.after_size <= $2
ORDER BY r.after_size, r.rotated_at, r.to_key_id LIMIT 10000
"""

# The lengths of payloads are known without reading them: what would make the page too large is left to the next.
EVENTS = """
WITH page AS (
    SELECT leaf_index, event_id, leaf_hash, chain FROM ledger_leaves
    WHERE organization_id = glow.organization_id() AND leaf_index >= $1 AND leaf_index < $2
    ORDER BY leaf_index LIMIT $4
), weighed AS (
    SELECT l.*, sum(coalesce(octet_length(p.arguments), 0) + coalesce(octet_length(p.result), 0))
        OVER (ORDER BY l.leaf_index ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM page l LEFT JOIN activity_payloads p
        ON $3 AND p.organization_id = glow.organization_id() AND p.event_id = l.event_id
)
SELECT l.leaf_index, l.leaf_hash, l.chain, CASE WHEN e.event_id IS NOT NULL THEN glow.event_text(e) END AS text,
       p.salt, p.arguments, p.result
FROM weighed l
LEFT JOIN activity_events e ON e.organization_id = glow.organization_id() AND e.event_id = l.event_id
LEFT JOIN activity_payloads p ON $3 AND p.organization_id = glow.organization_id() AND p.event_id = l.event_id
WHERE coalesce(l.before, 0) < $5
ORDER BY l.leaf_index
"""

# Batches of erasures beyond the rows, and preferences that their person changed there for the first time: of a later
# change an earlier one among the rows tells as much.
ERASED_BEYOND = """
WITH beyond AS MATERIALIZED (
    SELECT e.tool, e.principal_id, e.event_id
    FROM activity_events e
    LEFT JOIN ledger_leaves l ON l.organization_id = e.organization_id AND l.event_id = e.event_id
    WHERE e.organization_id = glow.organization_id() AND e.kind = 'tool.completed' AND NOT e.opens
      AND e.tool IN ('privacy_erase_step', 'preference_set', 'preference_forget') AND coalesce(l.leaf_index, $1) >= $1
)
SELECT EXISTS (
    SELECT FROM beyond b JOIN activity_payloads p
        ON p.organization_id = glow.organization_id() AND p.event_id = b.event_id
    WHERE b.tool = 'privacy_erase_step' AND strpos(p.result, '"activity_payloads":') > 0
) OR EXISTS (
    SELECT FROM (SELECT DISTINCT b.principal_id FROM beyond b WHERE b.tool <> 'privacy_erase_step') b
    CROSS JOIN LATERAL (
        SELECT count(*) AS calls, count(*) FILTER (WHERE p.event_id IS NOT NULL AND p.result IS NULL) AS lost
        FROM activity_events e
        JOIN ledger_leaves l ON l.organization_id = e.organization_id AND l.event_id = e.event_id
        LEFT JOIN activity_payloads p ON p.organization_id = e.organization_id AND p.event_id = e.event_id
        WHERE e.organization_id = glow.organization_id() AND e.principal_id = b.principal_id
          AND e.kind = 'tool.completed' AND NOT e.opens AND e.tool IN ('preference_set', 'preference_forget')
          AND l.leaf_index < $1) within
    WHERE within.calls < 2 AND within.lost > 0
)
"""

OF_CALL = """
SELECT e.event_id, l.leaf_index, l.leaf_hash, glow.event_text(e) AS text
FROM activity_events e
LEFT JOIN ledger_leaves l ON l.organization_id = e.organization_id AND l.event_id = e.event_id
WHERE e.organization_id = glow.organization_id() AND e.call_id = $1
ORDER BY l.leaf_index NULLS LAST, e.occurred_at, e.event_id LIMIT 100
"""

HASHES = "SELECT level, node_index, hash FROM glow.ledger_hashes($1, $2) WHERE hash IS NOT NULL"


class PostgresLedgerReader:
    """LedgerRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def head(self) -> Head | None:
        """The newest."""
        row = await self._connection.fetchrow(HEAD)
        return None if row is None else head_of(row)

    async def heads(self, above: int, upto: int) -> Sequence[Head]:
        """Smallest first."""
        return [head_of(row) for row in await self._connection.fetch(HEADS, above, upto)]

    async def keys(self) -> Sequence[Key]:
        """In the order in which they came."""
        return [
            Key(
                key_id=row["key_id"],
                public_key=row["public_key"],
                from_size=row["from_size"],
                introduced_at=row["introduced_at"],
            )
            for row in await self._connection.fetch(KEYS)
        ]

    async def rotations(self, above: int, upto: int) -> Sequence[Rotation]:
        """In the order in which they came."""
        return [rotation_of(row) for row in await self._connection.fetch(ROTATIONS, above, upto)]

    async def events(self, start: int, end: int, *, payloads: bool) -> Sequence[SealedEvent]:
        """In the tree's order, bounded in rows and bytes."""
        rows = await self._connection.fetch(EVENTS, start, end, payloads, PAGE_ROWS, PAGE_BYTES)
        return [_event(row) for row in rows]

    async def is_erased_beyond(self, size: int) -> bool:
        """By the calls that erase."""
        return bool(await self._connection.fetchval(ERASED_BEYOND, size))

    async def of_call(self, call_id: CallId) -> Sequence[tuple[UUID, int | None, bytes | None, str]]:
        """As far as the principal may see them."""
        rows = await self._connection.fetch(OF_CALL, call_id)
        return [(row["event_id"], row["leaf_index"], row["leaf_hash"], row["text"]) for row in rows]

    async def hashes(self, nodes: Sequence[Node]) -> Mapping[Node, bytes]:
        """By one look-up each."""
        rows = await self._connection.fetch(HASHES, [node.level for node in nodes], [node.index for node in nodes])
        return {Node(row["level"], row["node_index"]): row["hash"] for row in rows}


def head_of(row: Row) -> Head:
    """A row of ledger_heads."""
    return Head(
        statement=Statement(
            organization_id=OrganizationId(row["organization_id"]),
            size=row["size"],
            root=row["root"],
            chain=row["chain"],
            sealed_at=row["sealed_at"],
            key_id=row["key_id"],
        ),
        signature=row["signature"],
    )


def rotation_of(row: Row) -> Rotation:
    """A row of ledger_rotations, with the public key of the one before."""
    return Rotation(
        succession=Succession(
            organization_id=OrganizationId(row["organization_id"]),
            after_size=row["after_size"],
            from_key_id=row["from_key_id"],
            from_public_key=row["from_public_key"],
            to_key_id=row["to_key_id"],
            to_public_key=row["to_public_key"],
            rotated_at=row["rotated_at"],
        ),
        from_signature=row["from_signature"],
        to_signature=row["to_signature"],
    )


def _event(row: Row) -> SealedEvent:
    has_payload = row["salt"] is not None
    return SealedEvent(
        index=row["leaf_index"],
        leaf=row["leaf_hash"],
        chain=row["chain"],
        text=row["text"],
        payload=Payload(salt=row["salt"], arguments=row["arguments"], result=row["result"]) if has_payload else None,
    )
