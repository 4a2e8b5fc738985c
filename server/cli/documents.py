"""`glow documents`: a person's own hand on documents that are there."""

from typing import Annotated, Literal
from uuid import UUID

import typer

from server.cli.options import AsJson, Organization

REFUSED = 1

app = typer.Typer(
    help="Documents that are there: say anew whose words one holds.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def documents() -> None:
    """Documents that are there: say anew whose words one holds."""


@app.command("trust")
def trust(
    document_id: Annotated[UUID, typer.Argument(metavar="ID", help="The document's id.")],
    trust: Annotated[
        Literal["internal", "client", "external"],
        typer.Argument(metavar="TRUST", help="Who wrote it: internal (the firm itself), client, external."),
    ],
    organization: Organization,
    user: Annotated[
        str, typer.Option("--user", metavar="EMAIL", help="By whose own hand: its uploader's, or a MANAGER's.")
    ],
    as_json: AsJson = False,
) -> None:
    """Say anew whose words a document holds, of all its versions at once."""
    from server.cli import trusting

    if not trusting.trust(document_id, trust, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)
