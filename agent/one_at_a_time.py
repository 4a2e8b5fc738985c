"""One at a time of what must not be done twice at once within this process; whoever comes meanwhile waits for it."""

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class OneAtATime(Generic[K]):
    """Holds nothing of a key that nobody is at."""

    def __init__(self) -> None:
        self._under_way: dict[K, asyncio.Event] = {}

    @asynccontextmanager
    async def of(self, key: K) -> AsyncGenerator[None]:
        """The block runs once nobody else is at the key."""
        while (other := self._under_way.get(key)) is not None:
            await other.wait()
        over = self._under_way[key] = asyncio.Event()
        try:
            yield
        finally:
            del self._under_way[key]
            over.set()
