"""The work of `glow policy list|add|remove`: a list under row level security, and changes by the gate, by hand."""

import sys
from pathlib import Path
from typing import cast

import typer

from domain.kernel import CallId
from domain.paging import PAGE_LIMIT, page_request
from domain.policies.model import PolicyChangeQuery
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.policies import policy_change_json

DECIDES = {"deny": "forbids", "needs_approval": "has a person asked"}


def policy_text(file: str) -> str:
    """What a file holds, or stdin.

    Raises  BadParameter: it cannot be read.
    """
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise typer.BadParameter(f"{file}: cannot be read: {fault}") from None


def list_policies(organization: str, user: str | None, *, history: bool, as_json: bool) -> None:
    """The organization's own in force, or the newest changes of them."""
    items = run(_listed(organization, user, history=history))
    if as_json:
        say_json({"items": items})
    elif not items:
        say("There are none: what holds is what holds for every organization.")
    else:
        change = ("change",) if history else ()
        say_table(("id", *change, "does", "says", "by", "since", "why"), [_row(item, history) for item in items])


async def _listed(organization: str, user: str | None, *, history: bool) -> list[Json]:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
            policies = session.work.policies
            if not history:
                return [policy_change_json(each) for each in await policies.listed()]
            page = await policies.history(PolicyChangeQuery(page=page_request(limit=PAGE_LIMIT)))
    return [policy_change_json(each) for each in page.items]


def change(tool: str, arguments: Json, organization: str, user: str, *, as_json: bool) -> bool:
    """Make the call and say what became of the policy; False when it was refused."""
    outcome = run(_called(tool, arguments, organization, user))
    if as_json:
        say_json(envelope(outcome))
    elif outcome.outcome != "done" or outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        _print(outcome.result)
    return outcome.outcome == "done"


async def _called(tool: str, arguments: Json, organization: str, user: str) -> CallOutcome:
    async with acting_hub() as hub:
        request = CallRequest(call_id=CallId(hub.new_id()), tool=tool, arguments=arguments)
        return await hub.gate.call(request, await acting(hub, organization, user))


def _print(result: Json) -> None:
    policy = cast(Json, result["policy"])
    if policy["change"] == "removed":
        say(f"{policy['policy_id']}: in force no more.")
        return
    say(f"{policy['policy_id']}: in force from the next call on. {policy.get('says', '')}".rstrip())
    tried = cast(Json, result["tried"])
    say(f"Of the last {tried['calls']:,} calls it would have decided {tried['changed']:,} otherwise.")


def _row(item: Json, history: bool) -> tuple[str, ...]:
    change = (str(item["change"]),) if history else ()
    return (
        str(item["policy_id"]),
        *change,
        DECIDES.get(str(item.get("decision")), ""),
        str(item.get("says", "")),
        str(item["changed_by"]),
        str(item["changed_at"])[:16].replace("T", " "),
        str(item["reason"]),
    )
