"""`glow files`: where the bytes of documents are kept."""

from typing import Annotated, Literal

import typer

app = typer.Typer(help="Kept files: copy them to another place.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def copy(
    source: Annotated[
        Literal["folder", "database", "s3"],
        typer.Option("--from", help="Where they are; where they go says GLOW_FILES."),
    ],
) -> None:
    """Copy files to where GLOW_FILES says, each held to its digest; what is there already is not copied again."""
    from server.cli import copying

    copying.copy(source)
