"""Whether the Slack app is installed."""

from server.doctor.finding import Finding, wrong
from server.slack_app import SlackApp, SlackRefused, SlackUnreachable, installed_in


async def slack_finding(app: SlackApp | None) -> Finding:
    """Whether Slack takes the bot token, and of which workspace it is."""
    if app is None:
        says = "no Slack app: set SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET for one (docs/slack.md)"
        return Finding(part="slack", state="note", says=says)
    try:
        workspace = await installed_in(app)
    except SlackRefused as refused:
        return wrong("slack", f"{app.base_url} refuses the bot token ({refused.reason})", "mend SLACK_BOT_TOKEN")
    except SlackUnreachable as away:
        return wrong("slack", str(away), "mend SLACK_API_BASE_URL, or let this machine reach it")
    return Finding(part="slack", state="ok", says=f"installed in {workspace.name} ({workspace.team_id})")
