"""The work of `glow autonomy`: lists under row level security, and decisions by the gate, as a person's own hand."""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from domain.earned.model import ProposalQuery, ProposalState
from domain.kernel import CallId
from domain.paging import PAGE_LIMIT, page_request
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.earned import proposal_json, records_json

COUNTS = ("approved", "rejected", "failed", "reversed")


def list_records(organization: str, user: str | None, *, as_json: bool) -> None:
    """What the record comes to for each tool."""
    found = run(_records(organization, user))
    items = cast("list[Json]", found["items"])
    if as_json:
        say_json(found)
    elif not items:
        say("The record says nothing of the agent's calls yet.")
    else:
        rows = [(str(item["tool"]), *_counts(item), f"{item['bound']:.3f}") for item in items]
        say_table(("tool", *COUNTS, "bound"), rows)
        say(f"\nCounted from the first {found['through']:,} events of the record.")


async def _records(organization: str, user: str | None) -> Json:
    async with acting_hub() as hub:
        who = await acting(hub, organization, user)
        async with hub.transactions.session(who.organization_id, who.principal_id) as session:
            return records_json(*await session.work.earned.records())


def list_proposals(organization: str, user: str | None, state: ProposalState | None, *, as_json: bool) -> None:
    """The newest proposals, with their evidence."""
    items = run(_proposals(organization, user, state))
    if as_json:
        say_json({"items": items})
    elif not items:
        say("Nothing is proposed." if state == "open" else "There are none.")
    else:
        headers = ("id", "state", "tool", "raise", *COUNTS, "bound", "needed")
        say_table(headers, [_row(item) for item in items])


async def _proposals(organization: str, user: str | None, state: ProposalState | None) -> list[Json]:
    async with acting_hub() as hub:
        who = await acting(hub, organization, user)
        async with hub.transactions.session(who.organization_id, who.principal_id) as session:
            query = ProposalQuery(page=page_request(limit=PAGE_LIMIT), state=state)
            page = await session.work.earned.proposals(query)
    return [proposal_json(proposal) for proposal in page.items]


def decide(
    proposal_id: UUID, decision: str, organization: str, user: str, comment: str | None, *, as_json: bool
) -> bool:
    """Decide it and say what holds now; False when the decision was refused."""
    arguments: Json = {"proposal_id": str(proposal_id), "decision": decision}
    if comment:
        arguments["comment"] = comment
    outcome = run(_decided(arguments, organization, user))
    if as_json:
        say_json(envelope(outcome))
    elif outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        proposal = cast(Json, outcome.result["proposal"])
        holds = proposal["to_level"] if proposal["state"] == "accepted" else proposal["from_level"]
        say(f"{proposal['tool']}: {proposal['state']}; its ceiling is {holds}.")
    return outcome.outcome == "done"


async def _decided(arguments: Json, organization: str, user: str) -> CallOutcome:
    async with acting_hub() as hub:
        who = await acting(hub, organization, user)
        request = CallRequest(call_id=CallId(hub.new_id()), tool="autonomy_proposal_decide", arguments=arguments)
        return await hub.gate.call(request, who)


def _row(item: Json) -> Sequence[str]:
    evidence = cast(Json, item["evidence"])
    levels = f"{item['from_level']} to {item['to_level']}"
    bounds = (f"{evidence['bound']:.3f}", f"{evidence['needed']:.2f}")
    return (str(item["proposal_id"]), str(item["state"]), str(item["tool"]), levels, *_counts(evidence), *bounds)


def _counts(shown: Json) -> Sequence[str]:
    return [str(shown[name]) for name in COUNTS]
