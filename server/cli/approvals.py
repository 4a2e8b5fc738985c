"""`glow approvals`: what waits for a person, one of them laid out, and a person's answer to it."""

from typing import Annotated
from uuid import UUID

import typer

from domain.approvals.model import ApprovalState
from server.cli.options import AsJson, Organization, User

REFUSED = 1

app = typer.Typer(help="Calls that wait: list, show, approve, reject.", no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[UUID, typer.Argument(metavar="ID", help="The approval's id.")]
Comment = Annotated[str | None, typer.Option("--comment", help="Words for whoever asked; the agent is told them too.")]
Hand = Annotated[str, typer.Option("--user", metavar="EMAIL", help="Whose own hand decides.")]


@app.command("list")
def list_approvals(
    organization: Organization,
    user: User = None,
    state: Annotated[ApprovalState | None, typer.Option(help="Only those in this state.")] = "pending",
    everything: Annotated[bool, typer.Option("--all", help="Those in any state.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the approvals that one asked for or may decide, newest first."""
    from server.cli import deciding

    deciding.list_approvals(organization, user, None if everything else state, as_json=as_json)


@app.command("show")
def show(approval_id: Id, organization: Organization, user: User = None, as_json: AsJson = False) -> None:
    """Lay one out, its arguments beside those of the last like call."""
    from server.cli import deciding

    if not deciding.show_approval(approval_id, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)


@app.command("approve")
def approve(
    approval_id: Id, organization: Organization, user: Hand, comment: Comment = None, as_json: AsJson = False
) -> None:
    """Approve a call, which is then made."""
    _decide(approval_id, "approve", organization, user, comment, as_json=as_json)


@app.command("reject")
def reject(
    approval_id: Id, organization: Organization, user: Hand, comment: Comment = None, as_json: AsJson = False
) -> None:
    """Reject a call, which is then never made."""
    _decide(approval_id, "reject", organization, user, comment, as_json=as_json)


def _decide(
    approval_id: UUID, decision: str, organization: str, user: str, comment: str | None, *, as_json: bool
) -> None:
    from server.cli import deciding

    if not deciding.decide(approval_id, decision, organization, user, comment, as_json=as_json):
        raise typer.Exit(REFUSED)
