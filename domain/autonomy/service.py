"""Says how far the agent may go for a member, and sets what bounds it, with who, when and why."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, assert_never

from domain.autonomy.model import (
    AutonomyRange,
    AutonomyStatus,
    MemberRange,
    NewSetting,
    Scope,
    SetAutonomy,
    Setting,
    SettingField,
    SettingId,
    SettingQuery,
)
from domain.autonomy.ports import AutonomyRepository
from domain.kernel import DEFAULT_LEVEL, DomainError, Level, NotFound, PrincipalId
from domain.paging import Page, Position, page_of


class SettingDoesNotFit(DomainError):
    """A field that the scope does not have, or none that it has."""

    code: ClassVar[str] = "setting_does_not_fit"


class MemberNotFound(NotFound):
    """Nobody of that address belongs to the organization."""

    code: ClassVar[str] = "member_not_found"

    def __init__(self, email: str) -> None:
        super().__init__(f"member: nobody here has the address {email}")


class FloorAboveCeiling(DomainError):
    """A range with nothing in it."""

    code: ClassVar[str] = "floor_above_ceiling"

    def __init__(self, floor: Level, ceiling: Level) -> None:
        super().__init__(f"floor: {floor.name} is above the ceiling {ceiling.name}")


@dataclass(frozen=True, slots=True)
class AutonomyService:
    """Who may set autonomy is policy's to say, before this is called."""

    autonomy: AutonomyRepository

    async def status(self, *, tool: str | None = None, persona_ceiling: Level = Level.L3) -> AutonomyStatus:
        """The bounds and the level in force now, for one tool where it is named."""
        return status_of(await self.autonomy.range(tool), persona_ceiling)

    async def lock(self) -> None:
        """Let nobody else change what bounds the agent here until the transaction ends."""
        await self.autonomy.lock()

    async def organization(self) -> tuple[Level, bool]:
        """The organization's level, and whether its switch holds everybody at most at L1."""
        level, disabled = await self.autonomy.organization()
        return DEFAULT_LEVEL if level is None else level, disabled

    async def history(self, query: SettingQuery) -> Page[Setting]:
        """What was set, newest first, with who, when and why."""
        return page_of(await self.autonomy.history(query), query.page, _place)

    async def set(
        self, asked: SetAutonomy, *, setting_id: SettingId, changed_by: PrincipalId, now: datetime
    ) -> Setting:
        """Put a setting in force for the next call on, everywhere; what was not given stays as it is.

        Effect  writes autonomy_settings, and memberships for a member's range.
        Raises  SettingDoesNotFit, MemberNotFound, FloorAboveCeiling.
        """
        _require_fit(asked)
        # What is not given is taken from what is in force: nobody may change that meanwhile.
        await self.autonomy.lock()
        setting = NewSetting(
            setting_id=setting_id,
            scope=asked.scope,
            subject=asked.tool or "",
            reason=asked.reason,
            changed_by=changed_by,
            changed_at=now,
        )
        await self.autonomy.add(await self._whole(asked, setting))
        return await self.autonomy.setting(setting_id)

    async def _whole(self, asked: SetAutonomy, setting: NewSetting) -> NewSetting:
        """The setting with what was given, and for the rest what is in force."""
        match asked.scope:
            case "organization":
                level, disabled = await self.autonomy.organization()
                return replace(
                    setting,
                    level=asked.level if "level" in asked.given else level,
                    autopilot_disabled=asked.autopilot_disabled if "autopilot_disabled" in asked.given else disabled,
                )
            case "tool":
                return replace(setting, level=asked.level)
            case "member":
                member = await self._bound(asked)
                subject = str(member.principal_id)
                return replace(setting, subject=subject, floor=member.floor, ceiling=member.ceiling)
            case _:
                assert_never(asked.scope)

    async def _bound(self, asked: SetAutonomy) -> MemberRange:
        """The member, with the new range in force."""
        email = asked.member or ""
        found = await self.autonomy.member(email)
        if found is None:
            raise MemberNotFound(email)
        floor = asked.floor if "floor" in asked.given else found.floor
        ceiling = asked.ceiling if "ceiling" in asked.given else found.ceiling
        if floor > ceiling:
            raise FloorAboveCeiling(floor, ceiling)
        bound = MemberRange(principal_id=found.principal_id, floor=floor, ceiling=ceiling)
        await self.autonomy.bind(bound)
        return bound


def status_of(bounds: AutonomyRange, persona_ceiling: Level = Level.L3) -> AutonomyStatus:
    """What the bounds come to."""
    return AutonomyStatus(bounds=bounds, level=bounds.in_force(persona_ceiling))


_FIELDS: Mapping[Scope, frozenset[SettingField]] = {
    "organization": frozenset({"level", "autopilot_disabled"}),
    "tool": frozenset({"level"}),
    "member": frozenset({"floor", "ceiling"}),
}


def _require_fit(asked: SetAutonomy) -> None:
    """Raises  SettingDoesNotFit: what is given is not what the scope is about; nothing is left aside unsaid."""
    fields = _FIELDS[asked.scope]
    if asked.given - fields or not asked.given:
        raise SettingDoesNotFit(f"scope: for {asked.scope} give {' or '.join(sorted(fields))}, and nothing else")
    for name, value in (("tool", asked.tool), ("member", asked.member)):
        if (value is not None) != (asked.scope == name):
            raise SettingDoesNotFit(f"{name}: belongs to the scope {name}, and only to that")


def _place(setting: Setting) -> Position:
    return Position(time=setting.changed_at, id=setting.setting_id)
