"""`glow preferences`: what the agent remembers of how a person wants to be answered."""

from typing import Annotated
from uuid import UUID

import typer

from server.cli.options import AsJson, Organization

REFUSED = 1

app = typer.Typer(
    help="How the agent is to answer you: list, set, forget.", no_args_is_help=True, rich_markup_mode=None
)

Whose = Annotated[str, typer.Option("--user", metavar="EMAIL", help="Whose preferences, by their own hand.")]
Id = Annotated[UUID, typer.Argument(metavar="ID", help="The preference's id.")]


@app.command("list")
def list_preferences(organization: Organization, user: Whose, as_json: AsJson = False) -> None:
    """List what is remembered."""
    from server.cli import remembering

    remembering.list_preferences(organization, user, as_json=as_json)


@app.command("set")
def set_preference(
    words: Annotated[str, typer.Argument(metavar="WORDS", help="What you want, as one line.")],
    organization: Organization,
    user: Whose,
    replacing: Annotated[UUID | None, typer.Option("--id", metavar="ID", help="Instead of this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have it remembered."""
    from server.cli import remembering

    _exit_with(remembering.remember(words, organization, user, replacing, as_json=as_json))


@app.command("forget")
def forget(preference_id: Id, organization: Organization, user: Whose, as_json: AsJson = False) -> None:
    """Forget it; its words are erased."""
    from server.cli import remembering

    _exit_with(remembering.forget(preference_id, organization, user, as_json=as_json))


def _exit_with(done: bool) -> None:
    if not done:
        raise typer.Exit(REFUSED)
