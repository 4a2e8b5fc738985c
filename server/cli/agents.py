"""`glow agents`: the personas that a conversation may be with."""

import typer

from server.cli.options import AsJson

app = typer.Typer(help="The agents: list.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def agents() -> None:
    """The agents: list."""


@app.command("list")
def list_agents(as_json: AsJson = False) -> None:
    """List the agents, the one that answers unasked first."""
    from server.cli import manifests

    manifests.list_agents(as_json=as_json)
