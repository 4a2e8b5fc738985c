"""`glow policy`: policies tested, explained and replayed; an organization's own put in force and taken back."""

from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer

from domain.kernel import Door, Mode, Role
from server.cli.options import AsJson, Organization, User

REFUSED = 1

app = typer.Typer(
    help="The policies: test, explain, replay; an organization's own: list, add, remove.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

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
    control_state: Annotated[
        Literal["not_applicable", "satisfied", "pending", "changes_required"] | None,
        typer.Option("--control-state", help="As if the release control that it goes through were in this state."),
    ] = None,
    approved: Annotated[bool, typer.Option("--approved", help="As if a person had approved it.")] = False,
    in_run: Annotated[
        UUID | None, typer.Option("--run", metavar="ID", help="As if it were made in that run of theirs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what would become of a call, why, and what would change that; nothing is done."""
    from server.cli import policy_explaining

    supposed: dict[str, object] = {"mode": mode, "door": door or ("chat" if mode == "agent" else "cli")}
    given = {"role": role, "level": level, "attended": attended, "approved": approved or None}
    given |= {"control_state": control_state, "run_id": None if in_run is None else str(in_run)}
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
    add: Annotated[
        str | None,
        typer.Option("--add", metavar="FILE", help="A policy of the organization's own, as if it had been in force."),
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="ID", help="One of its own, as if it had never been in force.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="MOMENT", help="Calls from then on: 2026-01-31, or RFC 3339.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="MOMENT", help="Calls up to then; a day counts.")] = None,
    limit: Annotated[int, typer.Option(min=0, max=10000, help="How many of the changes are listed.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Decide the organization's recorded calls again under a proposed policy, and list what would change."""
    from server.cli import policy_replaying
    from server.cli.own_policies import policy_text

    text = None if add is None else policy_text(add)
    policy_replaying.usable(policies, text)
    narrowed: dict[str, object] = {"limit": limit}
    given = {"from": since, "to": until, "add": text, "remove": remove}
    narrowed |= {name: value for name, value in given.items() if value is not None}
    if not policy_replaying.replay(policies, narrowed, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)


Hand = Annotated[str, typer.Option("--user", metavar="EMAIL", help="By whose own hand: a SYSTEM_ADMIN's.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would have decided otherwise, of all calls; change nothing.")
]


@app.command("list")
def list_own(
    organization: Organization,
    user: User = None,
    history: Annotated[bool, typer.Option("--history", help="What was put in force and taken back.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the organization's own policies that are in force: who put them there, when and why."""
    from server.cli import own_policies

    own_policies.list_policies(organization, user, history=history, as_json=as_json)


@app.command("add")
def add_own(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A file that holds one policy; - reads stdin.")],
    organization: Organization,
    user: Hand,
    reason: Reason = "",
    replace: Annotated[bool, typer.Option("--replace", help="In the place of the one that has its @id.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put a policy of the organization's own in force: it only forbids, or has a person asked first."""
    from server.cli import own_policies

    text = own_policies.policy_text(file)
    asked: dict[str, object] = {"text": text, "reason": reason, **({"replace": True} if replace else {})}
    _change("policy_add", asked, {"add": text} if dry_run else None, organization, user, as_json=as_json)


@app.command("remove")
def remove_own(
    policy_id: Annotated[str, typer.Argument(metavar="ID", help="The policy's @id.")],
    organization: Organization,
    user: Hand,
    reason: Reason = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take a policy of the organization's own back; the history keeps it."""
    asked: dict[str, object] = {"policy_id": policy_id, "reason": reason}
    _change("policy_remove", asked, {"remove": policy_id} if dry_run else None, organization, user, as_json=as_json)


def _change(
    tool: str, asked: dict[str, object], tried: dict[str, object] | None, organization: str, user: str, *, as_json: bool
) -> None:
    """`tried`: what is to be replayed instead of being changed."""
    from server.cli import own_policies, policy_replaying

    if tried is not None:
        done = policy_replaying.replay(None, tried, organization, user, as_json=as_json)
    elif not str(asked["reason"]).strip():
        raise typer.BadParameter("say why: it is kept in the history", param_hint="--reason")
    else:
        done = own_policies.change(tool, asked, organization, user, as_json=as_json)
    if not done:
        raise typer.Exit(REFUSED)
