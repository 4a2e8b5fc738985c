"""Connects a workspace to one organization, and says who answers in its channels."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from domain.kernel import DomainError, EngagementId, NotFound
from domain.workspaces.model import ChannelSetting, Connection, Workspace
from domain.workspaces.ports import WorkspaceRepository


class WorkspaceTaken(DomainError):
    """A workspace belongs to one organization."""

    code: ClassVar[str] = "workspace_taken"

    def __init__(self) -> None:
        super().__init__("team_id: this workspace is connected to another organization of this server")


class WorkspaceNotConnected(NotFound):
    """No such workspace of this organization's."""

    code: ClassVar[str] = "workspace_not_connected"

    def __init__(self) -> None:
        super().__init__("team_id: this workspace is not connected to your organization; slack_connect does that")


class NoSuchEngagement(NotFound):
    """No such engagement in this organization."""

    code: ClassVar[str] = "engagement_not_found"

    def __init__(self, engagement_id: EngagementId) -> None:
        super().__init__(f"engagement_id: no engagement {engagement_id}")
        self.engagement_id = engagement_id


@dataclass(frozen=True, slots=True)
class WorkspaceService:
    """That Slack itself names the workspace was asked before; here is what belongs to whom."""

    workspaces: WorkspaceRepository

    async def connect(self, workspace: Workspace, now: datetime) -> Connection:
        """The workspace is this organization's from now on.

        Raises  WorkspaceTaken.
        """
        if not await self.workspaces.connect(workspace, now):
            raise WorkspaceTaken
        return Connection(workspace=workspace, connected_at=now)

    async def set_channel(self, setting: ChannelSetting, now: datetime) -> ChannelSetting:
        """That agent answers in that channel from now on.

        Raises  WorkspaceNotConnected, NoSuchEngagement.
        """
        if not await self.workspaces.is_connected(setting.team_id):
            raise WorkspaceNotConnected
        if setting.engagement_id is not None and not await self.workspaces.has_engagement(setting.engagement_id):
            raise NoSuchEngagement(setting.engagement_id)
        await self.workspaces.set_channel(setting, now)
        return setting

    async def channel(self, team_id: str, channel_id: str) -> ChannelSetting | None:
        """Who answers in a channel; None: nobody was named, so the default persona does."""
        return await self.workspaces.channel(team_id, channel_id)

    async def own_address(self) -> str | None:
        """The e-mail address of whoever asks."""
        return await self.workspaces.own_address()
