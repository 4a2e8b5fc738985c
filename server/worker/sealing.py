"""Seals what was recorded, within a second or two, for as long as the worker runs."""

import asyncio
from collections.abc import Callable

import structlog

from domain.ledger.ports import Signer
from server.database.pool import Pool
from server.database.sealer import PostgresSealer
from server.home import HomeUnusable

log = structlog.get_logger()


class SealWorker:
    """Finds the key when it is first needed; without one nothing is sealed, and nothing is lost."""

    def __init__(self, pool: Pool, key: Callable[[], Signer]) -> None:
        """`key`: gives it; raises HomeUnusable where there is none and none can be kept."""
        self._pool = pool
        self._key = key
        self._sealer: PostgresSealer | None = None
        self._has_complained = False

    async def seal(self) -> None:
        """Seal until nothing is left, or another worker is at it.

        Raises  Unavailable: no database.
        """
        sealer = await self._opened()
        while sealer is not None and await sealer.seal():
            pass

    async def _opened(self) -> PostgresSealer | None:
        if self._sealer is None:
            try:
                # Waits for a file's lock, and loads what signs.
                key = await asyncio.to_thread(self._key)
            except HomeUnusable as unusable:
                if not self._has_complained:
                    log.error("ledger.no_key", reason=str(unusable), mend="set GLOW_LEDGER_KEY")
                self._has_complained = True
                return None
            self._sealer = PostgresSealer(self._pool, key)
        return self._sealer
