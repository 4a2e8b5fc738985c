"""What workspaces need of the database."""

from datetime import datetime
from typing import Protocol

from domain.kernel import EngagementId
from domain.workspaces.model import ChannelSetting, Workspace


class WorkspaceRepository(Protocol):
    """The workspaces of the transaction's organization."""

    async def own_address(self) -> str | None:
        """The principal's e-mail address; None: no member."""
        ...

    async def connect(self, workspace: Workspace, now: datetime) -> bool:
        """Connect it, or refresh what is known of it; False: it is another organization's."""
        ...

    async def is_connected(self, team_id: str) -> bool: ...

    async def has_engagement(self, engagement_id: EngagementId) -> bool: ...

    async def set_channel(self, setting: ChannelSetting, now: datetime) -> None: ...

    async def channel(self, team_id: str, channel_id: str) -> ChannelSetting | None: ...
