"""`glow policy`: the firm's policies tested, explained, and tried on what happened."""

from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import AsJson

REFUSED = 1

app = typer.Typer(help="The policies: test, explain, replay.", no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[
    Path | None,
    typer.Option("--policies", metavar="DIR", help="A folder of policies; without it, those in force."),
]


@app.command("test")
def run_tests(policies: Folder = None, as_json: AsJson = False) -> None:
    """Run the tests that stand beside the policies, and say which policy no test would miss."""
    from server.cli import policy_testing

    if not policy_testing.test(policies, as_json=as_json):
        raise typer.Exit(REFUSED)
