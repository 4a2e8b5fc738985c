"""The level in force: what of autonomy the database holds, and how it is lowered and raised."""

from dataclasses import dataclass

from domain.kernel import Level


@dataclass(frozen=True, slots=True, kw_only=True)
class AutonomyRange:
    """What bounds the agent for one member and one tool: the organization's level, the member's range, the ceilings."""

    organization_level: Level
    floor: Level
    ceiling: Level
    tool_ceiling: Level
    autopilot_disabled: bool

    def in_force(self, persona_ceiling: Level) -> Level:
        """The level in force for one call.

        Source  domain.md, Autonomy: the organization's default, lowered or raised into [floor, ceiling], then lowered
        by the tool's and the persona's ceiling, then by the switch, which means at most L1.
        """
        level = min(max(self.organization_level, self.floor), self.ceiling, self.tool_ceiling, persona_ceiling)
        return min(level, Level.L1) if self.autopilot_disabled else level


@dataclass(frozen=True, slots=True, kw_only=True)
class AutonomyStatus:
    """The level in force, and what bounds it."""

    level: Level
    bounds: AutonomyRange
