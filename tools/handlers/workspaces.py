"""Settings of the Slack door: whose workspace it is, and who answers in which channel."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, ClassVar, cast
from uuid import UUID

from domain.kernel import DomainError, EngagementId
from domain.workspaces.model import ChannelSetting, Workspace
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.work import CallContext, Handler, PrepareContext

Identify = Callable[[str, str], Awaitable[Workspace]]
"""Asks Slack: the workspace with this id, if the server's bot token is for it and that address administers it."""


class SlackConnect(Arguments):
    team_id: str


class SlackChannelSet(Arguments):
    team_id: str
    channel_id: str
    agent: str
    engagement_id: UUID | None = None


class NoSlack(DomainError):
    """This server has no Slack app."""

    code: ClassVar[str] = "slack_not_configured"

    def __init__(self) -> None:
        super().__init__("this server has no Slack app: its operator sets SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET")


class NoSuchAgent(DomainError):
    """No persona of that name."""

    code: ClassVar[str] = "unknown_agent"

    def __init__(self, known: Collection[str]) -> None:
        super().__init__(f"agent: there are {', '.join(sorted(known))}")


async def no_slack(team_id: str, address: str) -> Workspace:
    """Raises  NoSlack."""
    raise NoSlack


def workspace_handlers(
    identify: Identify = no_slack, agents: Collection[str] = ("assistant",)
) -> Mapping[str, Handler[Any]]:
    """The tools that need Slack, and the names of the personas there are."""

    async def verify(arguments: SlackConnect, context: PrepareContext) -> Workspace:
        address = cast(str, await context.read(lambda work: work.workspaces.own_address()))
        return await identify(arguments.team_id, address)

    async def slack_channel_set(arguments: SlackChannelSet, context: CallContext) -> Json:
        """Effect  writes slack_channels.

        Raises  NoSuchAgent, WorkspaceNotConnected, NoSuchEngagement.
        """
        if arguments.agent not in agents:
            raise NoSuchAgent(agents)
        engagement = arguments.engagement_id
        setting = ChannelSetting(
            team_id=arguments.team_id,
            channel_id=arguments.channel_id,
            agent=arguments.agent,
            engagement_id=None if engagement is None else EngagementId(engagement),
        )
        return {"channel": _channel_json(await context.work.workspaces.set_channel(setting, context.now))}

    return {
        "slack_connect": Handler(arguments=SlackConnect, work=slack_connect, prepare=verify),
        "slack_channel_set": Handler(arguments=SlackChannelSet, work=slack_channel_set),
    }


async def slack_connect(arguments: SlackConnect, context: CallContext) -> Json:
    """Effect  writes slack_teams.

    Raises  WorkspaceTaken.
    """
    connection = await context.work.workspaces.connect(cast(Workspace, context.prepared), context.now)
    workspace = connection.workspace
    return {
        "workspace": {
            "team_id": workspace.team_id,
            "name": workspace.name,
            "bot_user_id": workspace.bot_user_id,
            "connected_at": connection.connected_at.isoformat(),
        }
    }


def _channel_json(setting: ChannelSetting) -> Json:
    shown: Json = {"team_id": setting.team_id, "channel_id": setting.channel_id, "agent": setting.agent}
    if setting.engagement_id is not None:
        shown["engagement_id"] = str(setting.engagement_id)
    return shown
