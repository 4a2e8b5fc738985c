"""`glow delegations`: who decides in whose stead while somebody is away."""

from typing import Annotated
from uuid import UUID

import typer

from server.cli.options import AsJson, Organization, User
from tools.outcomes import Json

REFUSED = 1

app = typer.Typer(
    help="Who decides approvals in whose stead: list, give, revoke.", no_args_is_help=True, rich_markup_mode=None
)

Hand = Annotated[str, typer.Option("--user", metavar="EMAIL", help="By whose own hand.")]


@app.command("list")
def list_delegations(
    organization: Organization,
    user: User = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List one's own, and for whoever reads the organization's record all, newest first."""
    from server.cli import delegating

    delegating.list_delegations(organization, user, over=everything, as_json=as_json)


@app.command("give")
def give(
    delegate: Annotated[str, typer.Argument(metavar="EMAIL", help="Who decides in your stead.")],
    organization: Organization,
    user: Hand,
    until: Annotated[str, typer.Option("--until", metavar="DAY", help="Through the end of that day, or a moment.")],
    since: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="From then on; left out, from now.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Kept with it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Name who decides in your stead what you may decide, for a time in which you are away."""
    asked: Json = {"delegate": delegate, "ends_at": until}
    asked |= {name: value for name, value in (("starts_at", since), ("reason", reason)) if value is not None}
    _change("delegation_give", asked, organization, user, as_json=as_json)


@app.command("revoke")
def revoke(
    delegation_id: Annotated[UUID, typer.Argument(metavar="ID", help="The delegation's id.")],
    organization: Organization,
    user: Hand,
    as_json: AsJson = False,
) -> None:
    """End a delegation from now on; what was decided under it stands."""
    _change("delegation_revoke", {"delegation_id": str(delegation_id)}, organization, user, as_json=as_json)


def _change(tool: str, arguments: Json, organization: str, user: str, *, as_json: bool) -> None:
    from server.cli import delegating

    if not delegating.change(tool, arguments, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)
