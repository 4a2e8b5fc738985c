"""What the demo's people have set: budgets and policies of the organization's own, each by a call by hand, once.

Whoever lifts a budget or takes a policy back has done so for good: the call that set it is not made again.
"""

from collections.abc import Callable
from pathlib import Path

from domain.kernel import CallId, OrganizationId, Principal, PrincipalId
from server.database.connection import Connection
from server.demo.firm import DemoOrganization, DemoRule, load_firm
from server.hub import Hub
from tools.outcomes import CallRequest

DEMO_RULES = "demo-rules"
"""The request that each of these calls names."""
MADE = "SELECT call_id FROM activity_events WHERE organization_id = $1 AND request_id = $2 AND opens"


class RuleFailed(Exception):
    """A call that should have set something did not."""


async def set_rules(hub: Hub, owner: Connection, folder: Path, say: Callable[[str], None]) -> None:
    """Make the calls that were not made by an earlier start.

    Raises  RuleFailed.
    """
    for organization in load_firm(folder).organizations:
        rows = await owner.fetch(MADE, organization.id("organization"), DEMO_RULES)
        made = {row["call_id"] for row in rows}
        for rule in organization.rules:
            call_id = CallId(organization.id("call", rule.name))
            if call_id not in made:
                say(f"{rule.by} sets: {rule.name} ...")
                await _set(hub, organization, rule, call_id)


async def _set(hub: Hub, organization: DemoOrganization, rule: DemoRule, call_id: CallId) -> None:
    principal = Principal(
        organization_id=OrganizationId(organization.id("organization")),
        principal_id=PrincipalId(organization.id("user", rule.by)),
        kind="person",
        mode="person",
        door="cli",
    )
    request = CallRequest(call_id=call_id, tool=rule.tool, arguments=rule.arguments, request_id=DEMO_RULES)
    outcome = await hub.gate.call(request, principal)
    if outcome.outcome != "done":
        raise RuleFailed(f"{rule.name}: {outcome.outcome} {outcome.error}")
