"""The work of `glow budgets`: a list under row level security, and changes by the gate, as a person's own hand."""

from typing import cast

from domain.kernel import CallId
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.budgets import budget_json


def list_budgets(organization: str, user: str | None, *, as_json: bool) -> None:
    """Those in force that the person may see."""
    items = run(_listed(organization, user))
    if as_json:
        say_json({"items": items})
    elif not items:
        say("No budget is set.")
    else:
        say_table(("budget", "limit", "used", "held", "left", "renews"), [_row(item) for item in items])


def set_budget(asked: Json, organization: str, user: str, *, as_json: bool) -> bool:
    """Make the call and say what is in force now; False when it was refused."""
    outcome = run(_called(asked, organization, user))
    if as_json:
        say_json(envelope(outcome))
    elif outcome.outcome != "done" or outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        setting = cast(Json, outcome.result["setting"])
        limit = setting["limit"]
        say(f"{_name(setting)}: {'no budget any more' if limit is None else f'{limit:,}'}.")
    return outcome.outcome == "done"


async def _listed(organization: str, user: str | None) -> list[Json]:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
            states = await session.work.budgets.states()
        return [budget_json(state, hub.clock()) for state in states]


async def _called(asked: Json, organization: str, user: str) -> CallOutcome:
    async with acting_hub() as hub:
        request = CallRequest(call_id=CallId(hub.new_id()), tool="budget_set", arguments=asked)
        return await hub.gate.call(request, await acting(hub, organization, user))


def _row(item: Json) -> tuple[str, ...]:
    amounts = (f"{item[name]:,}" for name in ("limit", "used", "reserved", "left"))
    return (_name(item), *amounts, str(item.get("renews_at", "with each run")))


def _name(item: Json) -> str:
    whose = {"organization": "the organization", "member": item.get("member"), "run": "each run"}[str(item["scope"])]
    calls = f"{item['effect']} calls" if "effect" in item else str(item["measure"])
    return f"{calls} of {whose}, {'in all' if item['scope'] == 'run' else 'a day'}"
