"""`glow autonomy`: what the record has earned the agent, and a PARTNER's own hand on the proposals that rest on it."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from domain.earned.model import ProposalState
from server.cli.options import AsJson, Organization, User

REFUSED = 1

app = typer.Typer(
    help="Autonomy earned from the record: records, proposals, accept, reject, recompute.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[UUID, typer.Argument(metavar="ID", help="The proposal's id.")]
Hand = Annotated[str, typer.Option("--user", metavar="EMAIL", help="By whose own hand: a PARTNER's.")]
Comment = Annotated[str | None, typer.Option("--comment", help="Why; kept with the decision.")]


@app.command("records")
def records(organization: Organization, user: User = None, as_json: AsJson = False) -> None:
    """Show what became of the agent's calls, tool by tool."""
    from server.cli import earning

    earning.list_records(organization, user, as_json=as_json)


@app.command("proposals")
def proposals(
    organization: Organization,
    user: User = None,
    state: Annotated[ProposalState | None, typer.Option(help="Only those in this state.")] = "open",
    everything: Annotated[bool, typer.Option("--all", help="Those in any state.")] = False,
    as_json: AsJson = False,
) -> None:
    """List proposals to raise a tool's ceiling, newest first, with what they rest on."""
    from server.cli import earning

    earning.list_proposals(organization, user, None if everything else state, as_json=as_json)


@app.command("accept")
def accept(
    proposal_id: Id, organization: Organization, user: Hand, comment: Comment = None, as_json: AsJson = False
) -> None:
    """Accept a proposal: the tool's ceiling is raised from the next call on."""
    _decide(proposal_id, "accept", organization, user, comment, as_json=as_json)


@app.command("reject")
def reject(
    proposal_id: Id, organization: Organization, user: Hand, comment: Comment = None, as_json: AsJson = False
) -> None:
    """Reject a proposal; another takes as many calls again."""
    _decide(proposal_id, "reject", organization, user, comment, as_json=as_json)


@app.command("recompute")
def recompute(
    organization: Organization,
    user: Annotated[
        str, typer.Option("--user", metavar="EMAIL", help="Who asks: a MANAGER or above, or the quality reviewer.")
    ],
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="FILE", exists=True, dir_okay=False, help="Of `glow audit export --payloads`."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count again from the ledger alone, and compare with what is stored; exit 1 where they differ."""
    from server.cli import recounting

    if not recounting.recompute(organization, user, export, as_json=as_json):
        raise typer.Exit(REFUSED)


def _decide(
    proposal_id: UUID, decision: str, organization: str, user: str, comment: str | None, *, as_json: bool
) -> None:
    from server.cli import earning

    if not earning.decide(proposal_id, decision, organization, user, comment, as_json=as_json):
        raise typer.Exit(REFUSED)
