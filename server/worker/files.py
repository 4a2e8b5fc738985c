"""Files that no document has are removed: those of a purge at once, those that a crash left behind after an hour."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from domain.kernel import Clock, OrganizationId
from knowledge.model import FileKey
from server.database.files import KeptFiles
from server.storage.fault import StorageUnavailable

log = structlog.get_logger()

LEFT_FOR = timedelta(hours=1)
"""A file that is younger may be one whose document is about to be committed."""
AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWorker:
    """Removes what nobody refers to, and nothing that somebody takes up meanwhile."""

    files: KeptFiles
    clock: Clock

    async def discard(self, organization_id: OrganizationId, digests: Iterable[str]) -> None:
        """Of what a purge has let go. What cannot be removed now, the sweep finds."""
        try:
            for digest in digests:
                await self.files.discard(FileKey(organization_id=organization_id, digest=bytes.fromhex(digest)))
        except StorageUnavailable as away:
            log.warning("files.discard_put_off", orgId=str(organization_id), reason=str(away))

    async def sweep(self) -> None:
        """All that is older than an hour and that no document has.

        Raises  Unavailable.
        """
        removed, some = 0, list[FileKey]()
        async for key in self.files.storage.older(self.clock() - LEFT_FOR):
            some.append(key)
            if len(some) == AT_ONCE:
                removed += await self._discarded(some)
                some.clear()
        removed += await self._discarded(some)
        if removed:
            log.info("files.swept", removed=removed, place=self.files.storage.place)

    async def _discarded(self, keys: list[FileKey]) -> int:
        gone = [await self.files.discard(key) for key in await self.files.unreferred(keys)] if keys else []
        return sum(gone)
