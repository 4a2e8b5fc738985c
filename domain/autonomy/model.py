"""The level in force, how it is lowered and raised, and the settings behind it with their history."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType
from uuid import UUID

from domain.kernel import Level, PrincipalId
from domain.paging import FIRST_PAGE, PageRequest

SettingId = NewType("SettingId", UUID)
Scope = Literal["organization", "tool", "member"]
SettingField = Literal["level", "autopilot_disabled", "floor", "ceiling"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAutonomy:
    """A setting as it was asked for: of the fields in `given` these values, all others as they are in force."""

    scope: Scope
    tool: str | None = None
    member: str | None = None
    """An e-mail address."""
    given: frozenset[SettingField]
    level: Level | None = None
    """None: the organization's default, or no ceiling of the tool's."""
    autopilot_disabled: bool = False
    floor: Level = Level.L0
    ceiling: Level = Level.L3
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRange:
    """A member with the range in force."""

    principal_id: PrincipalId
    floor: Level
    ceiling: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSetting:
    """A setting ready to be stored, whole."""

    setting_id: SettingId
    scope: Scope
    subject: str
    """A tool's name, a member's id; empty for the organization."""
    level: Level | None = None
    autopilot_disabled: bool = False
    floor: Level | None = None
    ceiling: Level | None = None
    reason: str
    changed_by: PrincipalId
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One entry of the history; the newest of its scope and subject is in force."""

    setting_id: SettingId
    scope: Scope
    tool: str | None
    member: str | None
    """E-mail addresses, as `changed_by`."""
    level: Level | None
    autopilot_disabled: bool
    floor: Level | None
    ceiling: Level | None
    reason: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingQuery:
    """Which of the history; None leaves the filter out."""

    page: PageRequest = FIRST_PAGE
    scope: Scope | None = None
