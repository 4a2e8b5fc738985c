"""`glow privacy`: a person's data, handed out and erased."""

from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import AsJson, Organization

REFUSED = 1

app = typer.Typer(help="A person's data: export, erase, list erasures.", no_args_is_help=True, rich_markup_mode=None)

Hand = Annotated[str, typer.Option("--user", metavar="EMAIL", help="By whose own hand.")]


@app.command("export")
def export(
    organization: Organization,
    user: Hand,
    person: Annotated[
        str | None,
        typer.Option("--person", metavar="EMAIL", help="Whose data; without it one's own. It takes a PARTNER."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there.", dir_okay=False)] = None,
) -> None:
    """Hand out everything that the organization holds of a person, as a ZIP archive."""
    from server.cli import people

    _exit_with(people.export(organization, user, person, out))


@app.command("erase")
def erase(
    organization: Organization,
    user: Hand,
    person: Annotated[str, typer.Option("--person", metavar="EMAIL", help="Whose data.")],
    as_json: AsJson = False,
) -> None:
    """Have a person's data erased, once a second PARTNER has approved it. It cannot be undone."""
    from server.cli import people

    _exit_with(people.erase(organization, user, person, as_json=as_json))


@app.command("list")
def list_erasures(organization: Organization, user: Hand, as_json: AsJson = False) -> None:
    """List erasures, how far each has come, and what it removed."""
    from server.cli import people

    people.list_erasures(organization, user, as_json=as_json)


def _exit_with(done: bool) -> None:
    if not done:
        raise typer.Exit(REFUSED)
