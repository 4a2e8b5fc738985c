"""The work of `glow preferences`: a list under row level security, and calls by the person's own hand."""

from collections.abc import Callable, Sequence
from typing import cast
from uuid import UUID

from domain.kernel import CallId
from domain.preferences.model import Preference
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.calls import preference_json


def list_preferences(organization: str, user: str, *, as_json: bool) -> None:
    """What is remembered, in the order in which it was first said."""
    found = run(_listed(organization, user))
    if as_json:
        say_json({"items": [preference_json(each) for each in found]})
    elif not found:
        say("Nothing is remembered.")
    else:
        rows = [(str(each.preference_id), each.words, f"{each.updated_at:%Y-%m-%d %H:%M}") for each in found]
        say_table(("id", "words", "since"), rows)


def remember(words: str, organization: str, user: str, replacing: UUID | None, *, as_json: bool) -> bool:
    """Have it remembered; False when that was refused."""
    arguments: Json = {"words": words}
    if replacing is not None:
        arguments["preference_id"] = str(replacing)
    outcome = run(_called("preference_set", arguments, organization, user))
    return _told(outcome, lambda result: f"Remembered: {cast(Json, result['preference'])['words']}", as_json=as_json)


def forget(preference_id: UUID, organization: str, user: str, *, as_json: bool) -> bool:
    """Forget it; False when that was refused."""
    outcome = run(_called("preference_forget", {"preference_id": str(preference_id)}, organization, user))
    return _told(outcome, lambda _: "Forgotten.", as_json=as_json)


def _told(outcome: CallOutcome, words: Callable[[Json], str], *, as_json: bool) -> bool:
    if as_json:
        say_json(envelope(outcome))
    elif outcome.outcome == "done":
        say(words(outcome.result or {}))
    else:
        complain(f"glow: {why_not(outcome)}")
    return outcome.outcome == "done"


async def _listed(organization: str, user: str) -> Sequence[Preference]:
    async with acting_hub() as hub:
        who = await acting(hub, organization, user)
        async with hub.transactions.session(who.organization_id, who.principal_id) as session:
            return await session.work.preferences.all()


async def _called(tool: str, arguments: Json, organization: str, user: str) -> CallOutcome:
    async with acting_hub() as hub:
        who = await acting(hub, organization, user)
        request = CallRequest(call_id=CallId(hub.new_id()), tool=tool, arguments=arguments)
        return await hub.gate.call(request, who)
