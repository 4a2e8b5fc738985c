"""How long a turn waits for its provider: for the first token, between chunks, and between one try and the next."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from agent.providers.faults import ProviderFault
from domain.backoff import Backoff
from domain.kernel import Clock, utc_now

Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a turn may keep its reader waiting; all in seconds."""

    connect_s: float = 5.0
    first_token_s: float = 60.0
    """From the request to the first chunk, tries and pauses included; then for each silence of a model that reasons."""
    stall_s: float = 60.0
    """For each silence within the answer: longer, and the stream is taken for dead."""
    farewell_s: float = 1.0
    """For what follows the finished answer: the usage, [DONE], the end of the body."""
    tries: int = 4
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=0.5, longest_s=8.0))

    @classmethod
    def of(cls, timeout_s: float, stall_s: float) -> "Patience":
        """Waits `timeout_s` for an answer to begin (GLOW_MODEL_TIMEOUT_S), `stall_s` within it (GLOW_MODEL_STALL_S)."""
        return cls(connect_s=min(cls().connect_s, timeout_s), first_token_s=timeout_s, stall_s=min(stall_s, timeout_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a test replaces: the pause between tries, its randomness, the wall clock (for `Retry-After` dates)."""

    sleep: Sleep = asyncio.sleep
    chance: Callable[[], float] = random.random
    clock: Clock = utc_now


class Waiting:
    """The tries of one turn: how many are left, and until when the first token must be here."""

    def __init__(self, patience: Patience, surroundings: Surroundings) -> None:
        self._patience = patience
        self._surroundings = surroundings
        self._tried = 0
        self.until = now_s() + patience.first_token_s

    async def pause(self, fault: ProviderFault) -> bool:
        """Waits before the next try; False, at once, when there shall be none."""
        self._tried += 1
        chance = self._surroundings.chance()
        pause_s = self._patience.backoff.pause_s(self._tried, chance, asked_s=fault.retry_after_s)
        if not fault.passing or self._tried >= self._patience.tries or now_s() + pause_s >= self.until:
            return False
        await self._surroundings.sleep(pause_s)
        return True


async def by(until: float, awaited: Awaitable[T]) -> T:
    """What `awaited` gives before the loop's time `until`; then ProviderFault("timeout")."""
    try:
        async with asyncio.timeout_at(until):
            return await awaited
    except TimeoutError:
        raise ProviderFault("timeout") from None


def now_s() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()
