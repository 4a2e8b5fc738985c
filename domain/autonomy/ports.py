"""What autonomy needs of the database."""

from typing import Protocol

from domain.autonomy.model import AutonomyRange


class AutonomyRepository(Protocol):
    """What bounds the agent for the transaction's principal."""

    async def range(self, tool: str | None) -> AutonomyRange: ...
