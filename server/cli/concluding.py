"""The work of `glow calls`: a list under row level security, and a person's word by the gate, as their own hand."""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from domain.kernel import CallId
from domain.paging import PAGE_LIMIT, page_request
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.calls import open_call_json


def list_open(organization: str, user: str | None, *, as_json: bool) -> None:
    """The newest that the person may read of."""
    items = run(_listed(organization, user))
    if as_json:
        say_json({"items": items})
    elif not items:
        say("It is known of every call how it ended.")
    else:
        say_table(("id", "tool", "asked by", "begun", "who may say how it ended"), [_row(item) for item in items])


def conclude(call_id: UUID, organization: str, user: str, statement: str, *, happened: bool, as_json: bool) -> bool:
    """Say how it ended; False when that was refused."""
    arguments: Json = {"call_id": str(call_id), "happened": happened, "statement": statement}
    outcome = run(_called(arguments, organization, user))
    if as_json:
        say_json(envelope(outcome))
    elif outcome.outcome != "done" or outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        call = cast(Json, outcome.result["call"])
        say(f"{call['tool']}: the call is {call['outcome']}.")
    return outcome.outcome == "done"


async def _listed(organization: str, user: str | None) -> list[Json]:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
            page = await session.work.open_calls.list(page_request(limit=PAGE_LIMIT))
    return [open_call_json(item) for item in page.items]


async def _called(arguments: Json, organization: str, user: str) -> CallOutcome:
    async with acting_hub() as hub:
        request = CallRequest(call_id=CallId(hub.new_id()), tool="call_conclude", arguments=arguments)
        return await hub.gate.call(request, await acting(hub, organization, user))


def _row(item: Json) -> Sequence[str]:
    who = f"{item['needs_role']}{', four eyes' if item['four_eyes'] else ''}"
    return (*(str(item[name]) for name in ("call_id", "tool", "asked_by")), str(item["begun_at"])[:16], who)
