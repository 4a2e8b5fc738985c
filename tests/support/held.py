"""Holds what comes by until a test lets it go on."""

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Held:
    """A pace for a scripted model, or a fault for the gate: `reached` is set when somebody waits here."""

    step: str | None = None
    """Of a gate: the only step at which it holds."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, step: str | None = None) -> None:
        if step == self.step:
            self.reached.set()
            await self.released.wait()
