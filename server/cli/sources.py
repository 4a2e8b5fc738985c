"""`glow sources`: the folders, drives and sites that documents are kept like, and a person's own hand on them."""

from typing import Annotated
from uuid import UUID

import typer

from server.cli.options import AsJson, Organization, User
from tools.outcomes import Json

REFUSED = 1

app = typer.Typer(
    help="Sources of documents: list, add, change, sync, show what changed, remove.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[UUID, typer.Argument(metavar="ID", help="The source's id.")]
Hand = Annotated[
    str, typer.Option("--user", metavar="EMAIL", help="By whose own hand: a MANAGER's, or a higher role's.")
]


@app.command("list")
def list_sources(organization: Organization, user: User = None, as_json: AsJson = False) -> None:
    """List sources, newest first: what is read, and how up to date the documents are."""
    from server.cli import syncing

    syncing.list_sources(organization, user, as_json=as_json)


@app.command("add")
def add(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="folder, google_drive or web.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    organization: Organization,
    user: Hand,
    path: Annotated[
        str | None, typer.Option("--path", metavar="FOLDER", help="Of a folder: below one that the operator names.")
    ] = None,
    settings: Annotated[
        str, typer.Option("--settings", metavar="JSON", help="What is read, as the kind has it (docs/sources.md).")
    ] = "{}",
    audience: Annotated[str | None, typer.Option("--audience", help="firm or client.")] = None,
    engagement: Annotated[UUID | None, typer.Option("--engagement", metavar="ID", help="To which it belongs.")] = None,
    trust: Annotated[str | None, typer.Option("--trust", help="Who writes there: internal, client, external.")] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="CRON", help='When it is synced: "0 7 * * MON-FRI".')
    ] = None,
    time_zone: Annotated[
        str, typer.Option("--time-zone", metavar="ZONE", help="On whose clock: Europe/Malta.")
    ] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Have the documents kept like a folder, a drive or a site, from the next sync on."""
    from server.cli import syncing

    given: Json = {"path": path} if path is not None else syncing.settings_of(settings)
    belonging = {"audience": audience, "engagement_id": None if engagement is None else str(engagement), "trust": trust}
    asked: Json = {
        "kind": kind,
        "name": name,
        "settings": given,
        **{key: value for key, value in belonging.items() if value is not None},
        **({} if cron is None else {"cron": cron, "time_zone": time_zone}),
    }
    _leave(syncing.change("source_add", asked, organization, user, as_json=as_json))


@app.command("change")
def change(
    source_id: Id,
    organization: Organization,
    user: Hand,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What it is called.")] = None,
    settings: Annotated[
        str | None,
        typer.Option("--settings", metavar="JSON", help="How much is read, as the kind has it: '{\"pages\": 500}'."),
    ] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="CRON", help='When it is synced: "0 7 * * MON-FRI".')
    ] = None,
    no_cron: Annotated[bool, typer.Option("--no-cron", help="Only when it is asked for.")] = False,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", metavar="ZONE", help="On whose clock: Europe/Malta.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change its name, its schedule or how much of it is read; the rest stays as it is."""
    from server.cli import syncing

    given = {
        "name": name,
        "settings": None if settings is None else syncing.settings_of(settings),
        "cron": cron,
        "time_zone": time_zone,
    }
    asked: Json = {key: value for key, value in given.items() if value is not None}
    if no_cron:
        asked["cron"] = None
    asked["source_id"] = str(source_id)
    _leave(syncing.change("source_change", asked, organization, user, as_json=as_json))


@app.command("sync")
def sync(
    source_id: Id,
    organization: Organization,
    user: User = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show its progress until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the documents up to date with it, in the background."""
    from server.cli import syncing

    _leave(syncing.sync(source_id, organization, user, follow=follow, as_json=as_json))


@app.command("report")
def report(
    source_id: Id,
    organization: Organization,
    user: User = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only added, replaced, renamed, removed ...")] = None,
    as_json: AsJson = False,
) -> None:
    """What its syncs did, item by item, newest first."""
    from server.cli import syncing

    _leave(syncing.report(source_id, kind, organization, user, as_json=as_json))


@app.command("remove")
def remove(source_id: Id, organization: Organization, user: Hand, as_json: AsJson = False) -> None:
    """End it; the documents that came from it are deleted, what lies there itself is left alone."""
    from server.cli import syncing

    asked: Json = {"source_id": str(source_id)}
    _leave(syncing.change("source_remove", asked, organization, user, as_json=as_json))


def _leave(done: bool) -> None:
    if not done:
        raise typer.Exit(REFUSED)
