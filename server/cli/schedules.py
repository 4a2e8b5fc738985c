"""`glow schedules`: which tasks are run at set times, and a person's own hand on them."""

from typing import Annotated
from uuid import UUID

import typer

from server.cli.options import AsJson, Organization, User
from tools.outcomes import Json

REFUSED = 1

app = typer.Typer(
    help="Tasks that are run at set times: list, create, pause, resume, delete.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[UUID, typer.Argument(metavar="ID", help="The schedule's id.")]
Hand = Annotated[
    str, typer.Option("--user", metavar="EMAIL", help="By whose own hand: a MANAGER's, or a higher role's.")
]


@app.command("list")
def list_schedules(organization: Organization, user: User = None, as_json: AsJson = False) -> None:
    """List schedules, newest first: when each is due next, and how it went last."""
    from server.cli import scheduling

    scheduling.list_schedules(organization, user, as_json=as_json)


@app.command("create")
def create(
    task_id: Annotated[UUID, typer.Argument(metavar="TASK", help="The id of a task that a workflow does.")],
    cron: Annotated[str, typer.Argument(metavar="CRON", help='Five fields: "0 7 * * MON-FRI".')],
    organization: Organization,
    user: Hand,
    time_zone: Annotated[
        str, typer.Option("--time-zone", metavar="ZONE", help="On whose clock: Europe/Malta.")
    ] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Have a task run at the times of a cron expression, as the organization's service account."""
    asked: Json = {"task_id": str(task_id), "cron": cron, "time_zone": time_zone}
    _change("schedule_create", asked, organization, user, as_json=as_json)


@app.command("pause")
def pause(schedule_id: Id, organization: Organization, user: Hand, as_json: AsJson = False) -> None:
    """Let it be due no more until it is resumed."""
    _change("schedule_update", {"schedule_id": str(schedule_id), "paused": True}, organization, user, as_json=as_json)


@app.command("resume")
def resume(schedule_id: Id, organization: Organization, user: Hand, as_json: AsJson = False) -> None:
    """Let it be due again; what fell due meanwhile is not made up for."""
    _change("schedule_update", {"schedule_id": str(schedule_id), "paused": False}, organization, user, as_json=as_json)


@app.command("delete")
def delete(schedule_id: Id, organization: Organization, user: Hand, as_json: AsJson = False) -> None:
    """End it; what it has started goes on."""
    _change("schedule_delete", {"schedule_id": str(schedule_id)}, organization, user, as_json=as_json)


def _change(tool: str, arguments: Json, organization: str, user: str, *, as_json: bool) -> None:
    from server.cli import scheduling

    if not scheduling.change(tool, arguments, organization, user, as_json=as_json):
        raise typer.Exit(REFUSED)
