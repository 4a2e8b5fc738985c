"""`glow policy`: the firm's policies tested, explained, and tried on what happened."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from domain.kernel import Door, Mode, Role
from server.cli.options import AsJson, Organization

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


@app.command("explain")
def explain(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="The tool that would be called.")],
    organization: Organization,
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="EMAIL", help="Who would call, or for whom; without it, the service account."),
    ] = None,
    arguments: Annotated[
        str | None,
        typer.Option("--arguments", metavar="JSON|@FILE|-", help="The arguments: JSON, a file of it, or stdin."),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="The agent's call, or a person's own hand.")] = "agent",
    door: Annotated[
        Door | None, typer.Option(help="How it would come in: `chat` for the agent, `cli` for a person.")
    ] = None,
    role: Annotated[Role | None, typer.Option(help="As if they had this role.")] = None,
    level: Annotated[
        Literal["L0", "L1", "L2", "L3"] | None, typer.Option(help="As if this level were in force.")
    ] = None,
    attended: Annotated[
        bool | None, typer.Option("--attended/--unattended", help="As if somebody waited for it, or nobody.")
    ] = None,
    approved: Annotated[bool, typer.Option("--approved", help="As if a person had approved it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what would become of a call, why, and what would change that; nothing is done."""
    from server.cli import policy_explaining

    supposed: dict[str, object] = {"mode": mode, "door": door or ("chat" if mode == "agent" else "cli")}
    given = {"role": role, "level": level, "attended": attended, "approved": approved or None}
    supposed |= {name: value for name, value in given.items() if value is not None}
    if not policy_explaining.explain(tool, arguments, supposed, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)


@app.command("replay")
def replay(
    organization: Organization,
    user: Annotated[
        str, typer.Option("--user", metavar="EMAIL", help="Who asks: a MANAGER or above, or the quality reviewer.")
    ],
    policies: Folder = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="MOMENT", help="Calls from then on: 2026-01-31, or RFC 3339.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="MOMENT", help="Calls up to then; a day counts.")] = None,
    limit: Annotated[int, typer.Option(min=0, max=10000, help="How many of the changes are listed.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Decide the organization's recorded calls again under a proposed policy, and list what would change."""
    from server.cli import policy_replaying

    narrowed: dict[str, object] = {"limit": limit}
    narrowed |= {name: value for name, value in {"from": since, "to": until}.items() if value is not None}
    if not policy_replaying.replay(policies, narrowed, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)
