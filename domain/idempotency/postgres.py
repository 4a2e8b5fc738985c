"""Idempotency keys in PostgreSQL: the unique row settles who does the work, whichever replica was asked."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncpg

from domain.idempotency.model import KEPT_FOR, Claim, KeyInProgress, KeyMismatch
from domain.storage.postgres import Connection, Row

Acquire = Callable[[], AbstractAsyncContextManager[Connection]]

CLAIM = "SELECT kept_digest, kept_answer FROM glow.claim_key($1, $2, $3, $4, $5)"

_MINE = "organization_id = glow.organization_id() AND principal_id = glow.principal_id()"
_KEY = f"{_MINE} AND mode = $1 AND route = $2 AND key = $3 AND part = $4"

FOUND = f"""
SELECT content_digest AS kept_digest, answer AS kept_answer FROM idempotency_keys
WHERE {_KEY} AND created_at > now() - $5::interval
"""

KEEP = f"UPDATE idempotency_keys SET answer = $5 WHERE {_KEY}"

SIGHT = """
SELECT concat_ws(' ', glow.role(), (SELECT string_agg(e::text, ' ' ORDER BY e) FROM unnest(glow.engagements()) e))
"""

REMOVED_AT_ONCE = 1000
REMOVE_EXPIRED = """
WITH expired AS (
    SELECT organization_id, principal_id, mode, route, key, part FROM idempotency_keys
    WHERE created_at <= now() - $1::interval ORDER BY created_at LIMIT $2
), removed AS (
    DELETE FROM idempotency_keys k USING expired e
    WHERE (k.organization_id, k.principal_id, k.mode, k.route, k.key, k.part)
        = (e.organization_id, e.principal_id, e.mode, e.route, e.key, e.part)
    RETURNING true
)
SELECT count(*) FROM removed
"""


class PostgresKeys:
    """The keys of the principal in whose context the transaction stands; satisfies Keys."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, claim: Claim) -> str | None:
        """Raises  KeyMismatch, KeyInProgress: either leaves the transaction unusable or without the key."""
        try:
            row = await self._connection.fetchrow(CLAIM, *_named(claim), claim.content_digest)
        except asyncpg.LockNotAvailableError as held:
            raise KeyInProgress from held
        return _answer(row, claim)

    async def found(self, claim: Claim) -> str | None:
        """Raises  KeyMismatch."""
        return _answer(await self._connection.fetchrow(FOUND, *_named(claim), KEPT_FOR), claim)

    async def keep(self, claim: Claim, answer: str) -> None:
        """Under the key that this transaction took."""
        await self._connection.execute(KEEP, *_named(claim), answer)

    async def sight(self) -> str:
        """The principal's role and its engagements in their order."""
        return await self._connection.fetchval(SIGHT)


class PostgresKeyExpiry:
    """Removes expired keys of all organizations, as glow_service; satisfies KeyExpiry."""

    def __init__(self, acquire: Acquire) -> None:
        self._acquire = acquire

    async def remove_expired(self) -> int:
        """How many were removed, of at most a thousand at once."""
        async with self._acquire() as connection:
            return await connection.fetchval(REMOVE_EXPIRED, KEPT_FOR, REMOVED_AT_ONCE)


def _named(claim: Claim) -> tuple[str, str, str, int]:
    key = claim.key
    return claim.mode, key.route, key.key, key.part


def _answer(row: Row | None, claim: Claim) -> str | None:
    """The kept answer.

    Raises  KeyMismatch. KeyInProgress: an answer is still owed, which no committed row should be seen to do.
    """
    if row is None:
        return None
    if row["kept_digest"] != claim.content_digest:
        raise KeyMismatch
    if row["kept_answer"] is None:
        raise KeyInProgress
    return row["kept_answer"]
