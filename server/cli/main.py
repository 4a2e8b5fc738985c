"""`glow`: what each command takes; the work of each stands in a module of its own, imported when it is asked for."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from server.cli import (
    agents,
    approvals,
    audit,
    autonomy,
    budgets,
    calls,
    delegations,
    documents,
    evaluation,
    files,
    policy,
    preferences,
    privacy,
    runs,
    schedules,
    sources,
    tasks,
    tools,
)
from server.cli.options import AsJson, ForUser, Host, Organization, Port, User, Workers

DONE, REFUSED, INTERRUPTED = 0, 1, 130

app = typer.Typer(
    name="glow",
    help="A governed agent hub: every act passes one gate and leaves a record.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(tools.app, name="tools")
app.add_typer(approvals.app, name="approvals")
app.add_typer(delegations.app, name="delegations")
app.add_typer(calls.app, name="calls")
app.add_typer(tasks.app, name="tasks")
app.add_typer(agents.app, name="agents")
app.add_typer(audit.app, name="audit")
app.add_typer(autonomy.app, name="autonomy")
app.add_typer(policy.app, name="policy")
app.add_typer(preferences.app, name="preferences")
app.add_typer(runs.app, name="runs")
app.add_typer(privacy.app, name="privacy")
app.add_typer(budgets.app, name="budgets")
app.add_typer(evaluation.app, name="eval")
app.add_typer(schedules.app, name="schedules")
app.add_typer(documents.app, name="documents")
app.add_typer(files.app, name="files")
app.add_typer(sources.app, name="sources")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Shape   the exit code: 0 done, 1 refused or failed, 2 wrong usage; 130 when interrupted.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="glow")
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else DONE if left.code is None else REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as fault:
        from server.cli.faults import words_for

        words = words_for(fault)
        if words is None:
            raise
        sys.stderr.write(f"glow: {words}\n")
        return REFUSED
    return DONE


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 1,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Do background work in each process.")] = True,
) -> None:
    """Serve the hub over HTTP and MCP."""
    if workers > 1:
        from server.cli import serving_together

        serving_together.serve(host, port, workers, with_worker=worker)
        return
    from server.cli import serving

    serving.serve(host, port, with_worker=worker)


@app.command()
def worker() -> None:
    """Do background work: task runs and the indexing of documents."""
    from server.cli import serving

    serving.work()


@app.command()
def demo(port: Port = 8000) -> None:
    """Serve the demo firm on 127.0.0.1, with everything it needs."""
    from server.cli import demo as demonstration

    demonstration.demo(port)


@app.command()
def chat(
    organization: Organization,
    user: ForUser = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Who is to answer; `glow agents list`.")] = None,
    conversation: Annotated[str | None, typer.Option(metavar="ID", help="Go on with this conversation.")] = None,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="Say this, print the answer and leave.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's events, one JSON object a line.")] = False,
) -> None:
    """Talk with an agent at this terminal; from a pipe, each line is a message."""
    from server.cli.chat import entry

    _exit_with(
        entry.chat(
            entry.Asked(
                organization=organization,
                user=user,
                agent=agent,
                conversation=conversation,
                message=message,
                as_json=as_json,
            )
        )
    )


@app.command()
def mcp(organization: Organization, user: ForUser = None) -> None:
    """Serve the tools to an MCP client on standard input and output."""
    from server.cli import mcp as serving

    serving.mcp(organization, user)


@app.command()
def token(
    organization: Organization,
    user: Annotated[str, typer.Option("--user", metavar="EMAIL", help="Whom the token speaks for.")],
    audience: Annotated[
        Literal["api", "mcp", "widget"], typer.Option("--for", help="What it opens: `mcp` only /mcp, as an agent.")
    ] = "api",
    expires: Annotated[str, typer.Option("--expires", help="How long it holds: 90s, 30m, 1h, 30d.")] = "1h",
    origin: Annotated[
        str | None, typer.Option("--origin", help="Whose pages alone may use it, as https://app.example.com.")
    ] = None,
) -> None:
    """Print a bearer token for one person in one organization."""
    from server.cli import tokens

    tokens.token(organization, user, audience, expires, origin)


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", exists=True, help="Files, and folders of files.")],
    organization: Organization,
    user: User = None,
    engagement: Annotated[str | None, typer.Option(help="The id of the engagement they belong to.")] = None,
    audience: Annotated[
        Literal["firm", "client"] | None, typer.Option(help="`client` shows them to the engagement's client too.")
    ] = None,
    trust: Annotated[
        Literal["internal", "client", "external"] | None,
        typer.Option(help="Who wrote them: the firm itself, its client, or, as where it is left out, somebody else."),
    ] = None,
    language: Annotated[
        Literal["en", "de", "fr", "it", "es", "nl", "pt"] | None,
        typer.Option(help="What they are written in; left out, their words tell."),
    ] = None,
    named: Annotated[
        str | None,
        typer.Option("--named", help="What their names begin with: the same name again is a document's next version."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take documents in and make them searchable."""
    from server.cli import ingesting

    belonging = {"engagement_id": engagement, "audience": audience, "trust": trust, "language": language}
    given = {name: value for name, value in belonging.items() if value is not None}
    _exit_with(ingesting.ingest(paths, organization, user, given, named, as_json=as_json))


@app.command()
def search(
    query: str,
    organization: Organization,
    user: User = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many passages at most.")] = 8,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each passage stands where it does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Search the documents."""
    from server.cli import searching

    _exit_with(searching.search(query, organization, user, limit, explain=explain, as_json=as_json))


@app.command()
def migrate(
    bootstrap_sql: Annotated[
        bool, typer.Option("--bootstrap-sql", help="Print what a superuser runs once, and do nothing else.")
    ] = False,
) -> None:
    """Bring the database's schema up to date, as its owner."""
    from server.cli import migrating

    migrating.print_bootstrap() if bootstrap_sql else migrating.migrate()


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of the interface over HTTP."""
    from server.cli.printing import say_json
    from server.openapi import openapi_document

    say_json(openapi_document())


@app.command()
def doctor(host: Host = "127.0.0.1", port: Port = 8000, as_json: AsJson = False) -> None:
    """Say what is wrong with this installation, and how to mend it."""
    from server.cli import examining

    _exit_with(examining.doctor(host, port, as_json=as_json))


def _exit_with(done: bool) -> None:
    if not done:
        raise typer.Exit(REFUSED)
