"""`glow budgets`: what is left of the budgets, and a person's own hand on them."""

from typing import Annotated

import typer

from domain.budgets.model import BudgetKind
from domain.kernel import Effect
from server.cli.options import AsJson, Organization, User
from tools.outcomes import Json

REFUSED = 1

app = typer.Typer(help="What may be spent: list, set, lift.", no_args_is_help=True, rich_markup_mode=None)

Hand = Annotated[str, typer.Option("--user", metavar="EMAIL", help="By whose own hand: a PARTNER's.")]
Kind = Annotated[BudgetKind, typer.Argument(metavar="MEASURE", help="money, tokens or calls.")]
Member = Annotated[str | None, typer.Option("--member", metavar="EMAIL", help="Of this member, not of all together.")]
EachRun = Annotated[bool, typer.Option("--run", help="Of each run of the agent, not of a day.")]
OfEffect = Annotated[Effect | None, typer.Option("--effect", help="Of calls: read, prepare, commit or irreversible.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]


@app.command("list")
def list_budgets(organization: Organization, user: User = None, as_json: AsJson = False) -> None:
    """List the budgets in force: what is used, held and left of each, and when it renews."""
    from server.cli import budgeting

    budgeting.list_budgets(organization, user, as_json=as_json)


@app.command("set")
def set_budget(
    measure: Kind,
    limit: Annotated[float, typer.Argument(metavar="LIMIT", help="US dollars, tokens or calls.")],
    organization: Organization,
    user: Hand,
    reason: Reason,
    member: Member = None,
    run: EachRun = False,
    effect: OfEffect = None,
    as_json: AsJson = False,
) -> None:
    """Set a budget; it holds from the next call on."""
    _set(_asked(measure, limit, reason, member, effect, run=run), organization, user, as_json=as_json)


@app.command("lift")
def lift(
    measure: Kind,
    organization: Organization,
    user: Hand,
    reason: Reason,
    member: Member = None,
    run: EachRun = False,
    effect: OfEffect = None,
    as_json: AsJson = False,
) -> None:
    """Take a budget back: there is none from the next call on."""
    _set(_asked(measure, None, reason, member, effect, run=run), organization, user, as_json=as_json)


def _asked(
    measure: BudgetKind, limit: float | None, reason: str, member: str | None, effect: Effect | None, *, run: bool
) -> Json:
    if run and member is not None:
        raise typer.BadParameter("a budget is of each run or of a member, not of both")
    asked: Json = {"measure": measure, "limit": limit, "reason": reason}
    asked["scope"] = "run" if run else "organization" if member is None else "member"
    named = {"member": member, "effect": effect}
    return asked | {name: value for name, value in named.items() if value is not None}


def _set(asked: Json, organization: str, user: str, *, as_json: bool) -> None:
    from server.cli import budgeting

    if not budgeting.set_budget(asked, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)
