"""`glow runs`: what was recorded of a run, tried on the code of today."""

from typing import Annotated
from uuid import UUID

import typer

from server.cli.options import AsJson, Organization

REFUSED = 1

app = typer.Typer(help="The agent's runs: replay.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def runs() -> None:
    """The agent's runs: replay."""


@app.command("replay")
def replay(
    run_id: Annotated[UUID, typer.Argument(metavar="ID", help="The run's id.")],
    organization: Organization,
    user: Annotated[str, typer.Option("--user", metavar="EMAIL", help="Whose run it is.")],
    as_json: AsJson = False,
) -> None:
    """Tell a run again from what its model and tools had said, and name the first event that comes out otherwise."""
    from server.cli import replaying

    if not replaying.replay(run_id, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)
