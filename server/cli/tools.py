"""`glow tools`: what may be done, shown from the manifests, and one call of it by hand."""

from typing import Annotated, Literal

import typer

from server.cli.options import AsJson, Organization, User

REFUSED = 1

app = typer.Typer(help="The tools: list, show, call, export, validate.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The tool's name.")]


@app.command("list")
def list_tools(as_json: AsJson = False) -> None:
    """List every tool."""
    from server.cli import manifests

    manifests.list_tools(as_json=as_json)


@app.command("show")
def show_tool(name: Name, as_json: AsJson = False) -> None:
    """Show one tool: its words, its rules and its schemas."""
    from server.cli import manifests

    manifests.show_tool(name, as_json=as_json)


@app.command("validate")
def validate() -> None:
    """Check manifests, policies, workflows, personas and migrations, and how they fit together."""
    from server.cli import manifests

    manifests.validate()


@app.command("export")
def export_tools(
    form: Annotated[
        Literal["openai", "mcp"],
        typer.Option("--format", help="As OpenAI's API takes tools, or as an MCP server lists them."),
    ] = "openai",
) -> None:
    """Print the tools that models may see, as JSON for other programs."""
    from server.cli import manifests

    manifests.export_tools(form)


@app.command("call")
def call_tool(
    name: Name,
    organization: Organization,
    user: User = None,
    arguments: Annotated[
        str, typer.Option("--arguments", metavar="JSON|@FILE|-", help="The arguments: JSON, a file of it, or stdin.")
    ] = "{}",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and record, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Call one tool."""
    from server.cli import calling

    if not calling.call(name, arguments, organization, user, dry_run=dry_run, as_json=as_json):
        raise typer.Exit(REFUSED)
