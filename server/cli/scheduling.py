"""The work of `glow schedules`: a list under row level security, and changes by the gate, as a person's own hand."""

from typing import cast

from domain.kernel import CallId
from domain.paging import PAGE_LIMIT, page_request
from domain.schedules.model import ScheduleQuery
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.tasks import schedule_json


def list_schedules(organization: str, user: str | None, *, as_json: bool) -> None:
    """The newest schedules that the person may see."""
    items = run(_listed(organization, user))
    if as_json:
        say_json({"items": items})
    elif not items:
        say("There are none.")
    else:
        say_table(("id", "task", "when", "next run", "last run"), [_row(item) for item in items])


async def _listed(organization: str, user: str | None) -> list[Json]:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
            page = await session.work.schedules.list(ScheduleQuery(page=page_request(limit=PAGE_LIMIT)))
    return [schedule_json(item) for item in page.items]


def change(tool: str, arguments: Json, organization: str, user: str, *, as_json: bool) -> bool:
    """Make the call and say what became of the schedule; False when it was refused."""
    outcome = run(_called(tool, arguments, organization, user))
    if as_json:
        say_json(envelope(outcome))
    elif outcome.outcome != "done" or outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        say(_words(tool, cast(Json, outcome.result["schedule"])))
    return outcome.outcome == "done"


async def _called(tool: str, arguments: Json, organization: str, user: str) -> CallOutcome:
    async with acting_hub() as hub:
        request = CallRequest(call_id=CallId(hub.new_id()), tool=tool, arguments=arguments)
        return await hub.gate.call(request, await acting(hub, organization, user))


def _words(tool: str, schedule: Json) -> str:
    name = f"{schedule['schedule_id']} ({schedule['title']})"
    if tool == "schedule_delete":
        return f"{name}: deleted."
    return f"{name}: paused." if schedule["paused"] else f"{name}: due next at {_minute(schedule['next_run_at'])} UTC."


def _row(item: Json) -> tuple[str, ...]:
    last = cast("Json | None", item.get("last_run"))
    return (
        str(item["schedule_id"]),
        str(item["title"]),
        f"{item['cron']} ({item['time_zone']})",
        "paused" if item["paused"] else f"{_minute(item['next_run_at'])} UTC",
        "" if last is None else _last(last),
    )


def _last(last: Json) -> str:
    how = last.get("task_run_status") or last.get("error_code") or last.get("outcome") or "under way"
    return f"{_minute(last['due_at'])} {how}"


def _minute(moment: object) -> str:
    return str(moment)[:16].replace("T", " ")
