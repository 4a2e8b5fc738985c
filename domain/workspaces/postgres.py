"""Workspaces in SQL."""

from datetime import datetime

from domain.kernel import EngagementId
from domain.storage.postgres import Connection
from domain.workspaces.model import ChannelSetting, Workspace

_OWN_ADDRESS = "SELECT email FROM users WHERE user_id = glow.principal_id()"

# Another organization's row cannot be seen here: the conflict with it shows as nothing inserted and nothing updated.
_INSERT = """
INSERT INTO slack_teams (organization_id, team_id, name, bot_user_id, connected_by, connected_at)
VALUES (glow.organization_id(), $1, $2, $3, glow.principal_id(), $4)
ON CONFLICT DO NOTHING
"""
_REFRESH = """
UPDATE slack_teams SET name = $2, bot_user_id = $3
WHERE organization_id = glow.organization_id() AND team_id = $1
"""

_IS_CONNECTED = """
SELECT EXISTS (SELECT FROM slack_teams WHERE organization_id = glow.organization_id() AND team_id = $1)
"""
_HAS_ENGAGEMENT = """
SELECT EXISTS (SELECT FROM engagements WHERE organization_id = glow.organization_id() AND engagement_id = $1)
"""

_SET_CHANNEL = """
INSERT INTO slack_channels (organization_id, team_id, channel_id, agent, engagement_id, set_by, set_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, glow.principal_id(), $5)
ON CONFLICT (organization_id, team_id, channel_id) DO UPDATE
SET agent = excluded.agent, engagement_id = excluded.engagement_id, set_by = excluded.set_by, set_at = excluded.set_at
"""
_CHANNEL = """
SELECT team_id, channel_id, agent, engagement_id FROM slack_channels
WHERE organization_id = glow.organization_id() AND team_id = $1 AND channel_id = $2
"""


class PostgresWorkspaces:
    """WorkspaceRepository over a connection in the principal's context."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def own_address(self) -> str | None:
        return await self._connection.fetchval(_OWN_ADDRESS)

    async def connect(self, workspace: Workspace, now: datetime) -> bool:
        named = (workspace.team_id, workspace.name, workspace.bot_user_id)
        if await self._connection.execute(_INSERT, *named, now) == "INSERT 0 1":
            return True
        return await self._connection.execute(_REFRESH, *named) == "UPDATE 1"

    async def is_connected(self, team_id: str) -> bool:
        return await self._connection.fetchval(_IS_CONNECTED, team_id)

    async def has_engagement(self, engagement_id: EngagementId) -> bool:
        return await self._connection.fetchval(_HAS_ENGAGEMENT, engagement_id)

    async def set_channel(self, setting: ChannelSetting, now: datetime) -> None:
        await self._connection.execute(
            _SET_CHANNEL, setting.team_id, setting.channel_id, setting.agent, setting.engagement_id, now
        )

    async def channel(self, team_id: str, channel_id: str) -> ChannelSetting | None:
        row = await self._connection.fetchrow(_CHANNEL, team_id, channel_id)
        if row is None:
            return None
        engagement_id = row["engagement_id"]
        return ChannelSetting(
            team_id=row["team_id"],
            channel_id=row["channel_id"],
            agent=row["agent"],
            engagement_id=None if engagement_id is None else EngagementId(engagement_id),
        )
