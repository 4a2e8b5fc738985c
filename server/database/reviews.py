"""Whose sealed record goes on with something that counts for autonomy, as glow_service: sizes, and nothing more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.kernel import OrganizationId
from server.database.pool import Pool

DUE = "SELECT organization_id, size, due FROM glow.autonomy_due($1::uuid[], $2::bigint[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """An organization whose record goes on beyond what was read or looked at."""

    organization_id: OrganizationId
    size: int
    due: bool
    """Something of what is new counts."""


class PostgresReviews:
    """Asks the ledger of every organization."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def grown(self, seen: Mapping[OrganizationId, int]) -> Sequence[Grown]:
        """`seen`: up to which size each was looked at before.

        Raises  Unavailable: no database.
        """
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(DUE, list(seen), list(seen.values()))
        return [
            Grown(organization_id=OrganizationId(row["organization_id"]), size=row["size"], due=row["due"])
            for row in rows
        ]
