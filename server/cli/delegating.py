"""The work of `glow delegations`: a list under row level security, and changes by the gate, as a person's own hand."""

from typing import cast

from domain.delegations.model import DelegationQuery
from domain.kernel import CallId
from domain.paging import PAGE_LIMIT, page_request
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.delegations import delegation_json


def list_delegations(organization: str, user: str | None, *, over: bool, as_json: bool) -> None:
    """The newest delegations that the person may see."""
    items = run(_listed(organization, user, over=over))
    if as_json:
        say_json({"items": items})
    elif not items:
        say("Nobody stands in for anybody." if not over else "There are none.")
    else:
        say_table(("id", "stands in", "for", "from", "until", "now"), [_row(item) for item in items])


async def _listed(organization: str, user: str | None, *, over: bool) -> list[Json]:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        query, now = DelegationQuery(page=page_request(limit=PAGE_LIMIT), over=over), hub.clock()
        async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
            page = await session.work.delegations.list(query, now)
    return [delegation_json(item, now) for item in page.items]


def change(tool: str, arguments: Json, organization: str, user: str, *, as_json: bool) -> bool:
    """Make the call and say what became of the delegation; False when it was refused."""
    outcome = run(_called(tool, arguments, organization, user))
    if as_json:
        say_json(envelope(outcome))
    elif outcome.outcome != "done" or outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        say(_words(cast(Json, outcome.result["delegation"])))
    return outcome.outcome == "done"


async def _called(tool: str, arguments: Json, organization: str, user: str) -> CallOutcome:
    async with acting_hub() as hub:
        request = CallRequest(call_id=CallId(hub.new_id()), tool=tool, arguments=arguments)
        return await hub.gate.call(request, await acting(hub, organization, user))


def _words(delegation: Json) -> str:
    who = f"{delegation['delegation_id']}: {delegation['delegate']} for {delegation['delegator']}"
    if "revoked_at" in delegation:
        return f"{who}, revoked."
    return f"{who}, from {_minute(delegation['starts_at'])} until {_minute(delegation['ends_at'])} UTC."


def _row(item: Json) -> tuple[str, ...]:
    state = "revoked" if "revoked_at" in item else "stands" if item["stands"] else ""
    people = (str(item[name]) for name in ("delegation_id", "delegate", "delegator"))
    return (*people, _minute(item["starts_at"]), _minute(item["ends_at"]), state)


def _minute(moment: object) -> str:
    return str(moment)[:16].replace("T", " ")
