"""When a call of the agent's goes wrong, its tool's autonomy is looked at at once, so that the next call is bound."""

from typing import Protocol, cast

from domain.kernel import OrganizationId, Principal
from tools.outcomes import CallOutcome, Json


class Incidents(Protocol):
    """Knows whether a tool's newest calls went wrong more often than the firm's rules allow."""

    async def reviewer(self, organization_id: OrganizationId, tool: str) -> Principal | None:
        """As whom the tool's autonomy is to be taken back; None: it is not."""
        ...


def suspect(ended: CallOutcome, principal: Principal) -> str | None:
    """The tool of a call of the agent's that has just failed or been rejected; None: nothing went wrong."""
    if principal.mode == "agent" and ended.outcome == "failed":
        return ended.tool
    if ended.tool not in ("approval_decide", "call_conclude") or ended.outcome != "done" or ended.result is None:
        return None
    call = cast(Json, ended.result["call"])
    if call["outcome"] not in ("rejected", "failed"):
        return None
    named = call if ended.tool == "call_conclude" else cast(Json, ended.result["approval"])
    return cast(str, named["tool"])
