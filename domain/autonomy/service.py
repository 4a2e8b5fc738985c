"""Says how far the agent may go for a member: what bounds it and the level in force."""

from dataclasses import dataclass

from domain.autonomy.model import AutonomyRange, AutonomyStatus
from domain.autonomy.ports import AutonomyRepository
from domain.kernel import Level


@dataclass(frozen=True, slots=True)
class AutonomyService:
    """Reads autonomy; the decisions that follow from it are policy's."""

    autonomy: AutonomyRepository

    async def status(self, *, tool: str | None = None, persona_ceiling: Level = Level.L3) -> AutonomyStatus:
        """The bounds and the level in force now, for one tool where it is named."""
        return status_of(await self.autonomy.range(tool), persona_ceiling)


def status_of(bounds: AutonomyRange, persona_ceiling: Level = Level.L3) -> AutonomyStatus:
    """What the bounds come to."""
    return AutonomyStatus(bounds=bounds, level=bounds.in_force(persona_ceiling))
