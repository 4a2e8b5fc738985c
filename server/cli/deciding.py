"""The work of `glow approvals`: a list under row level security, and decisions by the gate, as a person's own hand."""

from collections.abc import Iterator, Sequence
from typing import cast
from uuid import UUID

import orjson

from domain.approvals.model import ApprovalQuery, ApprovalState
from domain.approvals.service import ApprovalNotFound
from domain.kernel import ApprovalId, CallId, Principal
from domain.paging import PAGE_LIMIT, page_request
from server.cli.laying_out import approval_lines
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from server.hub import Hub
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.calls import approval_item_json, compared_json


def list_approvals(organization: str, user: str | None, state: ApprovalState | None, *, as_json: bool) -> None:
    """Those that the person asked for or may decide."""
    items = run(_listed(organization, user, state))
    if as_json:
        say_json({"items": items})
    elif not items:
        say("Nothing waits." if state == "pending" else "There are none.")
    else:
        headers = ("id", "state", "tool", "asked by", "who may decide", "until")
        say_table(headers, [_row(item) for item in items])


async def _listed(organization: str, user: str | None, state: ApprovalState | None) -> list[Json]:
    async with acting_hub() as hub:
        return await seen_approvals(hub, await acting(hub, organization, user), state)


async def seen_approvals(hub: Hub, principal: Principal, state: ApprovalState | None) -> list[Json]:
    """The newest approvals that this principal sees."""
    async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
        query = ApprovalQuery(page=page_request(limit=PAGE_LIMIT), state=state)
        page = await session.work.approvals.list(query, hub.clock())
    return [approval_item_json(item) for item in page.items]


def show_approval(approval_id: UUID, organization: str, user: str | None, *, as_json: bool) -> bool:
    """Lay one out; False: there is none that this person may see."""
    item = run(_laid_out(organization, user, approval_id))
    if item is None:
        complain(f"glow: there is no approval {approval_id} that you asked for or may decide.")
        return False
    if as_json:
        say_json(item)
    else:
        for line in approval_lines(item):
            say(line)
    return True


async def _laid_out(organization: str, user: str | None, approval_id: UUID) -> Json | None:
    async with acting_hub() as hub:
        return await laid_out(hub, await acting(hub, organization, user), approval_id)


async def laid_out(hub: Hub, principal: Principal, approval_id: UUID) -> Json | None:
    """One approval, its arguments beside those of the last like call, and what they name; None: none that it sees."""
    async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
        approvals = session.work.approvals
        try:
            found = await approvals.get(ApprovalId(approval_id), hub.clock())
        except ApprovalNotFound:
            return None
        approval = found.approval
        return compared_json(found, await approvals.comparison(approval), await approvals.subjects(approval))


def decide(
    approval_id: UUID, decision: str, organization: str, user: str, comment: str | None, *, as_json: bool
) -> bool:
    """Decide it and say what became of the call; False when the decision was refused."""
    outcome = run(_decided(approval_id, decision, organization, user, comment))
    if as_json:
        say_json(envelope(outcome))
    else:
        for line in words_of_decision(outcome):
            (say if outcome.outcome == "done" else complain)(line)
    return outcome.outcome == "done"


async def _decided(approval_id: UUID, decision: str, organization: str, user: str, comment: str | None) -> CallOutcome:
    async with acting_hub() as hub:
        return await decided(hub, await acting(hub, organization, user), approval_id, decision, comment)


async def decided(hub: Hub, hand: Principal, approval_id: UUID, decision: str, comment: str | None) -> CallOutcome:
    """The decision as a call of its own, by a person's own hand."""
    arguments: Json = {"approval_id": str(approval_id), "decision": decision}
    if comment:
        arguments["comment"] = comment
    request = CallRequest(call_id=CallId(hub.new_id()), tool="approval_decide", arguments=arguments)
    return await hub.gate.call(request, hand)


def words_of_decision(outcome: CallOutcome) -> Iterator[str]:
    """What became of the decision, and of the call that it was about."""
    if outcome.outcome != "done" or outcome.result is None:
        yield f"glow: {why_not(outcome)}"
        return
    approval, call = cast(Json, outcome.result["approval"]), cast(Json, outcome.result["call"])
    yield f"{approval['tool']}: {approval['state']}; the call is {call['outcome']}."
    if "result" in call:
        yield orjson.dumps(call["result"], option=orjson.OPT_INDENT_2).decode()
    if "error" in call:
        yield str(cast(Json, call["error"]).get("message"))


def _row(item: Json) -> Sequence[str]:
    who = f"{item['needs_role']}{', four eyes' if item['four_eyes'] else ''}"
    return (
        *(str(item[name]) for name in ("id", "state", "tool", "requested_by")),
        who,
        str(item["expires_at"])[:16].replace("T", " "),
    )
