"""A Slack workspace of the firm's, and which persona answers in which of its channels."""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel import EngagementId


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A Slack workspace as Slack itself names it."""

    team_id: str
    name: str
    bot_user_id: str
    """The hub's own user there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A workspace that belongs to the organization."""

    workspace: Workspace
    connected_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSetting:
    """Who answers in a channel, and of which engagement its conversations are."""

    team_id: str
    channel_id: str
    agent: str
    engagement_id: EngagementId | None
