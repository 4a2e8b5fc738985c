"""The work of `glow documents trust`: one call through the gate."""

from typing import cast
from uuid import UUID

from domain.kernel import CallId, Trust
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope


def trust(document_id: UUID, trusted: Trust, organization: str, user: str, *, as_json: bool) -> bool:
    """Make the call and say how the document is trusted now; False when it was refused or waits."""
    outcome = run(_called({"document_id": str(document_id), "trust": trusted}, organization, user))
    if as_json:
        say_json(envelope(outcome))
    elif outcome.outcome != "done" or outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        document = cast(Json, outcome.result["document"])
        say(f"{document['document_id']} ({document['title']}): {document['trust']}.")
    return outcome.outcome == "done"


async def _called(arguments: Json, organization: str, user: str) -> CallOutcome:
    async with acting_hub() as hub:
        request = CallRequest(call_id=CallId(hub.new_id()), tool="document_trust_set", arguments=arguments)
        return await hub.gate.call(request, await acting(hub, organization, user))
