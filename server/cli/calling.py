"""`glow tools call`: one call through the gate, its envelope printed."""

from dataclasses import replace
from typing import cast

from domain.kernel import CallId
from server.cli.arguments import given_json
from server.cli.moving import told_at_terminal
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope

WELL = frozenset({"done", "dry_run", "waiting"})
"""Outcomes that are no refusal: a call that waits was taken, and its question stands."""


def call(name: str, arguments: str, organization: str, user: str | None, *, dry_run: bool, as_json: bool) -> bool:
    """Make the call and print how it ended; False when it was refused or failed."""
    outcome, shown = run(_call(name, given_json(arguments), organization, user, dry_run=dry_run))
    if as_json:
        say_json(shown)
    else:
        _print(outcome, shown)
    return outcome.outcome in WELL


async def _call(
    name: str, arguments: object, organization: str, user: str | None, *, dry_run: bool
) -> tuple[CallOutcome, Json]:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        request = CallRequest(call_id=CallId(hub.new_id()), tool=name, arguments=arguments, dry_run=dry_run)
        with told_at_terminal() as tell:
            outcome = await hub.gate.call(replace(request, tell=tell), principal)
        url = None if outcome.approval is None else hub.approval_url(outcome.approval.approval_id)
        return outcome, envelope(outcome, approval_url=url)


def _print(outcome: CallOutcome, shown: Json) -> None:
    match outcome.outcome:
        case "done":
            say_json(outcome.result)
        case "waiting":
            say(f"It waits for approval; decide it at {_url(shown)}")
        case "dry_run":
            say_json(shown.get("verdict"))
        case _:
            complain(f"glow: {why_not(outcome)}")
            for detail in () if outcome.error is None else outcome.error.details[1:]:
                complain(f"  {detail.get('path') or 'arguments'}: {detail.get('message')}")


def _url(shown: Json) -> object:
    return cast(Json, shown["approval"])["url"]
