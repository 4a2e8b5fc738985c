"""Seals what was recorded, within a second or two, for as long as the worker runs."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from server.database.pool import Pool
from server.database.sealer import PostgresSealer
from server.database.workers import NO_KEY, RETIRED_KEY
from server.ledger_keys import LedgerKeys, LedgerKeyUnusable

log = structlog.get_logger()


class SealWorker:
    """Finds the key when it is first needed; without one nothing is sealed, and nothing is lost."""

    def __init__(
        self,
        pool: Pool,
        keys: Callable[[], LedgerKeys],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`keys`: gives them; raises LedgerKeyUnusable where there is none and none can be kept."""
        self._pool = pool
        self._keys = keys
        self._pause = pause
        self._sealer: PostgresSealer | None = None
        self._complaint: str | None = None
        self._key_id: str | None = None

    @property
    def key_id(self) -> str | None:
        """Of the key that this worker seals by, or why it does not; None: it has not begun."""
        if self._sealer is not None and self._sealer.is_retired:
            return RETIRED_KEY
        return self._key_id

    async def seal(self) -> None:
        """Seal until nothing is left, or another worker is at it.

        Raises  Unavailable: no database.
        """
        sealer, loop = await self._opened(), asyncio.get_running_loop()
        if sealer is None:
            return
        began = loop.time()
        while await sealer.seal():
            # Of a long backlog half of the time is left to the calls, whose database it is too.
            await self._pause(loop.time() - began)
            began = loop.time()

    async def _opened(self) -> PostgresSealer | None:
        if self._sealer is None:
            try:
                # Waits for a file's lock or for the network, and loads what signs.
                keys = await asyncio.to_thread(self._keys)
            except LedgerKeyUnusable as unusable:
                if self._complaint != str(unusable):
                    log.error("ledger.no_key", reason=str(unusable))
                self._complaint, self._key_id = str(unusable), NO_KEY
                return None
            self._sealer = PostgresSealer(self._pool, keys.signer, previous=keys.previous)
            self._key_id = keys.signer.key_id
        return self._sealer
