"""The sealer, as glow_service: what was committed is put into the trees, a batch a transaction, one sealer at a time.

A pass goes up to a snapshot and seals what it sees and the one before did not, in batches whose last event is kept;
what commits late, or bears an older time, is seen by a later snapshot and sealed then. A batch is whole or absent:
leaves, nodes, heads and the place that sealing has come to are one commit. No call waits for it, and it sees ids and
leaves only.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from domain.kernel import EventId, OrganizationId
from domain.ledger.model import Edge, Head, Leaf, Rotation, Statement, UnsealedEvent
from domain.ledger.ports import Signer
from domain.ledger.tree import Frontier, Node, peaks
from server.database.connection import AnyConnection
from server.database.pool import Pool
from server.database.succession import Keys, Signed, add_rotations, retire_previous

log = structlog.get_logger()

BATCH = 1000
"""Events of a transaction: it is over before anybody thinks that its process stands still."""

# Of this database; gone with the transaction, however its process ends. And one plan, whatever the statistics say:
# along the index, from where the last pass ended.
LOCK = """
SELECT pg_try_advisory_xact_lock(hashtextextended('glow.sealing', 0)), set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true)
"""
# Asked after the lock is held: where the sealer before has come to is seen, and every snapshot is later than its own.
PLACE = """
SELECT pg_current_snapshot()::text AS now, clock_timestamp() AS time,
       s.system_identifier = c.system_identifier AS here, c.system_identifier, s.sealed::text AS sealed,
       s.target::text AS target, s.at_xact::text AS at_xact, s.at_recorded, s.at_organization, s.at_event,
       s.retired_keys
FROM pg_control_system() c LEFT JOIN queue.sealing s ON true
"""
NEXT = """
SELECT organization_id, event_id, xact_id::text AS xact_id, recorded_at, leaf_hash
FROM glow.unsealed_events($1::text::pg_snapshot, $2::text::pg_snapshot, $3::text::xid8, $4, $5, $6, $7)
"""
MOVE = """
INSERT INTO queue.sealing (system_identifier, sealed, target, at_xact, at_recorded, at_organization, at_event)
VALUES ($1, $2::text::pg_snapshot, $3::text::pg_snapshot, $4::text::xid8, $5, $6, $7)
ON CONFLICT (one) DO UPDATE SET (system_identifier, sealed, target, at_xact, at_recorded, at_organization, at_event)
    = ROW (EXCLUDED.system_identifier, EXCLUDED.sealed, EXCLUDED.target, EXCLUDED.at_xact, EXCLUDED.at_recorded,
           EXCLUDED.at_organization, EXCLUDED.at_event)
"""
HEADS = """
SELECT h.organization_id, h.size, h.root, h.chain, h.key_id
FROM unnest($1::uuid[]) wanted (organization_id) CROSS JOIN LATERAL (
    SELECT * FROM ledger_heads l WHERE l.organization_id = wanted.organization_id ORDER BY l.size DESC LIMIT 1) h
"""
PEAKS = """
SELECT w.organization_id, w.level, w.node_index, coalesce(n.hash, l.leaf_hash) AS hash
FROM unnest($1::uuid[], $2::smallint[], $3::bigint[]) w (organization_id, level, node_index)
LEFT JOIN ledger_nodes n ON n.organization_id = w.organization_id AND n.level = w.level AND n.node_index = w.node_index
LEFT JOIN ledger_leaves l ON w.level = 0 AND l.organization_id = w.organization_id AND l.leaf_index = w.node_index
"""
ADD_KEYS = """
INSERT INTO ledger_keys (organization_id, key_id, public_key, from_size, introduced_at)
SELECT organization_id, $3, $4, from_size, $5 FROM unnest($1::uuid[], $2::bigint[]) AS k (organization_id, from_size)
ON CONFLICT (organization_id, key_id) DO NOTHING
"""
ADD_LEAVES = """
INSERT INTO ledger_leaves (organization_id, leaf_index, event_id, leaf_hash, chain)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bytea[], $5::bytea[])
"""
ADD_NODES = """
INSERT INTO ledger_nodes (organization_id, level, node_index, hash)
SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bytea[])
"""
ADD_HEADS = """
INSERT INTO ledger_heads (organization_id, size, root, chain, sealed_at, key_id, signature)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::bytea[], $5::timestamptz[], $6::text[], $7::bytea[])
"""

Cursor = tuple[str, datetime, OrganizationId, EventId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where sealing has come to, in this cluster's count of transactions."""

    system_identifier: int
    time: datetime
    sealed: str | None
    """The snapshot of which everything is sealed; None: nobody knows what is."""
    target: str
    """The snapshot that the pass goes up to."""
    after: Cursor | None
    """The last event of the pass's last batch."""
    retired_keys: Sequence[str]
    """Which sign no more."""
    is_kept: bool
    """Whether the place stands in the database as it is here; a pass that finds nothing then leaves it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What a batch adds to one organization's ledger."""

    organization_id: OrganizationId
    leaves: Sequence[Leaf]
    nodes: Sequence[tuple[Node, bytes]]
    head: Head
    introduces: bool
    """Whether the head is signed by another key than the one before."""
    rotation: Rotation | None
    """By which the one before vouches for it."""


class PostgresSealer:
    """Seals the events of every organization."""

    def __init__(self, pool: Pool, signer: Signer, batch: int = BATCH, previous: Sequence[Signer] = ()) -> None:
        """`previous`: keys that signed before, to vouch for this one."""
        self._pool = pool
        self._signer = signer
        self._keys = Keys.of(signer, previous)
        self._has_retired_previous = not self._keys.previous
        self.is_retired = False
        """Whether another worker was told that this key signs no more; this one has not heard of it yet."""
        self._batch = batch

    async def seal(self) -> bool:
        """Seal one batch; False: nothing is left for now, or another sealer is at it.

        Raises  Unavailable: no database; nothing of the batch stands.
        """
        is_more = await self._sealed()
        # Committed with the batch; where that was not, it is done again.
        self._has_retired_previous = self._has_retired_previous or is_more is not None
        return bool(is_more)

    async def _sealed(self) -> bool | None:
        """None: another sealer is at it, or this one has to leave it to others."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(LOCK):
                return None
            place = await _place(connection)
            if not self._has_retired_previous:
                await retire_previous(connection, self._keys, place.system_identifier, place.time)
            elif self._steps_back(place):
                return None
            cursor = place.after or (None, None, None, None)
            rows = await connection.fetch(NEXT, place.sealed, place.target, *cursor, self._batch)
            if rows:
                events = [
                    UnsealedEvent(
                        organization_id=OrganizationId(row["organization_id"]),
                        event_id=EventId(row["event_id"]),
                        leaf=row["leaf_hash"],
                    )
                    for row in rows
                ]
                await self._append(connection, events, place.time)
            is_more = len(rows) == self._batch
            if is_more:
                last = rows[-1]
                after = (last["xact_id"], last["recorded_at"], last["organization_id"], last["event_id"])
                await connection.execute(MOVE, place.system_identifier, place.sealed, place.target, *after)
            elif rows or not place.is_kept:
                await connection.execute(MOVE, place.system_identifier, place.target, None, None, None, None, None)
            return is_more

    def _steps_back(self, place: Place) -> bool:
        was, self.is_retired = self.is_retired, self._signer.key_id in place.retired_keys
        if self.is_retired and not was:
            log.warning("ledger.key_retired", keyId=self._signer.key_id, mend="give this worker the key that follows")
        return self.is_retired

    async def _append(self, connection: AnyConnection, events: Sequence[UnsealedEvent], time: datetime) -> None:
        grouped: dict[OrganizationId, list[UnsealedEvent]] = defaultdict(list)
        for event in events:
            grouped[event.organization_id].append(event)
        edges = await _edges(connection, list(grouped))
        await _write(
            connection,
            self._keys,
            [self._grown(edges[organization_id], grouped[organization_id], time) for organization_id in edges],
        )

    def _grown(self, edge: Edge, events: Sequence[UnsealedEvent], time: datetime) -> Growth:
        before, leaves = edge.frontier.size, list[Leaf]()
        nodes: list[tuple[Node, bytes]] = []
        for event in events:
            leaf, completed = edge.append(event)
            leaves.append(leaf)
            nodes += completed
        statement = Statement(
            organization_id=events[0].organization_id,
            size=edge.frontier.size,
            root=edge.frontier.root,
            chain=edge.chain,
            sealed_at=time,
            key_id=self._signer.key_id,
        )
        return Growth(
            rotation=self._rotation(edge, before, statement),
            organization_id=statement.organization_id,
            leaves=leaves,
            nodes=nodes,
            head=Head(statement=statement, signature=self._signer.sign(statement.signed_bytes())),
            introduces=edge.key_id != self._signer.key_id,
        )

    def _rotation(self, edge: Edge, size: int, now: Statement) -> Rotation | None:
        """That this key follows that of the head before, of that size; None: it does not, or nobody can say so."""
        if edge.key_id is None or edge.key_id == self._signer.key_id:
            return None
        if not self._keys.vouches(edge.key_id):
            log.warning(
                "ledger.key_not_endorsed",
                orgId=str(now.organization_id),
                before=edge.key_id,
                now=now.key_id,
                size=now.size,
            )
            return None
        before = Signed(organization_id=now.organization_id, size=size, key_id=edge.key_id)
        return self._keys.rotation(before, now.sealed_at)


async def _place(connection: AnyConnection) -> Place:
    row = await connection.fetchrow(PLACE)
    assert row is not None  # noqa: S101 - a function's one row
    here = bool(row["here"])
    under_way = here and row["target"] is not None
    after = (row["at_xact"], row["at_recorded"], row["at_organization"], row["at_event"])
    return Place(
        system_identifier=row["system_identifier"],
        time=row["time"],
        sealed=row["sealed"] if here else None,
        target=row["target"] if under_way else row["now"],
        after=after if under_way else None,
        retired_keys=row["retired_keys"] or (),
        is_kept=here and row["sealed"] is not None and not under_way,
    )


async def _edges(connection: AnyConnection, wanted: Sequence[OrganizationId]) -> Mapping[OrganizationId, Edge]:
    """Where the ledgers end that are what their last heads say; of another none is signed any more."""
    heads = {row["organization_id"]: row for row in await connection.fetch(HEADS, wanted)}
    nodes = [(organization_id, node) for organization_id, head in heads.items() for node in peaks(head["size"])]
    rows = await connection.fetch(
        PEAKS,
        [organization_id for organization_id, _ in nodes],
        [node.level for _, node in nodes],
        [node.index for _, node in nodes],
    )
    hashes = {(row["organization_id"], Node(row["level"], row["node_index"])): row["hash"] for row in rows}
    edges = {each: Edge(frontier=Frontier()) for each in wanted if each not in heads}
    for organization_id, head in heads.items():
        held = [hashes[organization_id, node] for node in peaks(head["size"])]
        frontier = None if None in held else Frontier(head["size"], held)
        if frontier is None or frontier.root != head["root"]:
            log.error("ledger.broken", orgId=str(organization_id), size=head["size"])
            continue
        edges[organization_id] = Edge(frontier=frontier, chain=head["chain"], key_id=head["key_id"])
    return edges


async def _write(connection: AnyConnection, keys: Keys, grown: Sequence[Growth]) -> None:
    new = [each for each in grown if each.introduces]
    if new:
        sizes = [each.head.statement.size for each in new]
        time = new[0].head.statement.sealed_at
        ids = [each.organization_id for each in new]
        rotations = [each.rotation for each in new if each.rotation is not None]
        await add_rotations(connection, keys, rotations, time)
        await connection.execute(ADD_KEYS, ids, sizes, keys.signer.key_id, keys.signer.public_key, time)
    leaves = [(each.organization_id, leaf) for each in grown for leaf in each.leaves]
    await connection.execute(
        ADD_LEAVES,
        [organization_id for organization_id, _ in leaves],
        [leaf.index for _, leaf in leaves],
        [leaf.event_id for _, leaf in leaves],
        [leaf.hash for _, leaf in leaves],
        [leaf.chain for _, leaf in leaves],
    )
    nodes = [(each.organization_id, *node) for each in grown for node in each.nodes]
    await connection.execute(
        ADD_NODES,
        [organization_id for organization_id, _, _ in nodes],
        [node.level for _, node, _ in nodes],
        [node.index for _, node, _ in nodes],
        [hash for _, _, hash in nodes],
    )
    heads = [each.head for each in grown]
    await connection.execute(
        ADD_HEADS,
        [head.statement.organization_id for head in heads],
        [head.statement.size for head in heads],
        [head.statement.root for head in heads],
        [head.statement.chain for head in heads],
        [head.statement.sealed_at for head in heads],
        [head.statement.key_id for head in heads],
        [head.signature for head in heads],
    )
