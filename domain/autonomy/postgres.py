"""What bounds the agent, in SQL: read for one member, set for the organization, a tool or a member."""

from collections.abc import Sequence
from typing import cast

from domain.autonomy.model import AutonomyRange, MemberRange, NewSetting, Scope, Setting, SettingId, SettingQuery
from domain.kernel import DEFAULT_LEVEL, Level, PrincipalId
from domain.storage.postgres import Connection, Row

# The newest setting of a scope and subject is in force; the same reading as glow.begin_call's.
_RANGE = """
SELECT m.autonomy_floor, m.autonomy_ceiling, o.level AS organization_level, o.autopilot_disabled,
       t.level AS tool_ceiling
FROM memberships m
LEFT JOIN LATERAL (
    SELECT s.level, s.autopilot_disabled FROM autonomy_settings s
    WHERE s.organization_id = m.organization_id AND s.scope = 'organization' AND s.subject = ''
    ORDER BY s.changed_at DESC, s.setting_id DESC LIMIT 1
) o ON true
LEFT JOIN LATERAL (
    SELECT s.level FROM autonomy_settings s
    WHERE s.organization_id = m.organization_id AND s.scope = 'tool' AND s.subject = $1
    ORDER BY s.changed_at DESC, s.setting_id DESC LIMIT 1
) t ON true
WHERE m.organization_id = glow.organization_id() AND m.user_id = glow.principal_id()
"""

_LOCK = "SELECT glow.lock_autonomy()"

_ORGANIZATION = """
SELECT s.level, s.autopilot_disabled FROM autonomy_settings s
WHERE s.organization_id = glow.organization_id() AND s.scope = 'organization' AND s.subject = ''
ORDER BY s.changed_at DESC, s.setting_id DESC LIMIT 1
"""

_MEMBER = """
SELECT m.user_id, m.autonomy_floor, m.autonomy_ceiling
FROM memberships m JOIN users u ON u.user_id = m.user_id
WHERE m.organization_id = glow.organization_id() AND lower(u.email) = lower($1)
"""

# Later than every setting before, whatever the clocks of several servers say: the newest is in force.
_ADD = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, subject, level, autopilot_disabled, floor, ceiling,
    changed_by, changed_at, reason)
SELECT glow.organization_id(), $1, $2, $3, $4, $5, $6, $7, $8,
       greatest($9, max(s.changed_at) + interval '1 microsecond'), $10
FROM autonomy_settings s WHERE s.organization_id = glow.organization_id()
"""

_BIND = """
UPDATE memberships SET autonomy_floor = $2, autonomy_ceiling = $3
WHERE organization_id = glow.organization_id() AND user_id = $1
"""

_SETTINGS = """
SELECT s.setting_id, s.scope, s.subject, s.level, s.autopilot_disabled, s.floor, s.ceiling, s.reason,
       coalesce(c.email, s.changed_by::text) AS changed_by, s.changed_at, coalesce(m.email, s.subject) AS named
FROM autonomy_settings s
LEFT JOIN users c ON c.user_id = s.changed_by
LEFT JOIN users m ON s.scope = 'member' AND m.user_id::text = s.subject
WHERE s.organization_id = glow.organization_id() AND glow.role() <> 'CLIENT'
"""

_SETTING = _SETTINGS + "  AND s.setting_id = $1"

_HISTORY = (
    _SETTINGS
    + """
  AND ($1::timestamptz IS NULL OR (s.changed_at, s.setting_id) < ($1, $2::uuid))
  AND ($3::text IS NULL OR s.scope = $3)
ORDER BY s.changed_at DESC, s.setting_id DESC
LIMIT $4
"""
)

_NO_MEMBER = AutonomyRange(
    organization_level=DEFAULT_LEVEL,
    floor=Level.L0,
    ceiling=Level.L0,
    tool_ceiling=Level.L3,
    autopilot_disabled=False,
)


class PostgresAutonomy:
    """AutonomyRepository over a connection in the principal's context."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def range(self, tool: str | None) -> AutonomyRange:
        row = await self._connection.fetchrow(_RANGE, tool or "")
        if row is None:
            return _NO_MEMBER
        return AutonomyRange(
            organization_level=_level(row["organization_level"], DEFAULT_LEVEL),
            floor=Level(row["autonomy_floor"]),
            ceiling=Level(row["autonomy_ceiling"]),
            tool_ceiling=_level(row["tool_ceiling"], Level.L3),
            autopilot_disabled=bool(row["autopilot_disabled"]),
        )

    async def lock(self) -> None:
        await self._connection.execute(_LOCK)

    async def organization(self) -> tuple[Level | None, bool]:
        row = await self._connection.fetchrow(_ORGANIZATION)
        return (None, False) if row is None else (_held(row["level"]), row["autopilot_disabled"])

    async def member(self, email: str) -> MemberRange | None:
        row = await self._connection.fetchrow(_MEMBER, email)
        if row is None:
            return None
        return MemberRange(
            principal_id=PrincipalId(row["user_id"]),
            floor=Level(row["autonomy_floor"]),
            ceiling=Level(row["autonomy_ceiling"]),
        )

    async def add(self, setting: NewSetting) -> None:
        await self._connection.execute(
            _ADD,
            setting.setting_id,
            setting.scope,
            setting.subject,
            setting.level,
            setting.autopilot_disabled,
            setting.floor,
            setting.ceiling,
            setting.changed_by,
            setting.changed_at,
            setting.reason,
        )

    async def bind(self, member: MemberRange) -> None:
        await self._connection.execute(_BIND, member.principal_id, member.floor, member.ceiling)

    async def setting(self, setting_id: SettingId) -> Setting:
        return _setting(cast(Row, await self._connection.fetchrow(_SETTING, setting_id)))

    async def history(self, query: SettingQuery) -> Sequence[Setting]:
        rows = await self._connection.fetch(
            _HISTORY,
            *query.page.behind,
            query.scope,
            query.page.limit + 1,
        )
        return [_setting(row) for row in rows]


def _setting(row: Row) -> Setting:
    scope = cast(Scope, row["scope"])
    return Setting(
        setting_id=SettingId(row["setting_id"]),
        scope=scope,
        tool=row["named"] if scope == "tool" else None,
        member=row["named"] if scope == "member" else None,
        level=_held(row["level"]),
        autopilot_disabled=row["autopilot_disabled"],
        floor=_held(row["floor"]),
        ceiling=_held(row["ceiling"]),
        reason=row["reason"],
        changed_by=row["changed_by"],
        changed_at=row["changed_at"],
    )


def _held(value: int | None) -> Level | None:
    return None if value is None else Level(value)


def _level(value: int | None, absent: Level) -> Level:
    return absent if value is None else Level(value)
