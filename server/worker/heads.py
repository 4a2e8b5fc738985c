"""Sends each organization's newest head to the places that the operator names; nothing waits for it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from typing import Any

import structlog

from server.database.sendings import ClaimedHead, PostgresSendings
from server.heads.place import DeliveryFailed, KeptHead, Place

log = structlog.get_logger()

AT_ONCE = 4
"""Requests to one place."""
MOST = 16
"""Heads of a claim: with AT_ONCE and a request's time they are through before its lease is over."""

NOT_AS_SENT = "the ledger has not the head any more that was sent here: somebody wrote another history"


class HeadWorker:
    """Asks for the places at each pass, since the operator's file may change."""

    def __init__(
        self, sendings: PostgresSendings, places: Callable[[], Sequence[Place]], every: Callable[[], timedelta]
    ) -> None:
        self._sendings = sendings
        self._places = places
        self._every = every

    async def send(self) -> None:
        """Send what is due, to all places at once.

        Raises  Unavailable: no database; what was sent meanwhile is sent again.
        """
        await _all(self._send_to(place) for place in self._places())

    async def _send_to(self, place: Place) -> None:
        while claimed := await self._sendings.claim(place.place_id, place.organizations, MOST):
            at_once = asyncio.Semaphore(AT_ONCE)
            await _all(self._send(place, each, at_once) for each in claimed)

    async def _send(self, place: Place, claimed: ClaimedHead, at_once: asyncio.Semaphore) -> None:
        async with at_once:
            why = await _delivered(place, claimed) if claimed.as_sent else NOT_AS_SENT
        said = claimed.head.statement
        if why is None:
            await self._sendings.sent(place.place_id, claimed, self._every())
            log.info("ledger.head_sent", place=place.name, orgId=str(said.organization_id), size=said.size)
        else:
            await self._sendings.failed(place.place_id, claimed, why)
            log.warning(
                "ledger.head_not_sent", place=place.name, orgId=str(said.organization_id), size=said.size, reason=why
            )


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Each is brought to its end, whatever becomes of the others; then the first fault there was is raised."""
    for found in await asyncio.gather(*works, return_exceptions=True):
        if found is not None:
            raise found


async def _delivered(place: Place, claimed: ClaimedHead) -> str | None:
    """Why it was not; None: it was."""
    kept = KeptHead(
        organization_id=claimed.organization_id,
        slug=claimed.slug,
        head=claimed.head,
        key=claimed.key,
        rotations=claimed.rotations,
    )
    try:
        await place.way.deliver(kept)
    except DeliveryFailed as failed:
        return str(failed)
    return None
