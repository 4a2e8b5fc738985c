"""`glow audit`: the sealed record, handed out, proved and checked."""

from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer

from server.cli.options import Organization, User
from tools.outcomes import Json

REFUSED = 1

Format = Literal["ledger", "ocsf"]

app = typer.Typer(help="The sealed record: export, head, prove, verify.", no_args_is_help=True, rich_markup_mode=None)

File = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="An export, a proof or a head.")
]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write there, not to the terminal.", dir_okay=False)
]


@app.command("export")
def export(
    organization: Organization,
    user: User = None,
    payloads: Annotated[bool, typer.Option("--payloads", help="Also what calls carried and gave.")] = False,
    format: Annotated[Format, typer.Option("--format", help="ledger: to be verified. ocsf: for a SIEM.")] = "ledger",
    since: Annotated[
        int | None, typer.Option("--since", metavar="SIZE", min=0, help="Of ocsf: leave out so many rows.")
    ] = None,
    output: Output = None,
) -> None:
    """Hand out everything that is sealed, one line of JSON a row, with the signed heads. It takes a MANAGER."""
    from server.cli import auditing

    asked: Json = {"payloads": payloads, "format": format}
    _exit_with(auditing.export(organization, user, output, asked if since is None else {**asked, "since": since}))


@app.command("head")
def head(
    organization: Organization,
    user: User = None,
    since: Annotated[
        int | None,
        typer.Option("--since", metavar="SIZE", min=0, help="Prove the head of that size to be its beginning."),
    ] = None,
    output: Output = None,
) -> None:
    """Print the newest signed head; kept somewhere else, it holds the record to what it was."""
    from server.cli import auditing

    arguments: Json = {} if since is None else {"since": since}
    _exit_with(auditing.ask("audit_head", arguments, organization, user, output))


@app.command("prove")
def prove(
    call_id: Annotated[UUID, typer.Argument(metavar="CALL_ID", help="The call.")],
    organization: Organization,
    user: User = None,
    since: Annotated[
        int | None,
        typer.Option("--since", metavar="SIZE", min=0, help="Tie it to the head of that size, which was kept earlier."),
    ] = None,
    output: Output = None,
) -> None:
    """Print what proves that a call is in the ledger."""
    from server.cli import auditing

    arguments: Json = {"call_id": str(call_id), **({} if since is None else {"since": since})}
    _exit_with(auditing.ask("audit_prove", arguments, organization, user, output))


@app.command("verify")
def verify(
    file: File,
    head: Annotated[
        list[Path] | None,
        typer.Option(
            "--head", metavar="FILE", exists=True, dir_okay=False, help="A head kept earlier; may be repeated."
        ),
    ] = None,
    consistency: Annotated[
        list[Path] | None,
        typer.Option(
            "--consistency",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="What `glow audit head --since` printed: ties a proof or a head to a kept head; may be repeated.",
        ),
    ] = None,
    key_id: Annotated[
        list[str] | None,
        typer.Option("--key-id", metavar="ID", help="Trust signatures of this key only; may be repeated."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all-signatures", help="Check every head's signature, however many there are.")
    ] = False,
    list_erased: Annotated[
        bool, typer.Option("--list-erased", help="Name every row that has lost what it carried, and by what.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Check an export, a proof or a head, and name the first row that is not as it was sealed. It asks no database."""
    from server.cli import verifying

    known = (head or [], key_id or [], consistency or [])
    _exit_with(verifying.verify(file, *known, every=every, list_erased=list_erased, as_json=as_json))


def _exit_with(done: bool) -> None:
    if not done:
        raise typer.Exit(REFUSED)
