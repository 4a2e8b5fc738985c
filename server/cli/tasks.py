"""`glow tasks`: start a task's workflow, and follow how far it has come."""

from typing import Annotated
from uuid import UUID

import typer

from server.cli.options import AsJson, Organization, User

REFUSED = 1

app = typer.Typer(help="Tasks: run one, follow a run.", no_args_is_help=True, rich_markup_mode=None)


@app.command("run")
def run_task(
    task_id: Annotated[UUID, typer.Argument(metavar="TASK_ID", help="The task's id.")],
    organization: Organization,
    user: User = None,
    given: Annotated[str, typer.Option("--input", metavar="JSON", help="Takes the place of the task's own.")] = "{}",
    follow: Annotated[bool, typer.Option("--follow", help="Show its progress until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a task's workflow in the background."""
    from server.cli import following

    if not following.start(task_id, given, organization, user, follow=follow, as_json=as_json):
        raise typer.Exit(REFUSED)


@app.command("follow")
def follow_run(
    task_run_id: Annotated[UUID, typer.Argument(metavar="TASK_RUN_ID", help="The run's id.")],
    organization: Organization,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Show a run's progress until it ends; exit 0 where it was completed."""
    from server.cli import following

    if not following.follow(task_run_id, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)
