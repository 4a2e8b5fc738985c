"""Who takes jobs from the queue now: workers say that they live, in a row each, and anybody may count them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from server.database.connection import AnyConnection
from server.database.errors import DatabaseUnavailable
from server.database.pool import Pool
from server.database.queue import HEARTBEAT_TIMEOUT
from server.logins import Login

# What killed workers left. One that stood still for so long comes back by itself; and two that clean up at once do not
# wait for one another.
BEAT = """
WITH gone AS (
    DELETE FROM queue.workers WHERE worker_id IN (
        SELECT worker_id FROM queue.workers WHERE worker_id <> $1 AND heartbeat_at < now() - interval '1 day'
        FOR UPDATE SKIP LOCKED)
)
INSERT INTO queue.workers (worker_id, ledger_key_id) VALUES ($1, $2)
ON CONFLICT (worker_id) DO UPDATE SET heartbeat_at = now(), ledger_key_id = EXCLUDED.ledger_key_id
"""
LEAVE = "DELETE FROM queue.workers WHERE worker_id = $1"
COUNT = """
SELECT count(*) FILTER (WHERE heartbeat_at > now() - $1::interval) AS alive,
       extract(epoch FROM now() - max(heartbeat_at))::float8 AS heard_s,
       array_agg(DISTINCT ledger_key_id) FILTER (
           WHERE heartbeat_at > now() - $1::interval AND ledger_key_id IS NOT NULL) AS key_ids
FROM queue.workers
"""
# A worker that lives takes a job within seconds, unless it has its hands full.
WAITING = """
SELECT EXISTS (SELECT FROM queue.pgqueuer WHERE status = 'queued' AND execute_after < now() - interval '1 minute')
"""


NO_KEY, RETIRED_KEY = "none", "retired"
"""What stands for the key of a worker that has none, or one that was rotated away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersHeard:
    """The workers on one database, of every process and machine."""

    alive: int
    """Those heard of within the time after which another takes their jobs."""
    heard_s: float | None
    """Seconds since the latest heartbeat of any; None: no worker was here, or the last one left in order."""
    key_ids: Sequence[str] = ()
    """Of the keys by which those who are alive sign the ledger: one, unless they were set up differently; or words."""

    @property
    def signing(self) -> Sequence[str]:
        """The ids of keys by which heads are signed now."""
        return [each for each in self.key_ids if each not in (NO_KEY, RETIRED_KEY)]

    @property
    def sealing_fault(self) -> str | None:
        """Why the record is not sealed by one key, in words that anybody may read; None: it is, or nobody knows yet."""
        if len(self.signing) > 1:
            return f"workers sign the ledger by {len(self.signing)} keys in turn"
        if self.key_ids and not self.signing:
            return f"no worker seals the record, their keys are: {', '.join(sorted(self.key_ids))}"
        return None


class PostgresWorkers:
    """The heartbeats of workers, as glow_service."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def beat(self, worker_id: UUID, key_id: str | None = None) -> None:
        """Say that this worker takes jobs. `key_id`: of the key that it seals by, or why it does not.

        Raises  Unavailable: no database, or its migrations are not applied.
        """
        async with self._pool.acquire() as connection:
            try:
                await connection.execute(BEAT, worker_id, key_id)
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as early:
                raise _not_migrated() from early

    async def leave(self, worker_id: UUID) -> None:
        """Say that it takes none any more.

        Raises  Unavailable: no database.
        """
        async with self._pool.acquire() as connection:
            await connection.execute(LEAVE, worker_id)

    async def heard(self, *, timeout_s: float) -> WorkersHeard:
        """Who is alive. `timeout_s`: for a connection.

        Raises  Unavailable: no database, or its migrations are not applied.
        """
        async with self._pool.acquire(timeout_s=timeout_s) as connection:
            return await heard_on(connection)


async def heard_on(connection: AnyConnection) -> WorkersHeard:
    """Who is alive, asked on a connection of glow_service.

    Raises  DatabaseUnavailable: the migrations are not applied.
    """
    try:
        row = await connection.fetchrow(COUNT, HEARTBEAT_TIMEOUT)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as early:
        raise _not_migrated() from early
    assert row is not None  # noqa: S101 - an aggregate has one row
    return WorkersHeard(alive=row["alive"], heard_s=row["heard_s"], key_ids=tuple(row["key_ids"] or ()))


async def jobs_wait(connection: AnyConnection) -> bool:
    """Whether any job has been due for a minute that nobody has taken."""
    return bool(await connection.fetchval(WAITING))


def _not_migrated() -> DatabaseUnavailable:
    return DatabaseUnavailable(Login.SERVICE, "its migrations are not applied")
