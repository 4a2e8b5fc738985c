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
    if ended.tool != "approval_decide" or ended.outcome != "done" or ended.result is None:
        return None
    call, approval = cast(Json, ended.result["call"]), cast(Json, ended.result["approval"])
    return cast(str, approval["tool"]) if call["outcome"] in ("rejected", "failed") else None
