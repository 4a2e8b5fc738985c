"""`glow calls`: calls of which nobody knows how they ended outside, and a person's word on one of them."""

from typing import Annotated
from uuid import UUID

import typer

from server.cli.options import AsJson, Organization, User

REFUSED = 1

app = typer.Typer(
    help="Calls of which nobody knows how they ended outside: open, happened, failed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[UUID, typer.Argument(metavar="ID", help="The call's id.")]
Hand = Annotated[str, typer.Option("--user", metavar="EMAIL", help="Who has looked there, and says so.")]
Statement = Annotated[
    str, typer.Option("--statement", help="The outside's reference, or from where it is known; whoever asked is told.")
]


@app.command("open")
def list_open(organization: Organization, user: User = None, as_json: AsJson = False) -> None:
    """List the calls that are under way outside or were left there, newest first."""
    from server.cli import concluding

    concluding.list_open(organization, user, as_json=as_json)


@app.command("happened")
def happened(
    call_id: Id, organization: Organization, user: Hand, statement: Statement, as_json: AsJson = False
) -> None:
    """Say that the outside has done what the call asked for."""
    _conclude(call_id, organization, user, statement, happened=True, as_json=as_json)


@app.command("failed")
def failed(call_id: Id, organization: Organization, user: Hand, statement: Statement, as_json: AsJson = False) -> None:
    """Say that the outside has not done what the call asked for."""
    _conclude(call_id, organization, user, statement, happened=False, as_json=as_json)


def _conclude(call_id: UUID, organization: str, user: str, statement: str, *, happened: bool, as_json: bool) -> None:
    from server.cli import concluding

    if not concluding.conclude(call_id, organization, user, statement, happened=happened, as_json=as_json):
        raise typer.Exit(REFUSED)
