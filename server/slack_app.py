"""The two questions that settings ask of Slack, without its SDK: which workspace a token is for, and who runs it."""

from dataclasses import dataclass
from typing import ClassVar, cast

from pydantic import SecretStr

from domain.kernel import DomainError
from domain.workspaces.model import Workspace

API = "https://slack.com/api/"
TIMEOUT_S = 10.0

Json = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackApp:
    """The Slack app that this server is, by its secrets."""

    bot_token: SecretStr
    signing_secret: SecretStr | None
    """Of what comes over HTTP; None: only Socket Mode is used."""
    app_token: SecretStr | None
    """Opens Socket Mode; None: only HTTP is used."""
    base_url: str = API
    """With a slash at its end."""
    direct_messages: bool = True
    """Whether those who may decide a question are written to directly."""


class SlackRefused(DomainError):
    """Slack says no; `reason` is its own code."""

    code: ClassVar[str] = "slack_refused"

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"Slack answers {method} with {reason}")
        self.reason = reason


class SlackUnreachable(DomainError):
    """Slack did not answer."""

    code: ClassVar[str] = "slack_unreachable"

    def __init__(self, why: str) -> None:
        super().__init__(f"Slack could not be reached ({why}); try again in a moment")


class NotThatWorkspace(DomainError):
    """The server's bot token is for another workspace."""

    code: ClassVar[str] = "another_workspace"

    def __init__(self) -> None:
        super().__init__("team_id: the server's Slack app is not installed in this workspace")


class NotItsAdministrator(DomainError):
    """Who connects a workspace must run it."""

    code: ClassVar[str] = "not_workspace_admin"

    def __init__(self) -> None:
        super().__init__("your e-mail address is not that of an administrator of this Slack workspace")


async def installed_in(app: SlackApp) -> Workspace:
    """The workspace that the bot token is for.

    Raises  SlackRefused, SlackUnreachable.
    """
    said = await _call(app, "auth.test", {})
    return Workspace(team_id=str(said["team_id"]), name=str(said["team"]), bot_user_id=str(said["user_id"]))


async def identified(app: SlackApp, team_id: str, address: str) -> Workspace:
    """The workspace, if the app is installed in it and that address is one of its administrators'.

    Else any organization of this server could claim the workspace of another, and be sent what its people write.
    Raises  NotThatWorkspace, NotItsAdministrator, SlackRefused, SlackUnreachable.
    """
    workspace = await installed_in(app)
    if workspace.team_id != team_id:
        raise NotThatWorkspace
    try:
        said = await _call(app, "users.lookupByEmail", {"email": address})
    except SlackRefused as refused:
        if refused.reason == "users_not_found":
            raise NotItsAdministrator from refused
        raise
    user = cast(Json, said.get("user", {}))
    own = user.get("team_id") == team_id and user.get("is_email_confirmed") is True and user.get("deleted") is not True
    if not own or not (user.get("is_admin") is True or user.get("is_owner") is True):
        raise NotItsAdministrator
    return workspace


async def _call(app: SlackApp, method: str, arguments: dict[str, str]) -> Json:
    import httpx2  # not at import: a server without Slack asks nothing of it

    headers = {"Authorization": f"Bearer {app.bot_token.get_secret_value()}"}
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
            answer = await client.post(f"{app.base_url}{method}", data=arguments, headers=headers)
        said = cast("Json | None", answer.json())
    except (httpx2.HTTPError, OSError, ValueError) as fault:
        raise SlackUnreachable(type(fault).__name__) from fault
    if not isinstance(said, dict) or said.get("ok") is not True:
        raise SlackRefused(method, str((said or {}).get("error", answer.status_code)))
    return said
