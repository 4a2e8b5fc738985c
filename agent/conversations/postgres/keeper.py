"""Leases of runs: which of them have a living process, and who takes over those that have none."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from uuid import UUID

from agent.conversations.leases import Lease, Pulse, RunKey, TakenRun
from agent.conversations.rows import error_content, taken_of
from agent.events import RunFailed
from domain.kernel import OrganizationId, RunId
from domain.storage.postgres import Connection

Acquire = Callable[[], AbstractAsyncContextManager[Connection]]

GROWN = """
SELECT h.run_id FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS h (organization_id, run_id, seen)
    LEFT JOIN runs r USING (organization_id, run_id)
WHERE coalesce(r.status NOT IN ('running', 'waiting'), true) OR EXISTS (
    SELECT FROM run_events e
    WHERE e.organization_id = h.organization_id AND e.run_id = h.run_id AND e.sequence > h.seen)
    -- That it waits is owed: its carrier was killed between the row and the frame.
    OR r.status = 'waiting' AND EXISTS (
        SELECT FROM run_events e
        WHERE e.organization_id = h.organization_id AND e.run_id = h.run_id AND e.sequence = h.seen
          AND e.type <> 'run.waiting')
"""

BEAT = """
-- Those that are still held, as they stand, whoever has locked their rows: what is locked is not lost.
WITH held AS MATERIALIZED (
    SELECT r.organization_id, r.run_id, r.epoch, r.cancel_requested
    FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS h (organization_id, run_id, epoch)
        JOIN runs r USING (organization_id, run_id, epoch)
    WHERE r.status = 'running'
), free AS MATERIALIZED (
    -- A row that somebody has locked is left for the next beat: the other runs' signs of life wait for nobody's.
    SELECT r.organization_id, r.run_id FROM held JOIN runs r USING (organization_id, run_id, epoch)
    WHERE r.status = 'running' ORDER BY r.organization_id, r.run_id FOR NO KEY UPDATE OF r SKIP LOCKED
), alive AS (
    UPDATE runs r SET heartbeat_at = now()
    FROM free WHERE r.organization_id = free.organization_id AND r.run_id = free.run_id
)
SELECT run_id, cancel_requested FROM held
"""

# Those that wait for a worker are left out, and those that one has taken up a moment ago.
STALE = """
SELECT r.organization_id, r.run_id FROM runs r
WHERE (r.status = 'running' AND r.heartbeat_at <= now() - $1::interval
       -- What a crash kept from being enqueued: a run that waits, and whose answer has come.
       OR r.status = 'waiting' AND (r.cancel_requested OR EXISTS (
           SELECT FROM approvals a
           WHERE a.organization_id = r.organization_id AND a.approval_id = ANY (r.awaited) AND a.state <> 'pending')))
    AND NOT EXISTS (
        SELECT FROM queue.pgqueuer q
        WHERE q.status IN ('queued', 'picked') AND split_part(q.dedupe_key, '/', 1) = 'run:' || r.run_id
          AND (q.status = 'queued' OR q.updated > now() - interval '3 seconds'))
ORDER BY r.heartbeat_at LIMIT 100
"""

TAKE = """
UPDATE runs SET epoch = epoch + 1, heartbeat_at = now(),
    lost_carriers = lost_carriers + (heartbeat_at > '-infinity')::int
WHERE organization_id = $1 AND run_id = (
    -- A carrier that stands still in the midst of a transaction holds it for a few seconds more: nobody waits for that.
    SELECT s.run_id FROM runs s
    WHERE s.organization_id = $1 AND s.run_id = $2 AND s.status = 'running' AND s.heartbeat_at <= now() - $3::interval
    FOR UPDATE SKIP LOCKED)
RETURNING epoch, owner_id, owner_kind, door, scheduled, lost_carriers, cancel_requested
"""

# Only where there is news: whoever is told that one of several questions is answered goes on waiting for the others.
WAKE = """
UPDATE runs r SET status = 'running', heartbeat_at = '-infinity'
WHERE r.organization_id = $1 AND r.run_id = $2 AND r.status = 'waiting' AND (r.cancel_requested OR EXISTS (
    SELECT FROM approvals a
    WHERE a.organization_id = r.organization_id AND a.approval_id = ANY (r.awaited) AND a.state <> 'pending'))
RETURNING true
"""

END = """
UPDATE runs SET status = 'failed', error = $4, finished_at = $5
WHERE organization_id = $1 AND run_id = $2 AND epoch = $3 AND status = 'running'
"""

ASKED_IN_VAIN = """
SELECT EXISTS (
    SELECT FROM approvals a JOIN runs r USING (organization_id, run_id)
    WHERE a.organization_id = $1 AND a.run_id = $2 AND a.state = 'pending' AND r.status IN ('failed', 'cancelled'))
"""

RELEASE = """
UPDATE runs r SET heartbeat_at = '-infinity'
FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS held (organization_id, run_id, epoch)
WHERE r.organization_id = held.organization_id AND r.run_id = held.run_id AND r.epoch = held.epoch
    AND r.status = 'running'
"""


class PostgresRunKeeper:
    """Leases of runs, as glow_service; satisfies RunKeeper. Each statement is a transaction of its own."""

    def __init__(self, acquire: Acquire) -> None:
        self._acquire = acquire

    async def beat(self, held: Sequence[Lease]) -> Pulse:
        """Say that the runs of these leases are alive."""
        async with self._acquire() as connection:
            rows = await connection.fetch(BEAT, *_columns(held))
        return Pulse(
            running=frozenset(RunId(row["run_id"]) for row in rows),
            to_cancel=frozenset(RunId(row["run_id"]) for row in rows if row["cancel_requested"]),
        )

    async def grown(self, seen: Mapping[RunKey, int]) -> Collection[RunId]:
        """Those of the runs that have a frame above the number given with them, or are no longer running."""
        organizations = [run.organization_id for run in seen]
        runs = [run.run_id for run in seen]
        async with self._acquire() as connection:
            rows = await connection.fetch(GROWN, organizations, runs, list(seen.values()))
        return [RunId(row["run_id"]) for row in rows]

    async def stale(self, stale_after: timedelta) -> Sequence[RunKey]:
        """Runs without a recent sign of life that nobody is about to take over, the longest silent first."""
        async with self._acquire() as connection:
            rows = await connection.fetch(STALE, stale_after)
        return [
            RunKey(organization_id=OrganizationId(row["organization_id"]), run_id=RunId(row["run_id"])) for row in rows
        ]

    async def take(self, run: RunKey, stale_after: timedelta) -> TakenRun | None:
        """Take the run over, where its carrier gave no sign of life for so long."""
        async with self._acquire() as connection:
            row = await connection.fetchrow(TAKE, run.organization_id, run.run_id, stale_after)
        return None if row is None else taken_of(run, row)

    async def wake(self, run: RunKey) -> bool:
        """Have a run that waits be taken up, if there is news for it."""
        async with self._acquire() as connection:
            return bool(await connection.fetchval(WAKE, run.organization_id, run.run_id))

    async def end(self, lease: Lease, error: RunFailed, now: datetime) -> None:
        """End the run of this lease as failed."""
        key = lease.key
        async with self._acquire() as connection:
            await connection.execute(END, key.organization_id, key.run_id, lease.epoch, error_content(error), now)

    async def asked_in_vain(self, run: RunKey) -> bool:
        """Whether the run is over, failed or cancelled, and questions of its are still open."""
        async with self._acquire() as connection:
            return bool(await connection.fetchval(ASKED_IN_VAIN, run.organization_id, run.run_id))

    async def release(self, held: Sequence[Lease]) -> None:
        """Let go of the runs of these leases."""
        async with self._acquire() as connection:
            await connection.execute(RELEASE, *_columns(held))


def _columns(held: Sequence[Lease]) -> tuple[Sequence[UUID], Sequence[UUID], Sequence[int]]:
    """In one order everywhere, so that no two statements wait for one another's rows."""
    ordered = sorted(held, key=lambda lease: (lease.key.organization_id, lease.key.run_id))
    return (
        [lease.key.organization_id for lease in ordered],
        [lease.key.run_id for lease in ordered],
        [lease.epoch for lease in ordered],
    )
