"""Options that several commands share, worded once."""

from typing import Annotated

import typer

MOST_WORKERS = 64
"""Far more than a machine has use for: each is a whole server, with database connections of its own."""

Organization = Annotated[str, typer.Option("--organization", metavar="SLUG", help="The organization's slug.")]
User = Annotated[
    str | None,
    typer.Option("--user", metavar="EMAIL", help="As whose own hand; without it, as the service account."),
]
ForUser = Annotated[
    str | None,
    typer.Option("--user", metavar="EMAIL", help="For whom the agent acts; without it, for the service account."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port to listen on.")]
Workers = Annotated[
    int,
    typer.Option(
        "--workers", metavar="N", min=1, max=MOST_WORKERS, help="How many server processes share the listening socket."
    ),
]
