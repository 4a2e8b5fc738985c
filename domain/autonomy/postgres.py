"""What bounds the agent for one member, in SQL."""

from domain.autonomy.model import AutonomyRange
from domain.kernel import DEFAULT_LEVEL, Level
from domain.storage.postgres import Connection

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


def _level(value: int | None, absent: Level) -> Level:
    return absent if value is None else Level(value)
